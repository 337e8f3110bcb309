//! What becomes of two processes' additions: in a forced order, by luck, and with the fix?

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::{Context, Result};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use race_demo::shared_counter::SharedCounter;
use shared::number::count;
use shared::{Cell, Column, Stage, Table};

use super::counters::{Counter, InFile, InMemory, add_so_often};

/// How many rounds lost an addition: when both read before either wrote, and when each added in its turn.
pub struct Lost {
    pub forced: u64,
    pub in_turn: u64,
}

/// Both read, then both write, so many times. Beside it, each in turn.
pub fn force<C: Counter>(stage: &mut Stage, counter: C, rounds: u64) -> Result<Lost> {
    let (mut own, mut peer) = sides(counter)?;
    let (mut lost, mut lost_in_turn) = (0, 0);
    for _ in 0..rounds {
        counter.set_to_zero()?;
        peer.tell(0, Side::add_once_both_have_read, NOTHING);
        own.add_once_both_have_read(NOTHING)?;
        peer.hear(0)?.value()?;
        lost += u64::from(counter.total()? == 1);

        counter.set_to_zero()?;
        counter.add_in_two_steps(|| ())?;
        let add = |own: &mut Side<C>, _| own.counter.add_in_two_steps(|| ()).map(|()| 1);
        peer.ask(0, add, NOTHING)?.value()?;
        lost_in_turn += u64::from(counter.total()? != 2);
    }
    let place = C::WHERE;
    let of = |right| format!("{} of {}", count(right), count(rounds));
    let says = format!("In {place}: if both processes read before either writes, 1 + 1 makes 1");
    stage.fact(says, lost == rounds, of(lost));
    let says = format!("In {place}: if one process adds after the other, the same code makes 2");
    stage.fact(says, lost_in_turn == 0, of(rounds - lost_in_turn));
    Ok(Lost { forced: lost, in_turn: lost_in_turn })
}

/// One of two that add to a counter, with a line to the other.
struct Side<C> {
    counter: C,
    line: UnixStream,
}

/// This process, and another.
fn sides<C: Counter>(counter: C) -> Result<(Side<C>, Crew<Side<C>>)> {
    let (line, its_line) = UnixStream::pair().context("making a socket pair")?;
    let peer = Crew::of(Kind::Processes, 1, || Ok(Side { counter, line: its_line.try_clone()? }))?;
    Ok((Side { counter, line }, peer))
}

impl<C: Counter> Side<C> {
    /// Neither writes before both have sent their byte.
    fn add_once_both_have_read(&mut self, _: Arguments) -> Result<u64> {
        let mut met = Ok(());
        let line = &mut self.line;
        let meet = || met = line.write_all(&[1]).and_then(|()| line.read_exact(&mut [0]));
        self.counter.add_in_two_steps(meet)?;
        met.context("meeting the other process").map(|()| 1)
    }
}

/// The forced order again, on a counter that fork has copied: each process has its own. Returns by how many the two
/// counts are wrong.
pub fn keep_private(stage: &mut Stage, rounds: u64) -> Result<u64> {
    let counter = SharedCounter::new();
    let (mut own, mut peer) = sides(InMemory(&counter))?;
    for _ in 0..rounds {
        peer.tell(0, Side::add_once_both_have_read, NOTHING);
        own.add_once_both_have_read(NOTHING)?;
        peer.hear(0)?.value()?;
    }
    let ours = counter.total();
    let theirs = peer.ask(0, |own, _| own.counter.total(), NOTHING)?.value()?;
    let wrong = rounds.abs_diff(ours) + rounds.abs_diff(theirs);
    let says = format!("In memory of its own, each process counts its own {} additions", count(rounds));
    stage.fact(says, wrong == 0, format!("{} and {}", count(ours), count(theirs)));
    Ok(wrong)
}

/// Shows how much luck loses: in memory, then in a file; without a yield between read and write, then with one.
pub fn try_luck(stage: &mut Stage, memory: InMemory<'_>, file: InFile<'_>) -> Result<[Luck; 4]> {
    let tries = stage.by_effort(10, 100, 1000);
    let luck = [
        repeat(memory, "read, write", tries, InMemory::GO, || ())?,
        repeat(memory, "read, yield, write", tries, InMemory::GO / 100, thread::yield_now)?,
        repeat(file, "read, write", tries, InFile::GO, || ())?,
        repeat(file, "read, yield, write", tries, InFile::GO, thread::yield_now)?,
    ];
    let values = ["tries", "that lost", "additions", "lost"].map(|name| Column::value(name, ""));
    let labels = [Column::label("shared"), Column::label("steps")];
    let columns = labels.into_iter().chain(values).chain([Column::value("share", "%")]).collect();
    stage.table(Table {
        title: "Two processes, by luck".to_owned(),
        columns,
        rows: luck.iter().map(Luck::row).collect(),
    });
    Ok(luck)
}

/// What luck lost.
pub struct Luck {
    place: &'static str,
    steps: &'static str,
    tries: u64,
    that_lost: u64,
    additions: u64,
    pub lost: u64,
}

/// Tries so many times, and if nothing was lost goes on up to ten times as long.
fn repeat<C: Counter>(counter: C, steps: &'static str, tries: u64, each: u64, meanwhile: fn()) -> Result<Luck> {
    let mut own = (counter, meanwhile);
    let go = |own: &mut (C, fn()), [times, ..]: Arguments| add_so_often(times, || own.0.add_in_two_steps(own.1));
    let mut peer = Crew::of(Kind::Processes, 1, || Ok(own))?;
    let mut luck = Luck { place: C::WHERE, steps, tries: 0, that_lost: 0, additions: 0, lost: 0 };
    while luck.tries < tries || (luck.lost == 0 && luck.tries < 10 * tries) {
        counter.set_to_zero()?;
        peer.tell(0, go, [each, 0, 0]);
        let added = go(&mut own, [each, 0, 0])? + peer.hear(0)?.value()?;
        let lost = added - counter.total()?;
        luck.tries += 1;
        luck.that_lost += u64::from(lost > 0);
        luck.additions += added;
        luck.lost += lost;
    }
    Ok(luck)
}

impl Luck {
    pub fn percent(&self) -> f64 {
        100.0 * self.lost as f64 / self.additions as f64
    }

    fn row(&self) -> Vec<Cell> {
        let counts = [self.tries, self.that_lost, self.additions, self.lost].map(|count| Cell::Number(count as f64));
        let labels = [self.place, self.steps].map(|label| Cell::Text(label.to_owned()));
        labels.into_iter().chain(counts).chain([Cell::Number(self.percent())]).collect()
    }
}

/// How many additions were sent, and how many are in the total.
pub struct Kept {
    pub sent: u64,
    pub total: u64,
}

const PEERS: usize = 3; // With this process four: more than two CPUs hold, so that some are switched out.

pub fn fix<C: Counter>(stage: &mut Stage, counter: C) -> Result<Kept> {
    let each = C::GO * stage.by_effort(1, 10, 100);
    let go = |counter: &mut C, [times, ..]: Arguments| add_so_often(times, || counter.add());
    let mut peers = Crew::of(Kind::Processes, PEERS, || Ok(counter))?;
    counter.set_to_zero()?;
    (0..PEERS).for_each(|peer| peers.tell(peer, go, [each, 0, 0]));
    let mut sent = go(&mut { counter }, [each, 0, 0])?;
    for peer in 0..PEERS {
        sent += peers.hear(peer)?.value()?;
    }
    let total = counter.total()?;
    let (wanted, processes) = (count(sent), PEERS + 1);
    let says = format!("{} on {}: {processes} processes of {} additions make {wanted}", C::FIX, C::WHERE, count(each));
    stage.fact(says, total == sent, count(total));
    Ok(Kept { sent, total })
}
