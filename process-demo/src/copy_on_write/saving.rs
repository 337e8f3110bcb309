//! Can a table be saved while it changes, and what does that cost its owner?

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::getpid;
use process_demo::memory_of;
use process_demo::snapshot;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::stats::median;
use shared::{Cell, Column, Stage, Table, refused};

use super::block::Block;

/// What moves, while half of the table has been written, from the other half to that one.
const AMOUNT: u64 = 1_000_000;

/// What the owner of the table went through in one round.
struct Round {
    stopped_ns: f64,
    copy_ns: f64,
    copy_bytes: f64,
    fork_ns: f64,
    /// While nothing is saved, and while the snapshot is written.
    transfer_ns: [f64; 2],
    /// What was there more while the child had its snapshot and the owner had gone on for so long.
    extra_bytes: f64,
}

/// Returns what that means for the owner, in a sentence; nothing if the table could not be saved.
pub fn show(stage: &mut Stage, bytes: usize) -> Result<String> {
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if most < bytes as u64 {
        stage.note(
            "A table is not saved here: a limit (RLIMIT_FSIZE) forbids files of that size, at the pain of SIGXFSZ.",
        );
        return Ok(String::new());
    }
    let target = stage.directory().join("accounts");
    let saving = try_all(stage, bytes, &target);
    let _ = fs::remove_file(&target); // Where it was not saved, there may be half of it, or none.
    saving.or_else(|error| {
        let why = refused(&error).ok_or(error)?;
        stage.note(format!("A table could not be saved here: {why}."));
        Ok(String::new())
    })
}

fn try_all(stage: &mut Stage, bytes: usize, target: &Path) -> Result<String> {
    let held = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "What that is good for: {held} of accounts, among which money moves all the time, so that their total never \
         changes. They are saved to a file while it moves."
    ));
    let mut accounts = Accounts::new(bytes)?;
    let lacking = write_with_a_transfer(&mut accounts, target)?;
    stage.fact(
        format!("Written out with a transfer of {} in the middle, a file lacks that much", count(AMOUNT)),
        lacking == AMOUNT,
        format!("{} lacking", count(lacking)),
    );
    let clock = stage.clock();
    let (mut rounds, mut exact, mut moved_on) = (Vec::new(), true, true);
    for _ in 0..stage.by_effort(3, 7, 15) {
        let mut round = save_each_way(&mut accounts, target, clock)?;
        let transfers = ((round.fork_ns + round.stopped_ns) / round.transfer_ns[1]) as u64;
        let at_fork = accounts.digest();
        round.extra_bytes = keep_half_written(&mut accounts, target, transfers)?;
        let (in_file, now) = (digest(&fs::read(target)?), accounts.digest());
        exact &= in_file == at_fork;
        moved_on &= now != at_fork && now.total == at_fork.total;
        rounds.push(round);
    }
    stage.fact(
        "A forked child's file holds exactly what was there at the fork, whatever moves after it",
        exact && moved_on,
        format!("{} of {} files are exact", if exact { rounds.len() } else { 0 }, rounds.len()),
    );
    stage.table(table(&rounds, &held));
    stage.note(
        "A snapshot stops its owner for the fork alone. The owner pays later: with time and memory for each page that it \
         is the first to write to, until the child has ended.",
    );
    let [fork, stopped] = [|round: &Round| round.fork_ns, |round: &Round| round.stopped_ns]
        .map(|of| with_unit("ns", middle(&rounds, of)));
    Ok(format!(" So saving {held} by a fork stops its owner for {fork}, writing it out for {stopped}."))
}

/// The owner writes half of the table, moves money from the other half to this one, and writes the rest. What is lacking?
fn write_with_a_transfer(accounts: &mut Accounts, target: &Path) -> Result<u64> {
    let total = accounts.digest().total;
    let mut file = File::create(target).context("a file")?;
    let middle = size_of_val(&accounts.block[..]) / 2;
    file.write_all(&accounts.block.as_bytes()[..middle])?;
    accounts.transfer_across();
    file.write_all(&accounts.block.as_bytes()[middle..])?;
    Ok(total.wrapping_sub(digest(&fs::read(target)?).total))
}

/// Each once, timed.
fn save_each_way(accounts: &mut Accounts, target: &Path, clock: SystemClock) -> Result<Round> {
    const TRANSFERS: u64 = 1000;
    let since = |from_ns| (clock.now_ns() - from_ns) as f64;
    let from_ns = clock.now_ns();
    let mut file = File::create(target).context("a file")?;
    file.write_all(accounts.block.as_bytes())?;
    file.sync_all()?;
    let stopped_ns = since(from_ns);
    drop(file);
    let own = memory_of::of(getpid())?.pss_bytes;
    let mut copy = Block::untouched(size_of_val(&accounts.block[..]))?;
    let from_ns = clock.now_ns();
    copy.copy_from_slice(&accounts.block);
    let copy_ns = since(from_ns);
    let copy_bytes = memory_of::of(getpid())?.pss_bytes as f64 - own as f64;
    drop(copy);
    let from_ns = clock.now_ns();
    accounts.transfer_at_random(10 * TRANSFERS);
    let alone_ns = since(from_ns);
    let (at_fork, block) = (accounts.digest(), &accounts.block);
    let from_ns = clock.now_ns();
    // SAFETY: the child reads the table and writes to its file; nothing here is in shared memory.
    let saving = unsafe { snapshot::begin(target, |file| file.write_all(block.as_bytes())) }?;
    let fork_ns = since(from_ns);
    let (mut batches, from_ns) = (0, clock.now_ns());
    while batches == 0 || !saving.is_done()? {
        accounts.transfer_at_random(TRANSFERS);
        batches += 1;
    }
    let meanwhile_ns = since(from_ns);
    saving.wait().context("saving by a child")?;
    ensure!(digest(&fs::read(target)?) == at_fork, "the snapshot is not what was there at the fork");
    let transfer_ns = [alone_ns / (10 * TRANSFERS) as f64, meanwhile_ns / (batches * TRANSFERS) as f64];
    Ok(Round { stopped_ns, copy_ns, copy_bytes, fork_ns, transfer_ns, extra_bytes: 0.0 })
}

/// The child stops in the middle of its file, until its parent has made the transfer that tears, and so many more. How much
/// more is there then?
fn keep_half_written(accounts: &mut Accounts, target: &Path, transfers: u64) -> Result<f64> {
    let (mut half_written, mut tell) = io::pipe().context("a pipe")?;
    let (mut gate, mut opener) = io::pipe().context("a pipe")?;
    let before = memory_of::of(getpid())?.pss_bytes;
    let block = &accounts.block;
    let write = move |file: &mut File| {
        let (half, rest) = block.as_bytes().split_at(size_of_val(&block[..]) / 2);
        file.write_all(half)?;
        tell.write_all(&[0])?;
        gate.read_exact(&mut [0])?;
        file.write_all(rest)
    };
    // SAFETY: the child reads the table, uses two pipes and its file; nothing here is in shared memory.
    let saving = unsafe { snapshot::begin(target, write) }.context("forking")?;
    half_written.read_exact(&mut [0]).context("the child did not write half of the table")?;
    accounts.transfer_across();
    accounts.transfer_at_random(transfers);
    let family = memory_of::of_family(&[getpid(), saving.pid()])?.pss_bytes;
    opener.write_all(&[0])?;
    saving.wait().context("saving by a child")?;
    Ok(family as f64 - before as f64)
}

fn middle(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(of).collect::<Vec<_>>()).value
}

fn table(rounds: &[Round], held: &str) -> Table {
    let seen = |of| Cell::Number(middle(rounds, of));
    let row = |way: &str, cells: [Cell; 3]| [Cell::Text(way.to_owned())].into_iter().chain(cells).collect();
    Table {
        title: format!("Saving {held} that change meanwhile (median of {})", rounds.len()),
        columns: vec![
            Column::label(""),
            Column::value("its owner stops", "ns"),
            Column::value("extra memory", "bytes"),
            Column::value("a transfer meanwhile", "ns"),
        ],
        rows: vec![
            row("not at all", [Cell::Nothing, Cell::Nothing, seen(|round| round.transfer_ns[0])]),
            row("stop and write", [seen(|round| round.stopped_ns), Cell::Nothing, Cell::Nothing]),
            row("copy, to write later", [seen(|round| round.copy_ns), seen(|round| round.copy_bytes), Cell::Nothing]),
            row(
                "snapshot by a child",
                [seen(|round| round.fork_ns), seen(|round| round.extra_bytes), seen(|round| round.transfer_ns[1])],
            ),
        ],
    }
}

/// Accounts among which money moves, so that their total never changes.
struct Accounts {
    block: Block,
    random: u64,
}

/// A sum over all accounts, and one in which each has a weight of its own: equal only for equal accounts, but by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    total: u64,
    weighted: u64,
}

impl Accounts {
    fn new(bytes: usize) -> Result<Accounts> {
        Ok(Accounts { block: Block::filled(bytes)?, random: 0x9e37_79b9_7f4a_7c15 })
    }

    /// So many transfers of one between accounts all over the table.
    fn transfer_at_random(&mut self, transfers: u64) {
        let accounts = self.block.len();
        for _ in 0..transfers {
            // Marsaglia's xorshift: quick, and no two pages in a row.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let (from, to) = (self.random as usize % accounts, (self.random >> 32) as usize % accounts);
            self.transfer(from, to, 1);
        }
    }

    /// An account may owe: the sums wrap around, and agree all the same.
    fn transfer(&mut self, from: usize, to: usize, amount: u64) {
        self.block[from] = self.block[from].wrapping_sub(amount);
        self.block[to] = self.block[to].wrapping_add(amount);
    }

    fn transfer_across(&mut self) {
        let last = self.block.len() - 1;
        self.transfer(last, 0, AMOUNT);
    }

    fn digest(&self) -> Digest {
        digest(self.block.as_bytes())
    }
}

/// Of accounts, in memory or in a file.
fn digest(bytes: &[u8]) -> Digest {
    let mut sum = Digest { total: 0, weighted: 0 };
    for (weight, account) in (1..).step_by(2).zip(bytes.as_chunks().0) {
        let account = u64::from_ne_bytes(*account);
        sum.total = sum.total.wrapping_add(account);
        sum.weighted = sum.weighted.wrapping_add(account.wrapping_mul(weight));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_keep_the_total_and_show() {
        let mut accounts = Accounts::new(1 << 16).unwrap();
        let before = accounts.digest();
        accounts.transfer_at_random(1000);
        let after = accounts.digest();
        assert_eq!(after.total, before.total);
        assert_ne!(after, before);
    }
}
