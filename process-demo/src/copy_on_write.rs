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
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage, Verdict};

use block::Block;
use erosion::Erosion;
use saving::Saving;
use shared::spare_bytes;

pub const DEMO: Demo = Demo {
    name: "copy-on-write",
    question: "When does a forked process get memory of its own?",
    claims: &[Claim::NewMemorySpace],
    rule: "A new process gets a new memory space, and the claim holds, if a forked child that has written nothing \
           yet has as many pages for itself as its parent filled; it holds except pages that nobody has written to \
           if it has fewer at first, and gets one for each that it writes to, by the count of page faults and of \
           pages that it shares with nobody; refuted if what it writes shows in its parent's memory; else \
           undecided.",
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
    let ruling = judge(&erosion);
    let when = match ruling.verdict {
        Verdict::Holds => "All at once, at the fork; the first write to a page takes",
        Verdict::Qualified => "Page by page: the first write to each takes",
        Verdict::Refuted => "Never: its parent sees what it writes; the first write to a page takes",
        _ => "The counts do not tell; the first write to a page takes",
    };
    stage.rule(Claim::NewMemorySpace, ruling)?;
    let first_write = first_write::show(stage, &mut block)?;
    drop(block);
    arcs::show(stage)?;
    let saving = saving::show(stage, bytes / 2)?;
    let saved = saving.map_or(String::new(), |Saving { held, fork, stopped }| {
        format!(" So saving {held} by a fork stops its owner for {fork}, writing it out for {stopped}.")
    });
    stage.headline(format!("{first_write} a page, when first written to"));
    stage.answer(format!("{when} {first_write}.{saved}"));
    stage.advise("Save what changes all the time from a forked child: copy `snapshot`.");
    Ok(())
}

/// By the counted pages.
fn judge(erosion: &Erosion) -> Ruling {
    let Erosion { pages, own_at_first, own_at_last, copied_as_written, kept_apart } = *erosion;
    let [first, last, all] = [own_at_first, own_at_last, pages].map(count);
    let because =
        format!("A child had {first} pages for itself at first, and {last} once it had written to its parent's {all}");
    if !kept_apart {
        Ruling::refuted("What a child wrote showed in its parent's memory")
    } else if own_at_first >= pages {
        Ruling::holds(because)
    } else if copied_as_written {
        Ruling::except("pages that nobody has written to since the fork", because)
    } else {
        Ruling::undecided(because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_can_come_out() {
        let seen = |own_at_first, copied_as_written, kept_apart| {
            judge(&Erosion { pages: 10, own_at_first, own_at_last: 10, copied_as_written, kept_apart }).verdict
        };
        assert_eq!(seen(10, true, true), Verdict::Holds);
        assert_eq!(seen(0, true, true), Verdict::Qualified);
        assert_eq!(seen(0, true, false), Verdict::Refuted);
        assert_eq!(seen(5, false, true), Verdict::Undecided);
    }
}
