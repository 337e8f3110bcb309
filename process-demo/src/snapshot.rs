//! Can a table be saved while it changes, and at what cost?

mod accounts;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_thp_disable;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::getpid;
use process_demo::memory_of;
use process_demo::snapshot;
use shared::measure::SystemClock;
use shared::number::{chosen_with_unit, count, with_unit};
use shared::stats::median;
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, spare_bytes};

use accounts::{Accounts, digest, total};

pub const DEMO: Demo = Demo {
    name: "snapshot",
    question: "Can a table be saved while it changes, and at what cost?",
    claims: &[],
    rule: "It answers no claim. A table of accounts, whose total never changes, is saved while money moves: by writing it \
           out, by copying it first, and by a forked child. A file is exact if it holds, byte by byte, what was there when \
           the saving began.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/snapshot.rs", text: include_str!("../snippets/snapshot.rs") },
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let bytes = (stage.by_effort(2, 32, 128) << 20).min(spare_bytes() as usize / 8).max(64 << 10);
    let (most_bytes, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if most_bytes < bytes as u64 {
        stage.skip("a limit (RLIMIT_FSIZE) forbids files of that size, at the pain of SIGXFSZ");
        return Ok(());
    }
    let _ = set_thp_disable(true); // Pages are copied one by one. A kernel without huge pages does not know the call.
    // Each copy is made in fresh memory: what an earlier one has freed would seem to cost nothing.
    // SAFETY: it only sets from which size on malloc asks the kernel for memory; this is the only thread.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) };
    let held = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "A table of {held} holds accounts, among which money moves all the time, so that their total never changes. It is \
         saved to a file while it moves."
    ));
    let target = stage.directory().join("accounts");
    let saved = save_over_and_over(stage, &mut Accounts::new(bytes), &target);
    let _ = fs::remove_file(&target); // Where it was not saved, there may be half of it, or none.
    tell(stage, &saved?, &held);
    Ok(())
}

/// What the owner of the table went through in one round.
struct Round {
    stopped_ns: f64,
    copy_ns: f64,
    copy_bytes: f64,
    fork_ns: f64,
    /// While nothing is saved, and while the snapshot is written.
    transfer_ns: [f64; 2],
    /// What was there more when the child was about to end.
    extra_bytes: f64,
    /// The file holds what was there at the fork, and no longer what is there now.
    is_exact: bool,
}

fn save_over_and_over(stage: &mut Stage, accounts: &mut Accounts, target: &Path) -> Result<Vec<Round>> {
    let lacking = write_with_a_transfer(accounts, target)?;
    stage.fact(
        format!("Written out with a transfer of {} in the middle, a file lacks that much", count(accounts::AMOUNT)),
        lacking == accounts::AMOUNT,
        format!("{} lacking", count(lacking)),
    );
    let clock = stage.clock();
    let save = |_| save_once_each(accounts, target, clock);
    let rounds = (0..stage.by_effort(3, 7, 15)).map(save).collect::<Result<Vec<Round>>>()?;
    let exact = rounds.iter().filter(|round| round.is_exact).count();
    let says = "A forked child's file holds exactly what was there at the fork, whatever moves after it";
    stage.all(says, exact, rounds.len());
    Ok(rounds)
}

/// The owner writes half of the table, moves money from the other half to this one, and writes the rest. What is lacking?
fn write_with_a_transfer(accounts: &mut Accounts, target: &Path) -> Result<u64> {
    let before = total(accounts.bytes());
    let mut file = File::create(target).context("a file")?;
    let middle = accounts.bytes().len() / 2;
    file.write_all(&accounts.bytes()[..middle])?;
    accounts.transfer_across();
    file.write_all(&accounts.bytes()[middle..])?;
    Ok(before.wrapping_sub(total(&fs::read(target)?)))
}

fn save_once_each(accounts: &mut Accounts, target: &Path, clock: SystemClock) -> Result<Round> {
    const TRANSFERS: u64 = 1000;
    let since = |from_ns| (clock.now_ns() - from_ns) as f64;
    let own_bytes = || Ok::<_, io::Error>(memory_of::of(getpid())?.pss_bytes as f64);

    let from_ns = clock.now_ns();
    let mut file = File::create(target).context("a file")?;
    file.write_all(accounts.bytes())?;
    file.sync_all()?;
    let stopped_ns = since(from_ns);

    let (before, from_ns) = (own_bytes()?, clock.now_ns());
    let copy = accounts.bytes().to_vec();
    let copy_ns = since(from_ns);
    let copy_bytes = own_bytes()? - before;
    drop(copy);

    let from_ns = clock.now_ns();
    accounts.transfer_at_random(10 * TRANSFERS);
    let alone_ns = since(from_ns) / (10 * TRANSFERS) as f64;

    let (mut half_written, mut tell) = io::pipe().context("a pipe")?;
    let (mut gate, mut opener) = io::pipe().context("a pipe")?;
    let (before, at_fork, bytes) = (own_bytes()?, digest(accounts.bytes()), accounts.bytes());
    let write = move |file: &mut File| {
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(half)?;
        tell.write_all(&[0])?;
        gate.read_exact(&mut [0])?;
        file.write_all(rest)
    };
    let from_ns = clock.now_ns();
    // SAFETY: the child reads the table, uses two pipes and its file; nothing here is in shared memory.
    let saving = unsafe { snapshot::begin(target, write) }.context("forking")?;
    let fork_ns = since(from_ns);
    let (mut transfers, from_ns) = (0, clock.now_ns());
    while transfers == 0 || poll(&mut [PollFd::new(half_written.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0 {
        accounts.transfer_at_random(TRANSFERS);
        transfers += TRANSFERS;
    }
    let meanwhile_ns = since(from_ns) / transfers as f64;
    half_written.read_exact(&mut [0]).context("the child did not write half of the table")?;
    accounts.transfer_across(); // It would tear the file, if the child saw it.
    accounts.transfer_at_random(transfers); // As many as while it writes the other half.
    let extra_bytes = memory_of::of_family(&[getpid(), saving.pid()])?.pss_bytes as f64 - before;
    opener.write_all(&[0])?;
    saving.wait().context("saving by a child")?;
    let (saved, now) = (digest(&fs::read(target)?), digest(accounts.bytes()));
    let is_exact = saved == at_fork && saved != now;
    Ok(Round { stopped_ns, copy_ns, copy_bytes, fork_ns, transfer_ns: [alone_ns, meanwhile_ns], extra_bytes, is_exact })
}

fn tell(stage: &mut Stage, rounds: &[Round], held: &str) {
    let middle = |of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>()).value;
    let [stopped_ns, fork_ns] = [middle(|round| round.stopped_ns), middle(|round| round.fork_ns)];
    let [alone_ns, meanwhile_ns] = [middle(|round| round.transfer_ns[0]), middle(|round| round.transfer_ns[1])];
    let [copy_ns, copy_bytes] = [middle(|round| round.copy_ns), middle(|round| round.copy_bytes)];
    let title = format!("Saving {held} that change meanwhile (median of {})", rounds.len());
    let columns = [("", ""), ("its owner stops", "ns"), ("extra memory", "bytes"), ("a transfer meanwhile", "ns")];
    let rows: [Vec<Cell>; 4] = [
        vec!["not at all".into(), Cell::Nothing, Cell::Nothing, alone_ns.into()],
        vec!["stop and write".into(), stopped_ns.into()],
        vec!["copy, to write later".into(), copy_ns.into(), copy_bytes.into()],
        vec![
            "snapshot by a child".into(),
            fork_ns.into(),
            middle(|round| round.extra_bytes).into(),
            meanwhile_ns.into(),
        ],
    ];
    stage.show(Table::new(title, columns, rows));
    stage.note(
        "A snapshot stops its owner for the fork alone. The owner pays later: with time and memory for each page that it \
         is the first to write to, until the child has ended.",
    );
    let [stopped, fork, alone, meanwhile] =
        [stopped_ns, fork_ns, alone_ns, meanwhile_ns].map(|time_ns| with_unit("ns", time_ns));
    stage.headline(format!("{fork} by a fork, {stopped} by writing"));
    stage.answer(format!(
        "Saving {held} by a fork stops its owner for {fork}, writing it out for {stopped}. A transfer meanwhile takes \
         {meanwhile} instead of {alone}."
    ));
    stage.advise(if fork_ns < stopped_ns {
        "Save what changes all the time from a forked child: copy `snapshot`."
    } else {
        "A fork stops the owner no shorter here; to go on, copy `snapshot`."
    });
}
