//! Can a process hand over an open file, a socket and memory that nobody may change?

mod attempts;
mod giver;
mod mapping;
mod memory;
mod receiver;

use anyhow::Result;
use shared::number::chosen_with_unit;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Snippet, Stage, Table, Verdict};

use attempts::ATTEMPTS;
use giver::Seen;
use memory::Seals;

pub const DEMO: Demo = Demo {
    name: "pass-fd",
    question: "Can a process hand over an open file, a socket and memory that nobody may change?",
    claims: &[Claim::NoDirectSharing],
    rule: "Processes share data directly if one of them reads, in memory that is mapped, what the other wrote there after \
           the descriptor was handed over: no byte of that was sent. The claim is refuted if this works both ways, \
           qualified if only one way, and holds if neither.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pass_fd.rs", text: include_str!("../snippets/pass_fd.rs") },
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "A child is forked first, and only then a file is opened, a socket made, and {size} of memory filled and sealed. \
         So nothing of them is inherited: the child gets five descriptors over a Unix socket, with one byte."
    ));
    let seen = giver::hand_over(stage, bytes)?;
    stage.note("Then the child tries to change each piece of memory in every way there is, and reports what it got:");
    stage.table(table(&seen));
    let refused = judge_seals(stage, &seen, &size);
    let (there, back) = judge_sharing(stage, &seen)?;
    let both = if there && back { "both ways" } else { "not both ways" };
    stage.answer(format!(
        "{}: one byte carried five descriptors; the receiver read on in the file, answered through the socket, and read \
         all of {size} without a copy; of {} attempts to change the sealed memory {refused} were refused, and what is \
         not sealed against writing was shared {both}.",
        if seen.arrived() { "Yes" } else { "Not here" },
        2 * ATTEMPTS.len(),
    ));
    Ok(())
}

/// Each attempt's outcome, by what the memory is sealed against.
fn table(seen: &Seen) -> Table {
    let cell = |outcome: &Option<String>| match outcome {
        Some(errno) => Cell::Word { says: errno.clone(), mood: Mood::Good },
        None => Cell::Word { says: "done".to_owned(), mood: Mood::Bad },
    };
    let row = |(index, attempt): (usize, &attempts::Attempt)| {
        let outcomes = Seals::ALL.map(|seals| cell(&seen.outcomes[seals as usize][index]));
        [Cell::Text(attempt.name.to_owned())].into_iter().chain(outcomes).collect()
    };
    let heads = Seals::ALL.map(|seals| Column::value(seals.name(), ""));
    Table {
        title: "What the receiver can do to memory that it was handed".to_owned(),
        columns: [Column::label("attempt")].into_iter().chain(heads).collect(),
        rows: ATTEMPTS.iter().enumerate().map(row).collect(),
    }
}

/// How many of the attempts at the two sealed pieces were refused.
fn judge_seals(stage: &mut Stage, seen: &Seen, size: &str) -> usize {
    let refusals = |seals: Seals| seen.outcomes[seals as usize].iter().flatten().count();
    let all = ATTEMPTS.len();
    let none = refusals(Seals::None);
    stage.fact("Without seals every attempt succeeds, so the attempts are real", none == 0, format!("{none} refused"));
    for seals in [Seals::Write, Seals::FutureWrite] {
        let got = format!("{} of {all} refused", refusals(seals));
        stage.fact(format!("With {} every attempt is refused", seals.name()), refusals(seals) == all, got);
    }
    let wrong = seen.wrong_words;
    let says = format!("After all of them, each word of the {size} sealed against writing is what the giver wrote");
    stage.fact(says, wrong == [0, 0], format!("{} wrong before, {} after", wrong[0], wrong[1]));
    refusals(Seals::Write) + refusals(Seals::FutureWrite)
}

/// Whether a later change was seen by the receiver, and by the giver.
fn judge_sharing(stage: &mut Stage, seen: &Seen) -> Result<(bool, bool)> {
    let there = seen.by_receiver == [giver::BEFORE, giver::AFTER];
    let got = format!("{} before, {} after", seen.by_receiver[0], seen.by_receiver[1]);
    stage.fact("What the giver wrote later the receiver read, in memory that it cannot write itself", there, got);
    let back = seen.by_giver == attempts::MARK;
    stage.fact("What the receiver wrote into the memory without seals the giver read", back, seen.by_giver);
    let (verdict, because) = match (there, back) {
        (true, true) => (Verdict::Refuted, "each process read in its memory what the other wrote there, unsent"),
        (true, false) => (Verdict::Qualified, "only the receiver read what the other wrote"),
        (false, true) => (Verdict::Qualified, "only the giver read what the other wrote"),
        (false, false) => {
            (Verdict::Holds, "neither process read what the other wrote after the memory was handed over")
        }
    };
    stage.verdict(Claim::NoDirectSharing, verdict, because)?;
    Ok((there, back))
}
