//! What is the sum over a family whose members share most of their memory: the truth, or a multiple of it?

use std::io;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};
use process_demo::child::Child;
use process_demo::memory_of::{self, Memory};
use process_demo::resident::Resident;
use shared::number::{chosen_with_unit, count, three_digits, with_unit};
use shared::stats::median;
use shared::{Cell, Column, Stage, Table, refused};

use super::crowd::fork_one;
use super::machine::Machine;
use shared::spare_bytes;

const CHILDREN: usize = 4;

/// What was seen at one moment.
#[derive(Clone, Copy)]
struct Sight {
    family: Memory,
    anonymous: u64,
}

/// Before, with the block, with the children.
type Course = [Sight; 3];

const MOMENTS: [&str; 3] = ["before", "filled", "4 children"];

/// Returns how many times the sum of PSS the sum of RSS is.
pub fn show(stage: &mut Stage) -> Result<Option<f64>> {
    const MIB: usize = 1 << 20;
    let wanted = stage.by_effort(32, 256, 512) * MIB;
    let spare = spare_bytes() as usize;
    let Some(bytes) = (0..5).map(|halvings| wanted >> halvings).find(|&bytes| bytes <= spare) else {
        stage.note("There is too little free memory to share some of it among children.");
        return Ok(None);
    };
    let courses: Result<Vec<Course>> = (0..stage.by_effort(3, 7, 15)).map(|_| take_course(bytes)).collect();
    let courses = match courses {
        Ok(courses) => courses,
        Err(error) => {
            let why = refused(&error).ok_or(error)?;
            stage.note(format!("Memory shared by a parent and {CHILDREN} children could not be looked at: {why}."));
            return Ok(None);
        }
    };
    let held = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "Now this process fills {held}, every page of it with something else, and forks {CHILDREN} children, which sleep. \
         A fork copies no page before somebody writes to it."
    ));
    stage.table(table(&courses, &held));
    if courses.iter().flatten().any(|sight| sight.family.swap_bytes > 0) {
        stage.spoiled("some memory was swapped out, so the sums over the family say less than there is");
    } else {
        facts(stage, bytes, &courses);
    }
    let times_too_much = middle(&courses, &|course| {
        let Memory { rss_bytes, pss_bytes, .. } = course[2].family;
        rss_bytes as f64 / pss_bytes as f64
    });
    let grown = |of: &dyn Fn(&Course) -> f64| with_unit("bytes", middle(&courses, of));
    let machine = grown(&|course| gained(course, 2));
    let share = grown(&|course| course[2].family.pss_bytes as f64 - course[0].family.pss_bytes as f64);
    stage.note(format!(
        "The sum of RSS is {} times the sum of PSS. The machine's own count of pages that no file backs, each \
         once (*), grew by {machine}; the sum of PSS by {share}.",
        three_digits(times_too_much)
    ));
    Ok(Some(times_too_much))
}

/// Whatever the rest of the family's memory does, the block is so many pages, and they are shared.
fn facts(stage: &mut Stage, bytes: usize, courses: &[Course]) {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
    let (block, times) = (bytes as u64, CHILDREN as u64 + 1);
    let pages = |bytes: u64| count(bytes / page);
    let all = |holds: &dyn Fn(Memory) -> bool| courses.iter().all(|course| holds(course[2].family));
    let got = |of: fn(&Memory) -> u64| pages(courses.iter().map(|course| of(&course[2].family)).max().unwrap_or(0));
    stage.fact(
        format!("The sum of RSS counts each of {} shared pages once for each of {times} processes", pages(block)),
        all(&|family| family.rss_bytes >= times * block),
        format!("{} pages in all", got(|family| family.rss_bytes)),
    );
    stage.fact(
        "The sum of PSS counts each shared page once",
        // What is not of the block is in the RSS at least once.
        all(&|family| (block..=family.rss_bytes.saturating_sub((times - 1) * block)).contains(&family.pss_bytes)),
        format!("{} pages in all", got(|family| family.pss_bytes)),
    );
    stage.fact(
        "The sum of USS counts no shared page",
        all(&|family| family.uss_bytes < block),
        format!("{} pages in all, fewer than the {} shared", got(|family| family.uss_bytes), pages(block)),
    );
}

fn take_course(bytes: usize) -> Result<Course> {
    let before = look(&[])?;
    let block = Resident::new(NonZeroUsize::new(bytes).context("no memory to hold")?).context("filling memory")?;
    let filled = look(&[])?;
    let (gate, _opener) = io::pipe().context("a pipe")?;
    let children: Result<Vec<Child>> = (0..CHILDREN).map(|_| fork_one(&gate)).collect();
    let shared = look(&children?)?;
    anyhow::ensure!(block.is_intact(), "the memory does not hold what was written");
    Ok([before, filled, shared])
}

fn look(children: &[Child]) -> Result<Sight> {
    let family: Vec<Pid> = [getpid()].into_iter().chain(children.iter().map(Child::pid)).collect();
    Ok(Sight { family: memory_of::of_family(&family)?, anonymous: Machine::look()?.anonymous })
}

fn table(courses: &[Course], held: &str) -> Table {
    let bytes = |name| Column::value(name, "bytes");
    let row = |(index, moment): (usize, &str)| {
        let seen = |of: &dyn Fn(&Course) -> f64| Cell::Number(middle(courses, of));
        vec![
            Cell::Text(moment.to_owned()),
            seen(&|course| course[index].family.rss_bytes as f64),
            seen(&|course| course[index].family.pss_bytes as f64),
            seen(&|course| course[index].family.uss_bytes as f64),
            seen(&|course| gained(course, index)),
        ]
    };
    Table {
        title: format!(
            "{held} of a parent, shared with {CHILDREN} children: sums over the family (median of {})",
            courses.len()
        ),
        columns: vec![Column::label(""), bytes("RSS"), bytes("PSS"), bytes("USS"), bytes("machine gained*")],
        rows: MOMENTS.into_iter().enumerate().map(row).collect(),
    }
}

/// What the whole machine has gained since the first moment.
fn gained(course: &Course, index: usize) -> f64 {
    course[index].anonymous as f64 - course[0].anonymous as f64
}

fn middle(courses: &[Course], of: &dyn Fn(&Course) -> f64) -> f64 {
    median(&courses.iter().map(of).collect::<Vec<_>>()).value
}
