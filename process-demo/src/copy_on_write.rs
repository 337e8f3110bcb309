//! When does a forked process get memory of its own?

mod accounts;
mod arcs;
mod block;
mod erosion;
mod first_write;
mod saving;
mod subject;

use anyhow::{Context, Result};
use shared::number::count;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use block::Block;
use erosion::Erosion;
use shared::spare_bytes;

pub const DEMO: Demo = Demo {
    name: "copy-on-write",
    question: "When does a forked process get memory of its own?",
    claims: &[Claim::NewMemorySpace],
    rule: "A new process gets a new memory space, and the claim holds, if a forked child that has written nothing yet has \
           as many pages for itself as its maker filled; it is qualified if it has fewer at first, and gets one for each that it \
           writes to, by the count of page faults and of pages that it shares with nobody; refuted if what it writes \
           shows in its maker's memory; else undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/snapshot.rs", text: include_str!("../snippets/snapshot.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let wanted = stage.by_effort(4, 64, 256) * MIB;
    // A child may copy all of it, and fresh memory beside it is touched.
    let Some(bytes) = (0..6).map(|halvings| wanted >> halvings).find(|bytes| 4 * bytes <= spare_bytes() as usize)
    else {
        stage.skip("there is too little free memory to copy some of it");
        return Ok(());
    };
    let mut block = Block::filled(bytes).context("filling memory")?;
    let erosion = erosion::show(stage, &mut block)?;
    let (verdict, because) = judge(&erosion);
    stage.verdict(Claim::NewMemorySpace, verdict, &because)?;
    let cost = first_write::show(stage, &mut block)?;
    drop(block);
    arcs::show(stage)?;
    let saving = saving::show(stage, bytes / 2)?;
    let saved = saving.map_or(String::new(), |saving| {
        let (held, fork, stopped) = (saving.held, saving.fork, saving.stopped);
        format!("; so a snapshot of {held} stops its owner for {fork}, where writing it out stops it for {stopped}")
    });
    stage.answer(format!("Page by page, when one of the two first writes to it, for {} each{saved}.", cost.in_words()));
    Ok(())
}

/// By the counted pages.
fn judge(erosion: &Erosion) -> (Verdict, String) {
    let Erosion { pages, own_at_first, own_at_last, copied_as_written, kept_apart } = *erosion;
    let verdict = if !kept_apart {
        Verdict::Refuted
    } else if own_at_first >= pages {
        Verdict::Holds
    } else if copied_as_written {
        Verdict::Qualified
    } else {
        Verdict::Undecided
    };
    let [first, last, all] = [own_at_first, own_at_last, pages].map(count);
    let because = if kept_apart {
        format!(
            "its maker had filled {all} pages; a child had {first} for itself right after the fork, its stack among them, \
             and {last} once it had written to all"
        )
    } else {
        "what a child wrote showed in its maker's memory".to_owned()
    };
    (verdict, because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_can_come_out() {
        let seen = |own_at_first, copied_as_written, kept_apart| {
            judge(&Erosion { pages: 10, own_at_first, own_at_last: 10, copied_as_written, kept_apart }).0
        };
        assert_eq!(seen(10, true, true), Verdict::Holds);
        assert_eq!(seen(0, true, true), Verdict::Qualified);
        assert_eq!(seen(0, true, false), Verdict::Refuted);
        assert_eq!(seen(5, false, true), Verdict::Undecided);
    }
}
