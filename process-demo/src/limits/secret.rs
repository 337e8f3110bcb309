//! Who can read what a worker keeps in its memory?

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use shared::{Cell, Column, Mood, Stage, Table, refused};

use super::crew::{Crew, Kind, Reply};
use super::order::Order;
use super::places::Places;

/// The reader, and what is done before it reads.
struct Case {
    says: &'static str,
    kind: Kind,
    owner_does: Order,
    reader_does: Order,
}

/// What came of it.
pub enum Outcome {
    Read,
    Refused(String),
    /// Something else than the secret was read.
    Wrong,
    Skipped(String),
}

const CASES: [Case; 6] = [
    Case { says: "a thread", kind: Kind::Threads, owner_does: Order::Ping, reader_does: Order::Ping },
    Case {
        says: "a thread confined by Landlock",
        kind: Kind::Threads,
        owner_does: Order::Ping,
        reader_does: Order::ReadPublicOnly,
    },
    Case { says: "a process", kind: Kind::Processes, owner_does: Order::Ping, reader_does: Order::Ping },
    Case {
        says: "a process, the owner not dumpable",
        kind: Kind::Processes,
        owner_does: Order::HideMemory,
        reader_does: Order::Ping,
    },
    Case {
        says: "a process of another user",
        kind: Kind::Processes,
        owner_does: Order::Ping,
        reader_does: Order::BecomeNobody,
    },
    Case {
        says: "a process confined by Landlock",
        kind: Kind::Processes,
        owner_does: Order::Ping,
        reader_does: Order::ReadPublicOnly,
    },
];

/// How many of the cases that could be tried read the secret: sibling threads, and sibling processes.
pub struct Seen {
    pub by_threads: (usize, usize),
    pub by_processes: (usize, usize),
}

pub fn show(stage: &mut Stage, places: &Places) -> Result<Seen> {
    stage.note(format!(
        "A worker draws a random number and keeps it to itself. Its sibling is told where it lies: a thread reads there, a \
         process asks the kernel for it (process_vm_readv). Both are {}.",
        if Uid::effective().is_root() { "root's" } else { "an ordinary user's" }
    ));
    let outcome = |case: &Case| match case.perform(places) {
        Err(error) => refused(&error).map(Outcome::Skipped).ok_or(error),
        outcome => outcome,
    };
    let outcomes: Vec<Outcome> = CASES.iter().map(outcome).collect::<Result<_>>()?;
    stage.table(table(&outcomes));
    if let Ok(scope) = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        stage.note(format!("Yama's ptrace scope, which decides on processes of one user too, is {}.", scope.trim()));
    }
    let of = |kind: Kind| {
        let of_kind =
            || CASES.iter().zip(&outcomes).filter(move |(case, _)| case.kind == kind).map(|(_, outcome)| outcome);
        let tried = of_kind().filter(|outcome| !matches!(outcome, Outcome::Skipped(_))).count();
        (of_kind().filter(|outcome| matches!(outcome, Outcome::Read)).count(), tried)
    };
    let seen = Seen { by_threads: of(Kind::Threads), by_processes: of(Kind::Processes) };
    let (read, tried) = seen.by_threads;
    stage.fact("A sibling thread reads the secret, confined or not", read == tried, format!("{read} of {tried}"));
    let wrong = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Wrong)).count();
    stage.check("Whoever reads it reads the right one", wrong == 0, format!("{wrong} wrong"));
    Ok(seen)
}

impl Case {
    fn perform(&self, places: &Places) -> Result<Outcome> {
        const OWNER: usize = 0;
        const READER: usize = 1;
        let mut crew = Crew::of(self.kind, 2, places)?;
        let mut prepared = |worker, order| match crew.ask(worker, order, [0; 2])? {
            Reply::Done(value) => anyhow::Ok(Ok(value)),
            Reply::Failed(error) => Ok(Err(error.desc().to_owned())),
            Reply::Gone(exit) => Ok(Err(exit.to_string())),
        };
        let secret = prepared(OWNER, Order::DrawSecret)?;
        let address = prepared(OWNER, Order::SecretAt)?;
        for (worker, order) in [(OWNER, self.owner_does), (READER, self.reader_does)] {
            if let Err(why) = prepared(worker, order)? {
                return Ok(Outcome::Skipped(why));
            }
        }
        let (Ok(secret), Ok(address)) = (secret, address) else {
            return Ok(Outcome::Skipped("no secret could be drawn".to_owned()));
        };
        let read = match self.kind {
            Kind::Threads => crew.ask(READER, Order::ReadHere, [address, 0])?,
            Kind::Processes => {
                let owner = crew.pid(OWNER).context("the owner is gone")?;
                crew.ask(READER, Order::ReadThere, [owner, address])?
            }
        };
        ensure!(!matches!(read, Reply::Gone(_)), "a reader ended");
        Ok(match read {
            Reply::Done(value) if value == secret => Outcome::Read,
            Reply::Failed(error) => Outcome::Refused(format!("{error:?}")),
            _ => Outcome::Wrong,
        })
    }
}

fn table(outcomes: &[Outcome]) -> Table {
    let cell = |outcome: &Outcome| match outcome {
        Outcome::Read => Cell::Word { says: "reads it".to_owned(), mood: Mood::Bad },
        Outcome::Refused(why) => Cell::Word { says: format!("refused ({why})"), mood: Mood::Good },
        Outcome::Wrong => Cell::Word { says: "reads something else".to_owned(), mood: Mood::Neutral },
        Outcome::Skipped(why) => Cell::Skipped { skipped: why.clone() },
    };
    Table {
        title: "Who reads a sibling's secret".to_owned(),
        columns: vec![Column::label("sibling"), Column::value("the secret", "")],
        rows: CASES
            .iter()
            .zip(outcomes)
            .map(|(case, outcome)| vec![Cell::Text(case.says.to_owned()), cell(outcome)])
            .collect(),
    }
}
