//! What becomes of two processes' additions: in a forced order, by luck, and with the fix?

use std::thread;

use anyhow::Result;
use race_demo::shared_counter::SharedCounter;
use shared::measure::PinTo;
use shared::number::count;
use shared::{Cell, Column, Stage, Table};

use super::counters::{Counter, InFile, InMemory};
use super::peer::{Peer, add_so_often, meet};

/// Both read, then both write, so many times; returns how many rounds lost an addition. Beside it, each in turn.
pub fn force<C: Counter>(stage: &mut Stage, counter: C, rounds: u64) -> Result<u64> {
    let peer = Peer::start(PinTo::Anywhere, |line, _| {
        let mut met = Ok(());
        counter.add_in_two_steps(|| met = meet(line))?;
        met.map(|()| 1)
    })?;
    let alone = Peer::start(PinTo::Anywhere, |_, _| counter.add_in_two_steps(|| ()).map(|()| 1))?;
    let (mut lost, mut lost_in_turn) = (0, 0);
    for _ in 0..rounds {
        counter.set_to_zero()?;
        peer.tell(1)?;
        let mut met = Ok(());
        counter.add_in_two_steps(|| met = peer.meet())?;
        met?;
        peer.answer()?;
        lost += u64::from(counter.total()? == 1);

        counter.set_to_zero()?;
        counter.add_in_two_steps(|| ())?;
        alone.tell(1)?;
        alone.answer()?;
        lost_in_turn += u64::from(counter.total()? != 2);
    }
    let place = C::WHERE;
    let says = format!("both read before either writes, in {place}: all {rounds} totals of 1 + 1 are 1");
    stage.fact(says, lost == rounds, format!("{lost} totals of 1"));
    let says = format!("the same code, one process after the other, in {place}: all {rounds} totals are 2");
    stage.fact(says, lost_in_turn == 0, format!("{} totals of 2", rounds - lost_in_turn));
    Ok(lost)
}

/// The forced order again, on a counter that fork has copied: each process has its own. Returns if neither lost any.
pub fn keep_private(stage: &mut Stage, rounds: u64) -> Result<bool> {
    let counter = SharedCounter::new();
    let peer = Peer::start(PinTo::Anywhere, |line, _| {
        let mut met = Ok(());
        counter.add_in_two_steps(|| met = meet(line));
        met.map(|()| counter.total())
    })?;
    let mut theirs = 0;
    for _ in 0..rounds {
        peer.tell(1)?;
        let mut met = Ok(());
        counter.add_in_two_steps(|| met = peer.meet());
        met?;
        theirs = peer.answer()?;
    }
    let ours = counter.total();
    let says = format!("the same in memory that is not shared: each process counts to its own {rounds}");
    Ok(stage.fact(says, (ours, theirs) == (rounds, rounds), format!("{ours} and {theirs}")))
}

/// Shows how much luck loses; returns how many additions in all.
pub fn try_luck(stage: &mut Stage, memory: InMemory<'_>, file: InFile<'_>) -> Result<u64> {
    let tries = stage.by_effort(10, 100, 1000);
    let rows = [
        repeat(memory, "read, write", tries, InMemory::GO, || ())?,
        repeat(memory, "read, yield, write", tries, InMemory::GO / 100, thread::yield_now)?,
        repeat(file, "read, write", tries, InFile::GO, || ())?,
        repeat(file, "read, yield, write", tries, InFile::GO, thread::yield_now)?,
    ];
    let values = ["tries", "that lost", "additions", "lost"].map(|name| Column::value(name, ""));
    let labels = [Column::label("shared"), Column::label("steps")];
    let columns = labels.into_iter().chain(values).chain([Column::value("share", "%")]).collect();
    let lost = rows.iter().map(|row| row.lost).sum();
    stage.table(Table {
        title: "Two processes, by luck".to_owned(),
        columns,
        rows: rows.into_iter().map(Luck::into_row).collect(),
    });
    Ok(lost)
}

struct Luck {
    place: &'static str,
    steps: &'static str,
    tries: u64,
    that_lost: u64,
    additions: u64,
    lost: u64,
}

/// Tries so many times, and if nothing was lost goes on up to ten times as long.
fn repeat<C: Counter>(counter: C, steps: &'static str, tries: u64, each: u64, meanwhile: fn()) -> Result<Luck> {
    let go = move |times| add_so_often(times, || counter.add_in_two_steps(meanwhile));
    let peer = Peer::start(PinTo::Anywhere, move |_, times| go(times))?;
    let mut luck = Luck { place: C::WHERE, steps, tries: 0, that_lost: 0, additions: 0, lost: 0 };
    while luck.tries < tries || (luck.lost == 0 && luck.tries < 10 * tries) {
        counter.set_to_zero()?;
        peer.tell(each)?;
        let added = go(each)? + peer.answer()?;
        let lost = added - counter.total()?;
        luck.tries += 1;
        luck.that_lost += u64::from(lost > 0);
        luck.additions += added;
        luck.lost += lost;
    }
    Ok(luck)
}

impl Luck {
    fn into_row(self) -> Vec<Cell> {
        let share = 100.0 * self.lost as f64 / self.additions as f64;
        let counts = [self.tries, self.that_lost, self.additions, self.lost].map(|count| Cell::Number(count as f64));
        let labels = [self.place, self.steps].map(|label| Cell::Text(label.to_owned()));
        labels.into_iter().chain(counts).chain([Cell::Number(share)]).collect()
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
    let go = move |times| add_so_often(times, || counter.add());
    let start = |_| Peer::start(PinTo::Anywhere, move |_, times| go(times));
    let peers = (0..PEERS).map(start).collect::<Result<Vec<_>>>()?;
    counter.set_to_zero()?;
    peers.iter().try_for_each(|peer| peer.tell(each))?;
    let mut sent = go(each)?;
    for peer in &peers {
        sent += peer.answer()?;
    }
    let total = counter.total()?;
    let (wanted, processes) = (count(sent), PEERS + 1);
    let says = format!("{}, {}: {processes} processes of {} additions make {wanted}", C::WHERE, C::FIX, count(each));
    stage.fact(says, total == sent, count(total));
    Ok(Kept { sent, total })
}
