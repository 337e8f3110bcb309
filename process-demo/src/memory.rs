//! What does one more idle process need, and one more idle thread?

mod crowd;
mod family;

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::getpid;
use process_demo::memory_of;
use shared::number::{count, three_digits, with_unit};
use shared::stats::{Median, slope_by_round};
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, tried};

use crate::proc_field::field_bytes;
use crowd::{Crowd, KINDS};

pub const DEMO: Demo = Demo {
    name: "memory",
    question: "What does one more idle process need, and one more idle thread?",
    claims: &[Claim::ProcessesNeedMemory, Claim::ProcessesAreHeavier],
    rule: "Each process needs its own memory if at least half of what one more forked process and one more program \
           have resident (RSS) is theirs alone (USS); holds in part if at least one has a page of its own, but one \
           shares more than half of its memory; refuted if neither has even a page alone. Processes are heavier if \
           one more forked process and one more program each take more than one more thread, by their share (PSS) \
           and page tables; holds in part if only one of them does; refuted if neither does. Compared are the ends \
           of the intervals: where they overlap, it is undecided.",
    extras: Extras { roles: &[crowd::ROLE], ..Extras::NONE },
    snippets: &[
        Snippet { path: "process-demo/snippets/memory_of.rs", text: include_str!("../snippets/memory_of.rs") },
        Snippet { path: "process-demo/snippets/resident.rs", text: include_str!("../snippets/resident.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let units = measure(stage)?;
    show_units(stage, &units);
    let times_too_much = family::show(stage)?;
    let of = |kind: usize, figure: usize| units[kind].as_ref().ok().map(|slopes| slopes[figure]);
    let own = |kind| Some((of(kind, RSS)?, of(kind, USS)?));
    stage.rule(Claim::ProcessesNeedMemory, needs(own(1), own(2)))?;
    let weights = [0, 1, 2].map(|kind| of(kind, WEIGHT));
    stage.rule(Claim::ProcessesAreHeavier, heavier(weights))?;
    let takes = weights.map(|weight| weight.map(in_words));
    stage.headline(match &takes {
        [Some(thread), Some(fork), _] => format!("{fork} a fork, {thread} a thread"),
        _ => format!("{} of {} kinds could be made", takes.iter().flatten().count(), takes.len()),
    });
    let [thread, fork, program] = takes.map(|bytes| bytes.unwrap_or("an unknown amount".to_owned()));
    let sum = times_too_much.map_or(String::new(), |times| {
        format!(" Where five processes share memory, the sum of RSS says {} times what is there.", three_digits(times))
    });
    stage.answer(format!("One more idle thread takes {thread}, a forked process {fork}, a program {program}.{sum}"));
    stage.advise("Add up PSS, never RSS, over many processes: copy `memory_of`.");
    Ok(())
}

/// What is looked at, in bytes; what is marked * is a counter of the whole machine.
const FIGURES: [&str; 7] = ["RSS", "USS", "PSS", "page tables", "PSS + tables", "kernel stack*", "all kernel*"];
const RSS: usize = 0;
const USS: usize = 1;
const WEIGHT: usize = 4;

/// What one more of a kind takes, of each figure.
type Unit = [Median; FIGURES.len()];

/// What was seen with so many of them.
struct Sight {
    number: usize,
    figures: [f64; FIGURES.len()],
    asleep: (usize, usize),
}

fn measure(stage: &mut Stage) -> Result<[Tried<Unit>; KINDS.len()]> {
    // Not from none: the first ones bring into memory what all later ones share.
    let sizes: &[usize] = stage.by_effort(&[4, 7, 10], &[10, 25, 50, 75, 100], &[10, 50, 100, 150, 200]);
    let rounds = stage.by_effort(6, 11, 21); // Six are the fewest with an interval.
    stage.note(format!(
        "Idle threads, forked processes and programs (this one, started again) sleep. Their number grows from {} to {}, the \
         memory is looked at meanwhile, and the slope is what one more takes: {rounds} rounds.",
        sizes[0],
        sizes[sizes.len() - 1]
    ));
    let mut seen = KINDS.map(|_| Ok(Vec::new()));
    for round in 0..rounds {
        // The kinds in turn, forwards and back: a drift of the machine's counters hits them alike. Their number only
        // grows: on the way down, the C library would keep the stacks of ended threads for later ones.
        let mut kinds: Vec<_> = KINDS.iter().zip(&mut seen).collect();
        if round % 2 == 1 {
            kinds.reverse();
        }
        for ((_, crowd), rounds) in kinds {
            let Ok(earlier) = rounds else { continue };
            match tried(crowd().and_then(|crowd| grow(crowd, sizes, stage)))? {
                Ok(sights) => earlier.push(sights),
                Err(why) => *rounds = Err(why),
            }
        }
    }
    let sights = || seen.iter().flatten().flatten().flatten();
    let (asleep, all) = sights().fold((0, 0), |sum, Sight { asleep, .. }| (sum.0 + asleep.0, sum.1 + asleep.1));
    let says = "Every one of them was asleep while its memory was looked at";
    stage.check(says, asleep == all, format!("{} of {}", count(asleep as u64), count(all as u64)));
    let slope = |rounds: &[Vec<Sight>], figure: usize| {
        let point = |sight: &Sight| (sight.number as f64, sight.figures[figure]);
        let rounds: Vec<Vec<_>> = rounds.iter().map(|sights| sights.iter().map(point).collect()).collect();
        slope_by_round(&rounds)
    };
    Ok(seen.map(|rounds| rounds.map(|rounds| std::array::from_fn(|figure| slope(&rounds, figure)))))
}

/// One round of one kind.
fn grow(mut crowd: Crowd, sizes: &[usize], stage: &Stage) -> Result<Vec<Sight>> {
    let look = |&number: &usize| {
        crowd.grow_to(number, stage.clock())?;
        let kernel_stacks = machine_bytes(&["KernelStack:"])?;
        let kernel = machine_bytes(&["KernelStack:", "PageTables:", "SUnreclaim:"])?;
        let members = memory_of::of_family(&crowd.pids())?;
        // This process has a share too: a fork shares its memory, and it copies what it writes later.
        let pss = members.pss_bytes + memory_of::of(getpid())?.pss_bytes;
        let tables = members.page_table_bytes;
        let exact = [members.rss_bytes, members.uss_bytes, pss, tables, pss + tables].map(|bytes| bytes as f64);
        let [rss, uss, pss, tables, weight] = exact;
        let figures = [rss, uss, pss, tables, weight, kernel_stacks, kernel];
        Ok(Sight { number, figures, asleep: crowd.asleep()? })
    };
    sizes.iter().map(look).collect()
}

/// Counters of the whole machine, which whatever else runs moves too.
fn machine_bytes(fields: &[&str]) -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let bytes = |field: &&str| field_bytes(&text, field).with_context(|| format!("/proc/meminfo has no {field}"));
    Ok(fields.iter().map(bytes).sum::<Result<u64>>()? as f64)
}

fn show_units(stage: &mut Stage, units: &[Tried<Unit>]) {
    let labels = KINDS.map(|(label, _)| label);
    let columns =
        [("", ""), ("resident (RSS)", "bytes"), ("its own (USS)", "bytes"), ("share (PSS) + page tables", "bytes")];
    let row = |(label, unit): (&str, &Tried<Unit>)| {
        let cells = match unit {
            Ok(slopes) => [RSS, USS, WEIGHT].map(|figure| slopes[figure].value.into()).into(),
            Err(why) => vec![Cell::Skipped { skipped: why.clone() }],
        };
        [vec![Cell::from(label)], cells].concat()
    };
    stage.show(Table::new("What one more takes while it idles", columns, labels.into_iter().zip(units).map(row)));
    let kinds = labels.map(|label| Column::value(label, "bytes"));
    let columns = [Column::label("")].into_iter().chain(kinds);
    let cell = |figure: usize, slope: Median| {
        let width = slope.low.zip(slope.high).map_or(0.0, |(low, high)| high - low);
        let is_hidden = FIGURES[figure].ends_with('*') && width > slope.value.abs();
        if is_hidden { Cell::neutral("hidden by others") } else { Cell::from(slope) }
    };
    let row = |(figure, label): (usize, &&str)| {
        let cells = units.iter().map(|unit| unit.as_ref().map_or(Cell::Nothing, |slopes| cell(figure, slopes[figure])));
        [Cell::from(*label)].into_iter().chain(cells).collect()
    };
    let title = "The same in detail: the slope, and its 95 % interval";
    stage.table(Table::new(title, columns, FIGURES.iter().enumerate().map(row)));
    stage.note(
        "RSS counts each page that a process maps and that is in memory, USS only those that no other maps; PSS divides \
         each by the number of those who map it, so only PSS adds up. What is marked * is a counter of the whole machine, \
         which whatever else runs moves too. Free memory is no measure for so little: the kernel keeps a stock of pages \
         for each CPU and counts that as taken. glibc gives each of the first threads, up to eight for each CPU, an arena \
         of its own for what it allocates; the later ones share those and take less.",
    );
}

/// The smallest page that any machine has.
const PAGE_BYTES: f64 = 4096.0;

/// By what is resident of each, and what of that is its own alone.
fn needs(fork: Option<(Median, Median)>, program: Option<(Median, Median)>) -> Ruling {
    let (Some(fork), Some(program)) = (fork, program) else {
        return Ruling::skipped("Processes could not be made");
    };
    let both = [fork, program];
    let has_a_page = |(_, uss): (Median, Median)| low(uss) >= PAGE_BYTES;
    let mostly_own = |(rss, uss): (Median, Median)| has_a_page((rss, uss)) && low(uss) >= high(rss) / 2.0;
    let mostly_shared = |(rss, uss): (Median, Median)| high(uss) < low(rss) / 2.0;
    let [of_fork, of_program] =
        both.map(|(rss, uss)| format!("{} to itself of {} resident", in_words(uss), in_words(rss)));
    let because = format!("A forked process has {of_fork}, a program {of_program}");
    let share = match both.map(mostly_shared) {
        [true, true] => Some("a forked process and a program share most of their memory"),
        [true, false] => Some("a forked process shares most of its memory"),
        [false, true] => Some("a program shares most of its memory"),
        [false, false] => None,
    };
    if both.into_iter().all(mostly_own) {
        return Ruling::holds(because);
    }
    if both.into_iter().all(|(_, uss)| high(uss) < PAGE_BYTES) {
        return Ruling::refuted(because);
    }
    match share {
        Some(share) if both.into_iter().any(has_a_page) => Ruling::in_part(share, because),
        _ => Ruling::undecided(because),
    }
}

/// By share and page tables.
fn heavier(weights: [Option<Median>; 3]) -> Ruling {
    let [Some(thread), Some(fork), Some(program)] = weights else {
        return Ruling::skipped("Threads or processes could not be made");
    };
    let is_heavier = [fork, program].map(|process| low(process) > high(thread));
    let is_not = [fork, program].map(|process| high(process) <= low(thread));
    let [of_thread, of_fork, of_program] = [thread, fork, program].map(in_words);
    let because = format!("An idle thread takes {of_thread}, a forked process {of_fork}, a program {of_program}");
    match (is_heavier, is_not) {
        ([true, true], _) => Ruling::holds(because),
        ([true, _], [_, true]) => Ruling::in_part("true of a forked process, not of a program", because),
        ([_, true], [true, _]) => Ruling::in_part("true of a program, not of a forked process", because),
        (_, [true, true]) => Ruling::refuted(because),
        _ => Ruling::undecided(because),
    }
}

/// Without an interval, anything is possible.
fn low(slope: Median) -> f64 {
    slope.low.unwrap_or(f64::NEG_INFINITY)
}

fn high(slope: Median) -> f64 {
    slope.high.unwrap_or(f64::INFINITY)
}

fn in_words(slope: Median) -> String {
    with_unit("bytes", slope.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::Verdict;

    fn about(value: f64) -> Median {
        Median { value, low: Some(value * 0.9), high: Some(value * 1.1) }
    }

    #[test]
    fn every_verdict_can_come_out() {
        let process = |rss, uss| Some((about(rss), about(uss)));
        let cases = [
            (process(1e6, 8e5), process(1e6, 9e5), Verdict::Holds),
            (process(1e6, 1e5), process(1e6, 9e5), Verdict::Qualified),
            (process(1e6, 1e2), process(1e6, 1e5), Verdict::Qualified),
            (process(1e6, 1e2), process(1e6, 0.0), Verdict::Refuted),
            (process(1e6, 5e5), process(1e6, 9e5), Verdict::Undecided),
            (None, process(1e6, 9e5), Verdict::Skipped),
        ];
        for (fork, program, verdict) in cases {
            assert_eq!(needs(fork, program).verdict, verdict);
        }
        let thread = Some(about(1e4));
        let cases = [(1e5, 1e5, Verdict::Holds), (1e3, 1e5, Verdict::Qualified), (1e3, 1e3, Verdict::Refuted)];
        for (fork, program, verdict) in cases.into_iter().chain([(1e4, 1e5, Verdict::Undecided)]) {
            assert_eq!(heavier([thread, Some(about(fork)), Some(about(program))]).verdict, verdict);
        }
        assert_eq!(heavier([None, thread, thread]).verdict, Verdict::Skipped);
    }
}
