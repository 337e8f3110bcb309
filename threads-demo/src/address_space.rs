//! What do the threads of one process share, and what has each for itself?

mod asleep;
mod descriptors;
mod memory;
mod stacks;

use anyhow::Result;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Ruling, Snippet, Stage, Table};

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "What do the threads of a process share, and what has each for itself?",
    claims: &[
        Claim::ManyThreadsInAProcess,
        Claim::OwnStackAndCounter,
        Claim::ThreadsShareMemory,
        Claim::ThreadsShareResources,
    ],
    rule: "Many threads in a process holds if several tids are seen beside one pid; else it is refuted. An own stack and \
           program counter is refuted if two stacks overlap, a local variable or a stack pointer lies outside its \
           thread's stack, or all sleeping threads stand at one instruction. Else it holds, except that one thread can \
           write into another's stack, if one did. Shared memory holds if the heap and statics are shared, and shared \
           resources if a file's position, a connection and a descriptor are. Each is refuted if nothing tried is \
           shared, and holds in part if only some of it is.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "threads-demo/snippets/thread_identity.rs",
        text: include_str!("../snippets/thread_identity.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let (mut parts, written) = stacks::show(stage)?;
    parts.extend(memory::show(stage)?);
    parts.extend(descriptors::show(stage)?);
    let names = |whose| {
        let these = parts.iter().filter(|part| part.whose == whose);
        these.map(|part| part.name).collect::<Vec<_>>()
    };
    let (shared, own) = (names(Whose::Shared), names(Whose::Own));
    stage.headline(format!("{} things shared, {} each thread's own", shared.len(), own.len()));
    let but = if written { ", yet can write to another's stack" } else { "" };
    stage.answer(format!("Threads share {}. Each has its own {}{but}.", listed(&shared), listed(&own)));
    stage.advise("See which thread runs, and on which stack: copy `thread_identity`.");
    parts.sort_by_key(|part| part.whose);
    stage.show(Table {
        title: "Shared or own, and what was seen".to_owned(),
        columns: columns(&["what", "whose", "seen"]),
        rows: parts.into_iter().map(Part::into_row).collect(),
    });
    Ok(())
}

/// Something that a process or each of its threads has.
struct Part {
    name: &'static str,
    whose: Whose,
    seen: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Shared,
    Own,
    Unclear,
}

impl Part {
    fn into_row(self) -> Vec<Cell> {
        let (says, mood) = match self.whose {
            Whose::Shared => ("shared", Mood::Good),
            Whose::Own => ("own", Mood::Neutral),
            Whose::Unclear => ("unclear", Mood::Bad),
        };
        vec![Cell::Text(self.name.to_owned()), Cell::Word { says: says.to_owned(), mood }, Cell::Text(self.seen)]
    }
}

/// The ruling on 'threads share these'.
fn shared_by_count(parts: &[Part], because: impl Into<String>) -> Ruling {
    let (shared, others): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.whose == Whose::Shared);
    let names = |parts: &[&Part]| listed(&parts.iter().map(|part| part.name).collect::<Vec<_>>());
    let ruling = match (shared.len(), others.len()) {
        (0, _) => Ruling::refuted(because),
        (_, 0) => Ruling::holds(because),
        _ => Ruling::in_part(format!("true of {}, not of {}", names(&shared), names(&others)), because),
    };
    ruling.by(shared.len() as f64, &format!("of {} shared", parts.len()))
}

/// In words: "heap, statics and connections".
fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    let column =
        |(index, name): (usize, &&str)| if index == 0 { Column::label(*name) } else { Column::value(*name, "") };
    names.iter().enumerate().map(column).collect()
}

fn address(of: usize) -> Cell {
    Cell::Text(format!("{of:#x}"))
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn what_is_shared_in_part_is_named() {
        let rule = |whose: [Whose; 2]| {
            let part = |(name, whose)| Part { name, whose, seen: String::new() };
            shared_by_count(&["heap", "statics"].into_iter().zip(whose).map(part).collect::<Vec<_>>(), "")
        };
        assert_eq!(rule([Whose::Shared, Whose::Shared]).verdict, Verdict::Holds);
        assert_eq!(rule([Whose::Unclear, Whose::Own]).verdict, Verdict::Refuted);
        let in_part = rule([Whose::Shared, Whose::Own]);
        assert_eq!(in_part.verdict, Verdict::Qualified);
        assert_eq!(in_part.condition.unwrap().says, "true of heap, not of statics");
    }
}
