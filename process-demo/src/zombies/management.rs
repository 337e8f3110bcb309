//! Who may wait for, stop, prioritise, limit and end whom: a process beside a thread?

mod hands;
mod stands;
mod tries;

use anyhow::Result;
use shared::{Cell, Column, Mood, Stage, Table};

use hands::Kind;

/// The acts, in the order of the columns.
pub const ACTS: [&str; 6] = ["wait for", "see it end", "stop", "priority", "limit", "end"];
const WAIT: usize = 0;
const SEE: usize = 1;
const STOP: usize = 2;
const END: usize = 5;

/// What an act did, as seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Reach {
    /// What it was meant for, and nothing else.
    Alone,
    /// All threads of the process.
    Whole,
    /// The kernel refused.
    Refused(String),
    /// It was not tried, for this reason.
    Skipped(String),
    /// Neither, for the same.
    Untried,
}

/// One who tries, with what came of it.
pub struct Row {
    who: &'static str,
    kind: Kind,
    reaches: [Reach; ACTS.len()],
}

/// What was seen, in short.
pub struct Management {
    /// Who could wait for a process, and how many tried.
    pub waiters: Vec<&'static str>,
    pub tried: usize,
    /// The acts that reach one process alone, and those of them that do not reach one thread alone.
    pub of_process: Vec<&'static str>,
    pub not_of_thread: Vec<&'static str>,
}

pub fn show(stage: &mut Stage) -> Result<Management> {
    stage.note(
        "Everybody tries everything: wait for it, see it end by a descriptor (pidfd), stop it, set its priority, \
         limit its descriptors, end it. What came of it is looked up from outside, in /proc. The first rows act on a \
         process, the last two on one of a process's two threads.",
    );
    let rows = stands::all(stage.clock())?;
    stage.table(table(&rows));
    let processes: Vec<&Row> = rows.iter().filter(|row| row.kind == Kind::Process).collect();
    let tried = processes.iter().filter(|row| !matches!(row.reaches[WAIT], Reach::Skipped(_)));
    let waiters: Vec<_> = tried.clone().filter(|row| row.reaches[WAIT] == Reach::Alone).map(|row| row.who).collect();
    let tried = tried.count();
    let got = format!("{} of {tried}: {}", waiters.len(), waiters.join(", "));
    stage.fact("Of all who try, only its parent can wait for a process", waiters == [stands::PARENT], got);
    let watchers = processes.iter().filter(|row| row.reaches[SEE] == Reach::Alone).count();
    let got = format!("{watchers} of {tried}");
    stage.fact("With a descriptor of a process, whoever tries can see it end", watchers == tried, got);
    let management = compare(&rows, waiters, tried);
    let of_thread = rows.iter().find(|row| row.who == stands::OWN_THREAD).map(|row| &row.reaches);
    let whole = |act: &usize| of_thread.is_some_and(|reaches| reaches[*act] == Reach::Whole);
    let whole: Vec<_> = [STOP, END].into_iter().filter(whole).map(|act| ACTS[act]).collect();
    let got = format!("reached the whole process: {}", whole.join(", "));
    stage.fact("A signal sent to one thread stops or ends its whole process", whole.len() == 2, got);
    Ok(management)
}

/// Sets what a parent can do with its child beside what a thread can do with another of its process.
fn compare(rows: &[Row], waiters: Vec<&'static str>, tried: usize) -> Management {
    let reaches = |who| rows.iter().find(|row| row.who == who).map(|row| &row.reaches);
    let alone = |who, act: usize| reaches(who).is_some_and(|reaches| reaches[act] == Reach::Alone);
    // Seeing an end is left out: it rests on a descriptor, which has nothing to do with who is whose.
    let acts = (0..ACTS.len()).filter(|&act| act != SEE);
    let of_process: Vec<usize> = acts.filter(|&act| alone(stands::PARENT, act)).collect();
    let not_of_thread =
        of_process.iter().filter(|&&act| !alone(stands::OWN_THREAD, act)).map(|&act| ACTS[act]).collect();
    let of_process = of_process.into_iter().map(|act| ACTS[act]).collect();
    Management { waiters, tried, of_process, not_of_thread }
}

fn table(rows: &[Row]) -> Table {
    let cell = |kind: Kind, reach: &Reach| {
        let (says, mood) = match (reach, kind) {
            (Reach::Alone, Kind::Process) => ("yes".to_owned(), Mood::Good),
            (Reach::Alone, Kind::Thread) => ("it alone".to_owned(), Mood::Good),
            (Reach::Whole, _) => ("its process".to_owned(), Mood::Bad),
            (Reach::Refused(why), _) => (why.clone(), Mood::Neutral),
            (Reach::Untried, _) => return Cell::Nothing,
            (Reach::Skipped(why), _) => return Cell::Skipped { skipped: why.clone() },
        };
        Cell::Word { says, mood }
    };
    Table {
        title: "Who reaches what".to_owned(),
        columns: [Column::label("who tries")].into_iter().chain(ACTS.map(|act| Column::value(act, ""))).collect(),
        rows: rows
            .iter()
            .map(|row| {
                let cells = row.reaches.iter().map(|reach| cell(row.kind, reach));
                [Cell::Text(row.who.to_owned())].into_iter().chain(cells).collect()
            })
            .collect(),
    }
}
