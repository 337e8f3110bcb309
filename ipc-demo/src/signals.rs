//! How many of a hundred signals arrive, and what can a signal carry?

mod limit;
mod sent;

use anyhow::Result;
use shared::{Demo, Extras, Snippet, Stage};

pub const DEMO: Demo = Demo {
    name: "signals",
    question: "How many of a hundred signals arrive, and what can a signal carry?",
    claims: &[],
    rule: "A child has the signals blocked, so that none can be taken before all are sent; what it then finds pending is \
           counted, each with its value.",
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
    let accepted = limit::show(stage)?;
    let arrived = |kind: usize| kinds[kind].values.len();
    stage.answer(format!(
        "Of {0} standard signals {1} arrived, with the first one's value; of {0} real-time ones {2}, in order and each with \
         its value; a receiver that may have no more than {accepted} of them pending makes the sender fail, and loses none.",
        sent::COUNT,
        arrived(1),
        arrived(3),
    ));
    Ok(())
}
