//! Which flag shares what? From fork to thread by one flag more in each row, then each flag as alone as the kernel lets it.

use anyhow::Result;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use shared::{Cell, Column, Mood, Stage, Table};

use super::observe::{OBSERVED, Seen, Way, observe};

const VM: CloneFlags = CloneFlags::CLONE_VM;
const FILES: CloneFlags = CloneFlags::CLONE_FILES;
const FS: CloneFlags = CloneFlags::CLONE_FS;
const SIGHAND: CloneFlags = CloneFlags::CLONE_SIGHAND;
const THREAD: CloneFlags = CloneFlags::CLONE_THREAD;

/// In the order in which the ladder adds them.
const FLAGS: [(CloneFlags, &str); 5] =
    [(VM, "VM"), (FILES, "FILES"), (FS, "FS"), (SIGHAND, "SIGHAND"), (THREAD, "THREAD")];

/// What one way of making a task was seen to share; or the kernel's reason to refuse it.
pub struct Row {
    label: String,
    pub seen: Result<Seen, Errno>,
}

/// Every row that was observed.
pub struct Rows {
    pub fork: Row,
    /// The first without a flag, the last with all five.
    pub ladder: Vec<Row>,
    pub std_thread: Row,
    /// Each flag with no more than the kernel asks for beside it.
    pub alone: Vec<Alone>,
    /// SIGHAND without VM, THREAD without SIGHAND.
    pub invalid: Vec<Row>,
}

/// A flag with only what the kernel asks for beside it.
pub struct Alone {
    flag: &'static str,
    /// The same without the flag.
    without: Row,
    with: Row,
}

pub fn climb(stage: &mut Stage) -> Result<Rows> {
    let fork = Row { label: "fork".to_owned(), seen: observe(Way::Fork)? };
    let ladder = (0..=FLAGS.len()).map(rung).collect::<Result<Vec<Row>>>()?;
    let std_thread = Row { label: "thread of std".to_owned(), seen: observe(Way::StdThread)? };
    stage.show(table(
        "From fork to thread, one flag more in each row",
        [&fork].into_iter().chain(&ladder).chain([&std_thread]),
    ));
    let alone = [
        ("FILES", CloneFlags::empty(), FILES),
        ("FS", CloneFlags::empty(), FS),
        ("SIGHAND", VM, SIGHAND),
        ("THREAD", VM | SIGHAND, THREAD),
    ];
    let of_flag =
        |(flag, beside, added)| Ok(Alone { flag, without: by_flags(beside)?, with: by_flags(beside | added)? });
    let alone = alone.map(of_flag).into_iter().collect::<Result<Vec<Alone>>>()?;
    let invalid = [SIGHAND, THREAD, VM | THREAD].map(by_flags).into_iter().collect::<Result<Vec<Row>>>()?;
    stage.table(table("Each flag beside as few others as the kernel accepts", alone.iter().map(|one| &one.with)));
    Ok(Rows { fork, ladder, std_thread, alone, invalid })
}

impl Rows {
    /// What each flag changed when the ladder added it.
    pub fn by_ladder(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let steps = self.ladder.windows(2).zip(FLAGS);
        steps.map(|(pair, (_, flag))| (flag, changed(&pair[0], &pair[1]))).collect()
    }

    /// What each flag changed with as few others as possible; VM is alone on the ladder.
    pub fn by_itself(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        let vm = self.by_ladder().into_iter().take(1);
        vm.chain(self.alone.iter().map(|one| (one.flag, changed(&one.without, &one.with)))).collect()
    }

    /// What became of each that is not to be accepted, in words; true if the kernel refused them all as invalid.
    pub fn invalid(&self) -> (bool, String) {
        let outcome = |row: &Row| row.seen.map_or_else(|errno| format!("{errno:?}"), |_| "accepted".to_owned());
        let each = self.invalid.iter().map(|row| format!("{}: {}", row.label, outcome(row)));
        let refused = self.invalid.iter().all(|row| row.seen == Err(Errno::EINVAL));
        (refused, each.collect::<Vec<_>>().join("; "))
    }

    /// The first of the others that was refused, and why.
    pub fn refused(&self) -> Option<(&str, Errno)> {
        let alone = self.alone.iter().flat_map(|one| [&one.without, &one.with]);
        let mut all = [&self.fork, &self.std_thread].into_iter().chain(&self.ladder).chain(alone);
        all.find_map(|row| Some((row.label.as_str(), row.seen.err()?)))
    }
}

/// The ladder with so many flags; its row is named by the last of them.
fn rung(count: usize) -> Result<Row> {
    let flags = FLAGS[..count].iter().map(|(flag, _)| *flag).collect();
    let Row { label, seen } = by_flags(flags)?;
    Ok(Row { label: if count > 1 { format!("and {}", FLAGS[count - 1].1) } else { label }, seen })
}

fn by_flags(flags: CloneFlags) -> Result<Row> {
    let names: Vec<_> = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    let label = if names.is_empty() { "no flag".to_owned() } else { names.join(" ") };
    Ok(Row { label, seen: observe(Way::Clone(flags))? })
}

fn changed(from: &Row, to: &Row) -> Vec<&'static str> {
    let (Ok(from), Ok(to)) = (from.seen, to.seen) else { return Vec::new() };
    OBSERVED.iter().zip(from.iter().zip(&to)).filter(|(_, (from, to))| from != to).map(|(name, _)| *name).collect()
}

fn table<'r>(title: &str, rows: impl Iterator<Item = &'r Row>) -> Table {
    let columns = [Column::label("made by")].into_iter().chain(OBSERVED.map(|name| Column::value(name, "")));
    let cells = |row: &Row| {
        let cell = |index| match row.seen {
            Ok(seen) => Cell::Word { says: word(index, seen[index]).to_owned(), mood: mood(seen[index]) },
            Err(errno) => Cell::Skipped { skipped: errno.to_string() },
        };
        [Cell::Text(row.label.clone())].into_iter().chain((0..OBSERVED.len()).map(cell)).collect()
    };
    Table { title: title.to_owned(), columns: columns.collect(), rows: rows.map(cells).collect() }
}

fn word(index: usize, shared: bool) -> &'static str {
    match (OBSERVED[index], shared) {
        ("pid", true) => "the same",
        ("waitpid", true) => "no child",
        ("waitpid", false) => "a child",
        (_, true) => "shared",
        (_, false) => "own",
    }
}

fn mood(shared: bool) -> Mood {
    if shared { Mood::Good } else { Mood::Neutral }
}
