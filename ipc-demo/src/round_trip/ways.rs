//! By which ways does a byte get from a child to its parent?

mod attempts;

use std::path::Path;

use anyhow::Result;
use shared::Verdict::{Holds, Qualified, Refuted, Undecided};
use shared::{Cell, Column, Mood, Stage, Table, Verdict, refused};

/// One way, and whether the byte arrived; or why it could not be tried here.
pub struct Way {
    name: &'static str,
    kind: Kind,
    arrived: Result<bool, String>,
}

/// How the claim sees a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What threads use and processes, by the claim, cannot.
    Variable,
    /// One that the claim names.
    Named,
    /// One that it does not name.
    Further,
}

/// A way's name, how the claim sees it, and how to try it: does the byte arrive?
type Attempt<'a> = (&'static str, Kind, &'a dyn Fn() -> Result<bool>);

/// Tries each way with a child of its own. The queue's name and the directory are for those that need one.
pub fn try_all(queue: &str, directory: &Path) -> Result<Vec<Way>> {
    let attempts: [Attempt<'_>; 9] = [
        ("an ordinary variable", Kind::Variable, &attempts::by_variable),
        ("a pipe", Kind::Named, &attempts::by_pipe),
        ("a socket", Kind::Named, &attempts::by_socket),
        ("a message queue", Kind::Named, &|| attempts::by_queue(queue)),
        ("shared memory", Kind::Named, &attempts::by_shared_memory),
        ("the exit status", Kind::Further, &attempts::by_exit_status),
        ("the signal that ends it (one bit)", Kind::Further, &attempts::by_signal),
        ("a file", Kind::Further, &|| attempts::by_file(directory)),
        ("reading the child's memory (process_vm_readv)", Kind::Further, &attempts::by_reading_its_memory),
    ];
    let outcome = |&(name, kind, attempt): &Attempt<'_>| match attempt() {
        Ok(arrived) => Ok(Way { name, kind, arrived: Ok(arrived) }),
        Err(error) => {
            let why = refused(&error).ok_or_else(|| error.context(format!("sending a byte by {name}")))?;
            Ok(Way { name, kind, arrived: Err(why) })
        }
    };
    attempts.iter().map(outcome).collect()
}

pub fn tell(stage: &mut Stage, ways: &[Way]) {
    stage.table(table(ways));
    let shared = variable_is_shared(ways);
    let seen = if shared { "the child's byte" } else { "its own value, unchanged" };
    stage.fact("After the child changed an ordinary variable, its parent still sees its own value", !shared, seen);
    let (tried, worked) = named(ways);
    let says = "Every way that the claim names and this machine allows brought the byte";
    stage.fact(says, worked == tried, format!("{worked} of {tried}"));
}

fn table(ways: &[Way]) -> Table {
    let word = |says: &str, mood| Cell::Word { says: says.to_owned(), mood };
    let row = |way: &Way| {
        let named = word(if way.kind == Kind::Named { "yes" } else { "no" }, Mood::Neutral);
        let arrived = match &way.arrived {
            Ok(true) => word("yes", Mood::Good),
            Ok(false) => word("no", Mood::Bad),
            Err(why) => Cell::Skipped { skipped: why.clone() },
        };
        vec![Cell::Text(way.name.to_owned()), named, arrived]
    };
    Table {
        title: "A byte that a child chose, sent to its parent".to_owned(),
        columns: vec![Column::label("by"), Column::value("named by the claim", ""), Column::value("arrived", "")],
        rows: ways.iter().map(row).collect(),
    }
}

/// How many of the named ways could be tried here, and how many of them brought the byte.
fn named(ways: &[Way]) -> (usize, usize) {
    let tried = ways.iter().filter(|way| way.kind == Kind::Named && way.arrived.is_ok());
    (tried.count(), arrived(ways, Kind::Named).len())
}

/// Whether the child's change of an ordinary variable was seen by its parent.
fn variable_is_shared(ways: &[Way]) -> bool {
    !arrived(ways, Kind::Variable).is_empty()
}

/// Must processes use one of the named ways?
pub fn verdict(ways: &[Way]) -> (Verdict, String) {
    let (tried, worked) = named(ways);
    let further = arrived(ways, Kind::Further);
    if tried == 0 {
        return (Undecided, "none of the ways that the claim names could be tried here".to_owned());
    }
    let named = format!("{worked} of {tried} named ways that could be tried here brought the byte");
    if variable_is_shared(ways) {
        (Refuted, "the parent saw its child's change of an ordinary variable".to_owned())
    } else if worked == 0 {
        (Refuted, named)
    } else if further.is_empty() {
        (Holds, format!("{named}, and nothing else did"))
    } else {
        let count = further.len();
        (Qualified, format!("{named}, but so did {count} that the claim does not name: {}", further.join(", ")))
    }
}

fn arrived(ways: &[Way], kind: Kind) -> Vec<&'static str> {
    ways.iter().filter(|way| way.kind == kind && way.arrived == Ok(true)).map(|way| way.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(kind: Kind, arrived: Result<bool, String>) -> Way {
        Way { name: "it", kind, arrived }
    }

    #[test]
    fn the_verdict_follows_from_what_arrived() {
        let lost = || way(Kind::Variable, Ok(false));
        let (named, further) = (|| way(Kind::Named, Ok(true)), |arrived| way(Kind::Further, Ok(arrived)));
        assert_eq!(verdict(&[lost(), named(), further(false)]).0, Holds);
        assert_eq!(verdict(&[lost(), named(), further(true)]).0, Qualified);
        assert_eq!(verdict(&[lost(), way(Kind::Named, Ok(false)), further(true)]).0, Refuted);
        assert_eq!(verdict(&[way(Kind::Variable, Ok(true)), named()]).0, Refuted);
        assert_eq!(verdict(&[lost(), way(Kind::Named, Err("refused".to_owned()))]).0, Undecided);
    }
}
