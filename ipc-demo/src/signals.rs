//! How many of a hundred signals arrive, and what can a signal carry?

mod limit;
mod sent;

use anyhow::Result;
use shared::{Demo, Extras, Snippet, Stage};

pub const DEMO: Demo = Demo {
    name: "signals",
    question: "How many of a hundred signals arrive, and what can a signal carry?",
    claims: &[],
    rule: "It gives no verdict. A child has the signals blocked, so that none can be taken before all are sent. What it \
           then finds pending is counted, each with its value.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "ipc-demo/snippets/queued_signal.rs",
        text: include_str!("../snippets/queued_signal.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "A child blocks its signals, and its parent sends it {} of each kind. Then the child takes whatever is pending.",
        sent::COUNT
    ));
    let kinds = sent::show(stage)?;
    stage.note("Real-time signals are kept one by one, and that takes room, which has a limit:");
    limit::show(stage)?;
    let [standard, real_time] = [1, 3].map(|kind: usize| kinds[kind].values.len());
    let sent = sent::COUNT;
    stage.headline(format!("{standard} of {sent} arrived, {real_time} if real-time"));
    stage.answer(format!(
        "{standard} of {sent} standard signals arrived, and {real_time} of {sent} real-time ones. A signal carries its \
         number and, sent by sigqueue, one integer."
    ));
    stage.advise("To count events by signals, send real-time ones: copy `queued_signal`.");
    Ok(())
}
