//! Is a divided task done faster by threads or by processes?

mod crew;
mod region;
mod text;
mod verdict;
mod ways;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use text::Text;

pub const DEMO: Demo = Demo {
    name: "split",
    question: "Is a divided task done faster by threads or by processes?",
    claims: &[Claim::DividingIsMoreEfficient],
    rule: "Dividing is more efficient if threads or processes count every text, of whatever size, in clearly less \
           time than one thread, with at most a tenth more CPU time. It holds only if the task is large, where they \
           do so from some size on; in part, where they are faster for more CPU time; refuted if for the largest \
           text none saves even a tenth of the time, by the lower ends of their ratios' intervals, although one was \
           given three quarters of the CPUs; else undecided. Not judged are processes to which the text must be \
           brought first: that has a price of its own.",
    extras: Extras { input: Some("a text, whose words are counted instead of made ones"), ..Extras::NONE },
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let text = Text::of(stage)?;
    let workers = shared::measure::usable_cpus().len().max(2); // One piece would not be divided.
    stage.note(format!(
        "The task: count the words of a text and add up their hashes. It is cut into {workers} pieces at white space, and \
         each piece is counted by itself. The time includes whatever it takes to hand the pieces out and to get the \
         counts back."
    ));
    ways::prove(stage, &text, workers)?;
    let sizes = text.sizes(stage);
    let mut results = Vec::new();
    for &bytes in &sizes {
        let show = if bytes == text.whole().len() { Stage::show_comparison } else { Stage::compare };
        results.push(ways::compare(stage, text.first(bytes), workers, show)?);
    }
    verdict::speed_up(stage, &results);
    verdict::price(stage, &results, workers);
    verdict::give(stage, &results)?;
    verdict::tell(stage, &results);
    Ok(())
}
