//! By which mechanisms does a byte get from a child to its parent?

mod attempts;

use std::path::Path;

use anyhow::Result;
use shared::{Cell, Column, Mood, Ruling, Stage, Table, refused};

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
        ("ordinary variable", Kind::Variable, &attempts::by_variable),
        ("pipe", Kind::Named, &attempts::by_pipe),
        ("socket", Kind::Named, &attempts::by_socket),
        ("POSIX queue", Kind::Named, &|| attempts::by_queue(queue)),
        ("shared memory", Kind::Named, &attempts::by_shared_memory),
        ("exit status", Kind::Further, &attempts::by_exit_status),
        ("ending signal", Kind::Further, &attempts::by_signal),
        ("file", Kind::Further, &|| attempts::by_file(directory)),
        ("process_vm_readv", Kind::Further, &attempts::by_reading_its_memory),
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
    let seen = if shared { "the parent saw the child's byte" } else { "the parent saw its own value" };
    stage.fact("A child's change of an ordinary variable does not reach its parent", !shared, seen);
    let (tried, worked) = named(ways);
    let says = "Each named mechanism that this machine allows brings a byte from a child to its parent";
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
        title: "Does a byte that a child chose reach its parent?".to_owned(),
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

/// Must processes use one of the named mechanisms?
pub fn ruling(ways: &[Way]) -> Ruling {
    let (tried, worked) = named(ways);
    let further = arrived(ways, Kind::Further);
    if tried == 0 {
        return Ruling::undecided("None of the named mechanisms could be tried here");
    }
    let named = format!("{worked} of {tried} named mechanisms carried a child's byte");
    if variable_is_shared(ways) {
        Ruling::refuted("The parent saw its child's change of an ordinary variable")
    } else if worked == 0 {
        Ruling::refuted(named)
    } else if further.is_empty() {
        Ruling::holds(format!("{named}, and nothing else did"))
    } else {
        let others = format!("{named}, and so did {} others", further.len());
        Ruling::except(format!("for {}", further.join(", ")), others)
    }
}

fn arrived(ways: &[Way], kind: Kind) -> Vec<&'static str> {
    ways.iter().filter(|way| way.kind == kind && way.arrived == Ok(true)).map(|way| way.name).collect()
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted, Undecided};

    use super::*;

    fn way(kind: Kind, arrived: Result<bool, String>) -> Way {
        Way { name: "it", kind, arrived }
    }

    #[test]
    fn the_verdict_follows_from_what_arrived() {
        let lost = || way(Kind::Variable, Ok(false));
        let (named, further) = (|| way(Kind::Named, Ok(true)), |arrived| way(Kind::Further, Ok(arrived)));
        let verdict = |ways: &[Way]| ruling(ways).verdict;
        assert_eq!(verdict(&[lost(), named(), further(false)]), Holds);
        assert_eq!(verdict(&[lost(), named(), further(true)]), Qualified);
        assert_eq!(verdict(&[lost(), way(Kind::Named, Ok(false)), further(true)]), Refuted);
        assert_eq!(verdict(&[way(Kind::Variable, Ok(true)), named()]), Refuted);
        assert_eq!(verdict(&[lost(), way(Kind::Named, Err("refused".to_owned()))]), Undecided);
    }
}
