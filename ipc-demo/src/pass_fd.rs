//! Can a process hand over an open file, a socket and memory that nobody may change?

mod attempts;
mod giver;
mod mapping;
mod memory;
mod receiver;

use anyhow::Result;
use shared::number::chosen_with_unit;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Ruling, Snippet, Stage, Table};

use attempts::ATTEMPTS;
use giver::{AFTER, BEFORE, Seen};
use memory::Seals;

pub const DEMO: Demo = Demo {
    name: "pass-fd",
    question: "Can a process hand over an open file, a socket and read-only memory?",
    claims: &[Claim::NoDirectSharing],
    rule: "After the descriptors were handed over, the parent changes a word in memory that both map and an ordinary \
           variable that the child has from the fork; the child stores into other memory that both map. No byte of \
           this is sent. The claim holds if neither process sees what the other wrote. It holds except mapped memory \
           if one of them sees it there, and the condition says if only one does. It is refuted if the child sees the \
           change of the ordinary variable too.",
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
        "The parent forks a child first. Only then it opens a file, makes a socket, and fills {size} of memory and seals \
         it. So the child inherits nothing of them: it gets five descriptors over a Unix socket, with one byte. Then it \
         tries to change each piece of memory, by every means there is, and reports what it got."
    ));
    let seen = giver::hand_over(stage, bytes)?;
    stage.show(table(&seen));
    let refused = judge_seals(stage, &seen, &size);
    judge_sharing(stage, &seen)?;
    stage.headline(format!("{} of {} descriptors work in the child", seen.working(), giver::HANDED_OVER));
    stage.answer(format!(
        "{}; it maps {size} without a copy. Of {} attempts to change sealed memory, {refused} are refused.",
        if seen.arrived() == [true, true] {
            "Yes: the child reads on in the file and answers through the socket"
        } else {
            "Only in part: the file or the socket does not work in the child"
        },
        2 * ATTEMPTS.len(),
    ));
    stage.advise("Pass descriptors over a Unix socket, memory sealed: copy `pass_fd`.");
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
        title: "What the child can do to memory that was handed to it".to_owned(),
        columns: [Column::label("attempt")].into_iter().chain(heads).collect(),
        rows: ATTEMPTS.iter().enumerate().map(row).collect(),
    }
}

/// How many of the attempts at the two sealed pieces were refused.
fn judge_seals(stage: &mut Stage, seen: &Seen, size: &str) -> usize {
    let refusals = |seals: Seals| seen.outcomes[seals as usize].iter().flatten().count();
    let (all, none) = (ATTEMPTS.len(), refusals(Seals::None));
    stage.check("Every attempt succeeds on memory without seals", none == 0, format!("{none} of {all} refused"));
    let sealed = [Seals::Write, Seals::FutureWrite].map(|seals| (seals.name(), refusals(seals)));
    let got = sealed.map(|(name, refused)| format!("{name} {refused} of {all}")).join(", ");
    stage.fact("Either seal against writing refuses every attempt", sealed.iter().all(|one| one.1 == all), got);
    let wrong = seen.wrong_words;
    let says = format!("The attempts leave the {size} with F_SEAL_WRITE as they were, word by word");
    stage.fact(says, wrong == [0, 0], format!("{} words wrong before, {} after", wrong[0], wrong[1]));
    sealed.iter().map(|(_, refused)| refused).sum()
}

/// Whether a later change was seen by the child, and by the parent.
fn judge_sharing(stage: &mut Stage, seen: &Seen) -> Result<()> {
    let there = seen.mapped == [BEFORE, AFTER];
    let got = format!("{} before, {} after", seen.mapped[0], seen.mapped[1]);
    stage.fact("The child sees a later change in mapped memory that it cannot write", there, got);
    let back = seen.by_parent == attempts::MARK;
    let says = "The parent sees what the child writes into mapped memory";
    stage.fact(says, back, format!("{:#x} of {:#x}", seen.by_parent, attempts::MARK));
    let apart = seen.ordinary == [BEFORE, BEFORE];
    let got = format!("{} before, {} after", seen.ordinary[0], seen.ordinary[1]);
    stage.fact("The child does not see a later change of an ordinary variable", apart, got);
    stage.rule(Claim::NoDirectSharing, ruling(there, back, seen.ordinary))
}

/// Can processes not share data directly?
fn ruling(there: bool, back: bool, ordinary: [u64; 2]) -> Ruling {
    let now = ordinary[1];
    let stayed = format!("an ordinary variable stayed {now} in the child when the parent wrote {AFTER}");
    if ordinary != [BEFORE, BEFORE] {
        return Ruling::refuted(format!(
            "The child read {now} in an ordinary variable into which the parent wrote {AFTER}"
        ));
    }
    match (there, back) {
        (true, true) => Ruling::except(
            "memory that both map, such as a descriptor passed to the peer",
            format!("Each process read what the other wrote there; {stayed}"),
        ),
        (true, false) => Ruling::except(
            "memory that both map, and only from parent to child",
            format!("The child read what the parent wrote there; {stayed}"),
        ),
        (false, true) => Ruling::except(
            "memory that both map, and only from child to parent",
            format!("The parent read what the child wrote there; {stayed}"),
        ),
        (false, false) => Ruling::holds(format!("Neither read what the other wrote into mapped memory; {stayed}")),
    }
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted};

    use super::*;

    #[test]
    fn mapped_memory_is_an_exception_and_an_ordinary_variable_refutes() {
        let verdict = |there, back, ordinary| ruling(there, back, ordinary).verdict;
        let apart = [BEFORE, BEFORE];
        assert_eq!(verdict(false, false, apart), Holds);
        for (there, back) in [(true, true), (true, false), (false, true)] {
            assert_eq!(verdict(there, back, apart), Qualified);
            assert_eq!(verdict(there, back, [BEFORE, AFTER]), Refuted);
        }
    }
}
