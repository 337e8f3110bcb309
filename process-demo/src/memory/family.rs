//! What is the sum over a family whose members share most of their memory: the truth, or a multiple of it?

use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};
use process_demo::child::Child;
use process_demo::memory_of::{self, Memory};
use process_demo::resident::Resident;
use shared::number::{chosen_with_unit, count, three_digits, with_unit};
use shared::stats::median;
use shared::{Cell, Column, Stage, Table, spare_bytes, tried};

use super::crowd::fork_one;
use super::machine_bytes;

const CHILDREN: usize = 4;
const MOMENTS: [&str; 3] = ["before", "filled", "4 children"];

/// At each moment, the family's memory, and the machine's own count of pages that no file backs, each once.
type Round = [(Memory, f64); MOMENTS.len()];

/// Returns how many times the sum of PSS the sum of RSS is.
pub fn show(stage: &mut Stage) -> Result<Option<f64>> {
    let wanted = stage.by_effort(32, 256, 512) << 20;
    let spare = spare_bytes() as usize;
    let Some(bytes) = (0..5).map(|halvings| wanted >> halvings).find(|bytes| *bytes <= spare) else {
        stage.note("There is too little free memory to share some of it among children.");
        return Ok(None);
    };
    let rounds: Result<Vec<Round>> = (0..stage.by_effort(3, 7, 15)).map(|_| fill_and_fork(bytes)).collect();
    let rounds = match tried(rounds)? {
        Ok(rounds) => rounds,
        Err(why) => {
            stage.note(format!("Memory shared by a parent and {CHILDREN} children could not be looked at: {why}."));
            return Ok(None);
        }
    };
    let held = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "Now this process fills {held}, every page of it with something else, and forks {CHILDREN} children, which sleep. \
         A fork copies no page before somebody writes to it."
    ));
    let middle = |of: &dyn Fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>()).value;
    let gained = |moment: usize| middle(&|round| round[moment].1 - round[0].1);
    let row = |(moment, name): (usize, &&str)| {
        let sum = |of: fn(&Memory) -> u64| Cell::from(middle(&|round| of(&round[moment].0) as f64));
        let sums = [sum(|family| family.rss_bytes), sum(|family| family.pss_bytes), sum(|family| family.uss_bytes)];
        [vec![Cell::from(*name)], sums.into(), vec![gained(moment).into()]].concat()
    };
    let sums = ["RSS", "PSS", "USS", "machine gained*"].map(|name| Column::value(name, "bytes"));
    let columns = [Column::label("")].into_iter().chain(sums);
    let title = format!("{held} of a parent, shared with {CHILDREN} children: sums over the family (median)");
    stage.table(Table::new(title, columns, MOMENTS.iter().enumerate().map(row)));
    let with_children: Vec<Memory> = rounds.iter().map(|round| round[2].0).collect();
    if with_children.iter().any(|family| family.swap_bytes > 0) {
        stage.spoiled("some memory was swapped out, so the sums over the family say less than there is");
    } else {
        tell_facts(stage, bytes as u64, &with_children);
    }
    let times_too_much = middle(&|[.., (family, _)]| family.rss_bytes as f64 / family.pss_bytes as f64);
    let share = middle(&|[(before, _), _, (family, _)]| family.pss_bytes as f64 - before.pss_bytes as f64);
    let [machine, share] = [gained(2), share].map(|bytes| with_unit("bytes", bytes));
    stage.note(format!(
        "The sum of RSS is {} times the sum of PSS. The machine's own count of pages that no file backs, each once (*), \
         grew by {machine}; the sum of PSS by {share}.",
        three_digits(times_too_much)
    ));
    Ok(Some(times_too_much))
}

fn fill_and_fork(bytes: usize) -> Result<Round> {
    let look = |children: &[Child]| -> Result<_> {
        let family: Vec<Pid> = [getpid()].into_iter().chain(children.iter().map(Child::pid)).collect();
        Ok((memory_of::of_family(&family)?, machine_bytes(&["AnonPages:"])?))
    };
    let before = look(&[])?;
    let block = Resident::new(NonZeroUsize::new(bytes).context("no memory to hold")?).context("filling memory")?;
    let filled = look(&[])?;
    let children = (0..CHILDREN).map(|_| fork_one()).collect::<Result<Vec<Child>>>()?;
    let shared = look(&children)?;
    ensure!(block.is_intact(), "the memory does not hold what was written");
    Ok([before, filled, shared])
}

/// Whatever the rest of the family's memory does, the block is so many pages, and they are shared.
fn tell_facts(stage: &mut Stage, block: u64, families: &[Memory]) {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
    let pages = |bytes: u64| count(bytes / page);
    let most = |of: fn(&Memory) -> u64| format!("{} pages in all", pages(families.iter().map(of).max().unwrap_or(0)));
    let times = CHILDREN as u64 + 1;
    let says =
        format!("The sum of RSS counts each of {} shared pages once for each of {times} processes", pages(block));
    let holds = families.iter().all(|family| family.rss_bytes >= times * block);
    stage.fact(says, holds, most(|family| family.rss_bytes));
    // What is not of the block is in the RSS at least once.
    let once = |family: &Memory| block..=family.rss_bytes.saturating_sub((times - 1) * block);
    let holds = families.iter().all(|family| once(family).contains(&family.pss_bytes));
    stage.fact("The sum of PSS counts each shared page once", holds, most(|family| family.pss_bytes));
    let holds = families.iter().all(|family| family.uss_bytes < block);
    stage.fact("The sum of USS counts no shared page", holds, most(|family| family.uss_bytes));
}
