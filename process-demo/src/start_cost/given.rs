//! What is a new one given besides time, and how much more by a parent that holds more memory?

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Task};
use process_demo::resident::Resident;
use process_demo::system_calls::{self, Calls};
use shared::measure::{Contest, Measured, Ready, Rival, Timing};
use shared::number::with_unit;
use shared::stats::{Median, slope_by_round};
use shared::{Cell, Placement, Stage, Table, spare_bytes, tried};

use super::verdicts::{Given, Growth};
use super::{COMMAND, FORK, MECHANISMS, Mechanism, THREAD, median_ns};
use crate::proc_field::field_bytes;

/// Returns what a thread and a forked child are given; none where it could not be counted.
pub fn count(stage: &mut Stage) -> Result<Option<[Given; 2]>> {
    let (mut rows, mut page_faults) = (Vec::new(), BTreeMap::new());
    for mechanism in &MECHANISMS {
        let faults = tried(page_faults_of(mechanism))?;
        let calls = system_calls_of(mechanism).map_err(|error| format!("{error:#}"));
        rows.push(vec![
            mechanism.label.into(),
            Cell::of(&faults, |&faults| faults.into()),
            Cell::of(&calls, |calls| calls.own.values().sum::<u64>().into()),
            Cell::of(&calls, |calls| calls.created.values().sum::<u64>().into()),
            Cell::of(&calls, |calls| calls.created.get("rt_sigaction").map_or(Cell::Nothing, |&count| count.into())),
        ]);
        page_faults.insert(mechanism.label, faults);
    }
    let columns = ["started by", "page faults", "system calls of the parent", "of the new one", "of them rt_sigaction"];
    stage.table(Table::new("What one start takes besides time", columns, rows));
    stage.note(
        "std's thread makes more of them than a bare pthread: it gives itself a second stack, on which an overflow of the \
         first can be reported. The child of posix_spawn takes back every signal handler, by rt_sigaction.",
    );
    let given = |label, page_tables: Result<u64>| {
        Some(Given { page_faults: *page_faults[label].as_ref().ok()?, page_table_bytes: page_tables.ok()? })
    };
    Ok(given(THREAD, page_tables_of_a_thread()).zip(given(FORK, page_tables_of_a_child())).map(<[Given; 2]>::from))
}

fn page_faults_of(mechanism: &Mechanism) -> Result<f64> {
    const STARTS: u64 = 8; // A few, so that a stray fault does not show.
    let so_far = || -> Result<i64> {
        let (own, children) = (getrusage(UsageWho::RUSAGE_SELF)?, getrusage(UsageWho::RUSAGE_CHILDREN)?);
        Ok(own.minor_page_faults() + children.minor_page_faults())
    };
    let before = so_far()?;
    mechanism.start(STARTS)?;
    Ok((so_far()? - before) as f64 / STARTS as f64)
}

fn system_calls_of(mechanism: &Mechanism) -> Result<Calls> {
    mechanism.start(1)?; // A refusal shows here, with its reason.
    let one = || assert!(mechanism.start(1).is_ok_and(|right| right == 1));
    // SAFETY: the child starts something and waits for it; nothing here is in shared memory.
    unsafe { system_calls::count(one) }.context("a start in a traced child")
}

/// The bytes of the page tables that a process has: the lists that say where each of its pages lies.
fn page_tables_of(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    field_bytes(&status, "VmPTE:").context("/proc does not tell the size of the page tables")
}

/// How many more there are while it is alive.
fn page_tables_of_a_thread() -> Result<u64> {
    let before = page_tables_of(getpid())?;
    let look = || page_tables_of(getpid());
    let with_it = thread::scope(|scope| Builder::new().spawn_scoped(scope, look)?.join().unwrap())?;
    Ok(with_it.saturating_sub(before))
}

/// Those of a process that was forked, and waits.
fn page_tables_of_a_child() -> Result<u64> {
    let child = Crew::of(Kind::Processes, 1, || Ok(()))?;
    page_tables_of(child.tid(0))
}

/// A process that starts others, and holds memory that nobody uses.
struct Parent {
    mib: u64,
    in_huge_pages: bool,
    crew: RefCell<Crew<Option<Resident>>>,
}

/// Returns what each GiB of the parent adds to a fork and to std's Command; none where it could not be measured.
pub fn by_larger_parents(stage: &mut Stage) -> Result<[Option<Growth>; 2]> {
    stage.note(
        "Now the parent is another process, which holds so much memory more, every page of it written to. Many starts in a \
         row are timed as one: what counts is how the time grows.",
    );
    let sizes_mib: &[u64] = stage.by_effort(&[0, 32], &[0, 32, 128, 512], &[0, 64, 256, 1024, 4096]);
    let mut parents = Vec::new();
    let in_huge_pages = sizes_mib.last().map(|&mib| (mib, true));
    for (mib, in_huge_pages) in sizes_mib.iter().map(|&mib| (mib, false)).chain(in_huge_pages) {
        match tried(Crew::of(Kind::Processes, 1, || hold(mib << 20, in_huge_pages)))? {
            Ok(crew) => parents.push(Parent { mib, in_huge_pages, crew: RefCell::new(crew) }),
            Err(why) => stage.note(format!("A parent of {mib} MiB is left out: {why}.")),
        }
    }
    tell_page_tables(stage, &parents)?;
    let title = "Start from a process that holds memory, many in a row";
    let mut contest = Contest::new(title, "the memory that it holds", Timing::Batches);
    parents.iter().for_each(|parent| contest.add(parent.rival(FORK)));
    parents.iter().filter(|parent| !parent.in_huge_pages).for_each(|parent| contest.add(parent.rival(COMMAND)));
    let measured = stage.compare(contest)?;
    parents.retain(|parent| !parent.in_huge_pages);
    Ok([FORK, COMMAND].map(|label| growth(&measured, &parents, label)))
}

fn hold(bytes: u64, in_huge_pages: bool) -> Result<Option<Resident>> {
    if bytes > spare_bytes() {
        return Err(Errno::ENOMEM).context("it would be more than a quarter of the free memory");
    }
    let hold = if in_huge_pages { Resident::in_huge_pages } else { Resident::new };
    Ok(NonZeroUsize::new(bytes as usize).map(hold).transpose()?)
}

impl Parent {
    fn row(&self, label: &str) -> String {
        format!("{label}, {} MiB{}", self.mib, if self.in_huge_pages { ", huge pages" } else { "" })
    }

    fn ask(&self, task: Task<Option<Resident>>, arguments: Arguments) -> Result<u64> {
        self.crew.borrow_mut().ask(0, task, arguments)?.value()
    }

    fn rival(&self, label: &str) -> Rival<'_> {
        let index = MECHANISMS.iter().position(|mechanism| mechanism.label == label).expect("one of the seven") as u64;
        let start =
            move |count| self.ask(|_, [index, count, _]| MECHANISMS[index as usize].start(count), [index, count, 0]);
        let cpu_of_children = |_: &mut Option<Resident>, _: Arguments| {
            let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
            Ok((usage.user_time() + usage.system_time()).num_nanoseconds() as u64)
        };
        Rival::of_processes(self.row(label), Placement::Free, move |_| {
            start(1)?; // A refusal shows here, and becomes the row's reason.
            let cpu_ns = move || self.ask(cpu_of_children, NOTHING).ok();
            Ok(Ready::with_children(start, vec![self.crew.borrow().tid(0)]).and_cpu(cpu_ns))
        })
    }
}

/// The parents are alike but for what they hold: forked from one process, and new.
fn tell_page_tables(stage: &mut Stage, parents: &[Parent]) -> Result<()> {
    let mut ordinary = parents.iter().filter(|parent| !parent.in_huge_pages);
    let (Some(least), Some(most)) = (ordinary.next(), ordinary.next_back()) else { return Ok(()) };
    let of_a_child = |parent: &Parent| parent.ask(|_, _| page_tables_of_a_child(), NOTHING);
    if let (Ok(without), Ok(with)) = (of_a_child(least), of_a_child(most)) {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("a page has a size")? as u64;
        let (mib, more_bytes) = (most.mib - least.mib, with.saturating_sub(without));
        // A table fills a page. The first and the last may be there already, for other memory.
        let all_are_there = more_bytes + 2 * page_bytes >= (mib << 20) / page_bytes * 8;
        let says = "A forked child gets page tables for all that its parent holds: 8 bytes a page";
        let more = with_unit("bytes", more_bytes as f64);
        stage.fact(says, all_are_there, format!("{more} more for {mib} MiB more"));
    }
    Ok(())
}

/// The median of the rounds' slopes: in each round all sizes were measured next to each other.
fn growth(measured: &Measured, parents: &[Parent], label: &str) -> Option<Growth> {
    let by_round = |parent: &Parent| Some(measured.figures(&parent.row(label), Placement::Free)?.by_round());
    let sizes: Vec<Vec<f64>> = parents.iter().map(by_round).collect::<Option<_>>()?;
    let rounds = sizes.iter().map(Vec::len).min().filter(|_| sizes.len() > 1)?;
    let point = |(parent, ns): (&Parent, &Vec<f64>), round: usize| (parent.mib as f64 / 1024.0, ns[round] / 1e6);
    let points = |round| parents.iter().zip(&sizes).map(|size| point(size, round)).collect();
    let Median { value, low, high } = slope_by_round(&(0..rounds).map(points).collect::<Vec<_>>());
    let alone_ms = median_ns(measured, &parents[0].row(label))? / 1e6;
    Some(Growth { ms_per_gib: value, low: low?, high: high?, material_ms: alone_ms / 10.0 })
}
