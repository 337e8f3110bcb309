//! Can a table be saved while it changes, and what does that cost its owner?

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::getpid;
use process_demo::memory_of;
use process_demo::snapshot;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::stats::median;
use shared::{Cell, Column, Stage, Table, refused};

use super::accounts::{Accounts, Digest, digest_of_bytes};
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

/// The pauses of the owner, in words.
pub struct Saving {
    pub held: String,
    pub fork: String,
    pub stopped: String,
}

pub fn show(stage: &mut Stage, bytes: usize) -> Result<Option<Saving>> {
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if most < bytes as u64 {
        stage.note(
            "A table is not saved here: a limit (RLIMIT_FSIZE) forbids files of that size, at the pain of SIGXFSZ.",
        );
        return Ok(None);
    }
    let target = stage.directory().join("accounts");
    let saving = try_all(stage, bytes, &target);
    let _ = fs::remove_file(&target); // Where it was not saved, there may be half of it, or none.
    match saving {
        Ok(saving) => Ok(Some(saving)),
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("A table could not be saved here: {why}."));
            Ok(None)
        }
    }
}

fn try_all(stage: &mut Stage, bytes: usize, target: &Path) -> Result<Saving> {
    let held = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "What that is good for: {held} of accounts, among which money moves all the time, so that their total never \
         changes. They are saved to a file while it moves."
    ));
    let mut accounts = Accounts::new(bytes)?;
    let torn = write_out(&mut accounts, target)?;
    stage.fact(
        format!("Written out with a transfer of {} in the middle, a file lacks that much", count(AMOUNT)),
        torn.lacks == AMOUNT,
        format!("{} lacking", count(torn.lacks)),
    );
    let clock = stage.clock();
    let (mut rounds, mut exact, mut moved_on) = (Vec::new(), true, true);
    for _ in 0..stage.by_effort(3, 7, 15) {
        let mut round = take(&mut accounts, target, clock)?;
        let transfers = ((round.fork_ns + round.stopped_ns) / round.transfer_ns[1]) as u64;
        let kept = keep(&mut accounts, target, transfers)?;
        round.extra_bytes = kept.extra_bytes;
        exact &= kept.in_file == kept.at_fork;
        moved_on &= kept.now != kept.at_fork && kept.now.total == kept.at_fork.total;
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
    let in_words = |of: fn(&Round) -> f64| with_unit("ns", middle(&rounds, of));
    Ok(Saving { held, fork: in_words(|round| round.fork_ns), stopped: in_words(|round| round.stopped_ns) })
}

struct Torn {
    lacks: u64,
}

/// The owner writes half of the table, moves money from the other half to this one, and writes the rest.
fn write_out(accounts: &mut Accounts, target: &Path) -> Result<Torn> {
    let total = accounts.digest().total;
    let mut file = File::create(target).context("a file")?;
    let middle = size_of_val(&accounts.block[..]) / 2;
    file.write_all(&accounts.block.as_bytes()[..middle])?;
    move_across(accounts);
    file.write_all(&accounts.block.as_bytes()[middle..])?;
    let in_file = digest_of_bytes(&fs::read(target)?);
    Ok(Torn { lacks: total.wrapping_sub(in_file.total) })
}

fn move_across(accounts: &mut Accounts) {
    let last = accounts.block.len() - 1;
    accounts.transfer(last, 0, AMOUNT);
}

/// Each way once, timed.
fn take(accounts: &mut Accounts, target: &Path, clock: SystemClock) -> Result<Round> {
    const TRANSFERS: u64 = 1000;
    let timed = |work: &mut dyn FnMut() -> Result<()>| {
        let from_ns = clock.now_ns();
        work()?;
        anyhow::Ok((clock.now_ns() - from_ns) as f64)
    };
    let stopped_ns = timed(&mut || save_now(&accounts.block, target))?;
    let own = memory_of::of(getpid())?.pss_bytes;
    let mut copy = Block::untouched(size_of_val(&accounts.block[..]))?;
    let copy_ns = timed(&mut || {
        copy.copy_from_slice(&accounts.block);
        Ok(())
    })?;
    let copy_bytes = memory_of::of(getpid())?.pss_bytes as f64 - own as f64;
    drop(copy);
    let alone_ns = timed(&mut || {
        accounts.transfer_at_random(10 * TRANSFERS);
        Ok(())
    })?;
    let at_fork = accounts.digest();
    let mut saving = None;
    let fork_ns = timed(&mut || {
        let block = &accounts.block;
        // SAFETY: the child reads the table and writes to its file; nothing here is in shared memory.
        saving = Some(unsafe { snapshot::begin(target, |file| file.write_all(block.as_bytes())) }?);
        Ok(())
    })?;
    let saving = saving.context("the snapshot has begun")?;
    let mut batches = 0;
    let meanwhile_ns = timed(&mut || {
        while batches == 0 || !saving.is_done()? {
            accounts.transfer_at_random(TRANSFERS);
            batches += 1;
        }
        Ok(())
    })?;
    saving.wait().context("saving by a child")?;
    anyhow::ensure!(digest_of_bytes(&fs::read(target)?) == at_fork, "the snapshot is not what was there at the fork");
    let transfer_ns = [alone_ns / (10 * TRANSFERS) as f64, meanwhile_ns / (batches * TRANSFERS) as f64];
    Ok(Round { stopped_ns, copy_ns, copy_bytes, fork_ns, transfer_ns, extra_bytes: 0.0 })
}

/// The owner stops and writes.
fn save_now(block: &Block, target: &Path) -> Result<()> {
    let mut file = File::create(target).context("a file")?;
    file.write_all(block.as_bytes())?;
    Ok(file.sync_all()?)
}

struct Kept {
    at_fork: Digest,
    in_file: Digest,
    now: Digest,
    extra_bytes: f64,
}

/// The child stops in the middle of its file, until its parent has made the transfer that tears, and so many more.
fn keep(accounts: &mut Accounts, target: &Path, transfers: u64) -> Result<Kept> {
    let (mut half_written, mut tell) = io::pipe().context("a pipe")?;
    let (mut gate, mut opener) = io::pipe().context("a pipe")?;
    let at_fork = accounts.digest();
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
    move_across(accounts);
    accounts.transfer_at_random(transfers);
    let family = memory_of::of_family(&[getpid(), saving.pid()])?.pss_bytes;
    opener.write_all(&[0])?;
    saving.wait().context("saving by a child")?;
    let in_file = digest_of_bytes(&fs::read(target)?);
    Ok(Kept { at_fork, in_file, now: accounts.digest(), extra_bytes: family as f64 - before as f64 })
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
