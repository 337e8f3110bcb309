//! Does a message to another process cost more than one to another thread?

mod attempts;
mod overhead;

use anyhow::Result;
use process_demo::duel::Between::{self, Nobody, Processes, Threads};
use process_demo::duel::Duels;
use shared::Placement::{self, OtherCpu, SameCpu};
use shared::measure::{Contest, Measured, Timing, usable_cpus};
use shared::number::{three_digits, with_unit};
use shared::{Cell, Claim, Demo, Extras, RowRole, Snippet, Stage, Table};

use crate::mechanisms::kernel::Names;
use crate::mechanisms::{CHANNELS, FUTEX, MECHANISMS, Mechanism, PIPE, RING, SPIN, UNIX_STREAM, Waits, legend, memory};

pub const DEMO: Demo = Demo {
    name: "round-trip",
    question: "Does a message to another process cost more than one to another thread?",
    claims: &[Claim::ProcessesNeedIpc, Claim::IpcAddsOverhead],
    rule: "Processes need these means: refuted if a child's change of an ordinary variable reaches its parent, or no named \
           mechanism brings its byte; holds except for others if they bring it too; else holds. Overhead: on two CPUs and \
           on one, each mechanism between processes is compared with itself between threads, the ring also with the \
           fastest channel; all comparisons together at 99 %. Holds if processes are clearly slower in all; refuted if \
           in none and one mechanism is clearly faster; undecided if neither. If in some: only if through the kernel (all those \
           are, and most of the kernel's), on one CPU, or beside a channel; else in part.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet { path: "ipc-demo/snippets/queued_signal.rs", text: include_str!("../snippets/queued_signal.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") },
    ],
    run,
};

/// The figures of one placement.
type Placed = (Placement, Measured);

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "First: can a process reach another one at all? Each child chooses a byte after the fork and hands it over to its \
         parent; the ending signal carries one bit of it.",
    );
    let attempts = attempts::try_all(&stage.queue("byte")?, stage.directory())?;
    attempts::tell(stage, &attempts);

    stage.note(
        "Then: 64 bytes go to a peer and come back, different each time, checked by both sides, by each of these:",
    );
    stage.table(legend());
    stage.note(
        "Of park, eventfd, signal, semaphore, futex, yield, spin and ring the bytes lie in memory that both sides see; the \
         mechanism only says when. CPU is what both sides compute for one round trip; all but one in a hundred took no \
         longer than p99; ratio is to the fastest row. What else each mechanism can do, `ipc-demo complexity` tries out.",
    );
    memory::block_signals()?;
    let (directory, queue) = (stage.directory().to_owned(), stage.queue("trip")?);
    let names = Names { directory: &directory, queue: &queue };
    // SAFETY: endpoints own descriptors, of which each process has its own, and share memory of atomics and semaphores that
    // nobody destroys; the roles of a ring are claimed after the fork, by the process that drops them.
    let duels = unsafe { Duels::new() };
    let mut all: Vec<Placed> = Vec::new();
    for placement in placements(usable_cpus().len()) {
        let contest = contest(*placement, &duels, &names);
        let measured = match all.is_empty() {
            true => stage.show_comparison(contest.known_as("round-trip"))?,
            false => stage.compare(contest)?,
        };
        all.push((*placement, measured));
    }
    tell_ratios(stage, &all);
    measure_the_calls_alone(stage, &duels, &names)?;
    duels.tell(stage);

    stage.rule(Claim::ProcessesNeedIpc, attempts::ruling(&attempts))?;
    stage.rule(Claim::IpcAddsOverhead, overhead::ruling(&overhead::cases(&all)))?;
    if answer(stage, &all).is_none() {
        stage.skip("this machine refused the pipe or the ring, of which the answer is made");
    }
    Ok(())
}

/// Those that this machine has, the one with the shortest times first.
fn placements(cpus: usize) -> &'static [Placement] {
    if cpus > 1 { &[OtherCpu, SameCpu] } else { &[SameCpu] }
}

fn place(placement: Placement) -> &'static str {
    if placement == SameCpu { "one CPU" } else { "two CPUs" }
}

/// The rows that a reader sees in short: what is copied most, each between threads and between processes where it can be.
const SHOWN: [&str; 5] = [RING, CHANNELS[3], FUTEX, PIPE, UNIX_STREAM];

/// Every mechanism between threads and between processes.
fn contest<'a>(placement: Placement, duels: &'a Duels, names: &'a Names<'a>) -> Contest<'a> {
    let title = format!("64 B there and back, {}", place(placement));
    let mut contest = Contest::new(title, "the mechanism, and who talks", Timing::Events);
    for mechanism in MECHANISMS {
        for (between, rival) in mechanism.rivals(placement, duels, names).filter(|(between, _)| *between != Nobody) {
            let role = match (mechanism.waits, between) {
                (Waits::Yielding | Waits::Spinning, _) => RowRole::Busy,
                (_, Processes) => RowRole::Processes,
                (_, Threads | Nobody) => RowRole::Threads,
            };
            let rival = rival.known_as(mechanism.name, role);
            contest.add(if SHOWN.contains(&mechanism.name) { rival } else { rival.in_detail() });
        }
    }
    contest
}

/// What it costs that the other side is in another process, mechanism by mechanism; and how the ring compares.
fn tell_ratios(stage: &mut Stage, all: &[Placed]) {
    let cell = |mechanism: &Mechanism, placed: &Placed| match itself(mechanism, placed) {
        None => Cell::Nothing,
        Some(ratio) if ratio.clear => ratio.ratio.into(),
        Some(ratio) => Cell::neutral(format!("~{}", three_digits(ratio.ratio))),
    };
    let both = MECHANISMS.iter().filter(|one| all.iter().any(|placed| itself(one, placed).is_some()));
    let rows = both.map(|one| [one.name.into()].into_iter().chain(all.iter().map(|at| cell(one, at))).collect());
    let columns = ["mechanism"].into_iter().chain(all.iter().map(|(placement, _)| place(*placement)));
    let title = "How many times as long between processes as between threads (~: too close to call)";
    stage.table(Table::new(title, columns, rows));
    let counts = all.iter().map(|placed| {
        let (slower, faster, of) = slower_and_faster(placed);
        format!("on {} {slower} of {of} are clearly slower and {faster} clearly faster", place(placed.0))
    });
    stage.note(format!(
        "Of the mechanisms that serve both, between processes instead of threads, {}. On one CPU each message makes the \
         kernel change to the other address space; on two CPUs each side keeps its own.",
        counts.collect::<Vec<_>>().join("; ")
    ));
    for (placement, measured) in all {
        let ring = Processes.label(RING);
        let channel = overhead::fastest_channel(measured, *placement).map(|name| Threads.label(name));
        for other in channel.into_iter().chain([PIPE, SPIN].map(|name| Processes.label(name))) {
            if let Some(ratio) = measured.ratio(&ring, &other, *placement) {
                stage.trend(format!("'{ring}' against '{other}', on {}", place(*placement)), &ratio);
            }
        }
    }
}

/// Between processes against the same between threads.
fn itself(mechanism: &Mechanism, (placement, measured): &Placed) -> Option<shared::stats::Ratio> {
    measured.ratio(&Processes.label(mechanism.name), &Threads.label(mechanism.name), *placement)
}

/// How many mechanisms are clearly slower between processes, how many clearly faster, of how many.
fn slower_and_faster(placed: &Placed) -> (usize, usize, usize) {
    let ratios: Vec<_> = MECHANISMS.iter().filter_map(|one| itself(one, placed)).collect();
    let slower = ratios.iter().filter(|ratio| ratio.is_slower()).count();
    (slower, ratios.iter().filter(|ratio| ratio.is_faster()).count(), ratios.len())
}

/// The baseline: one side makes all the calls of both, and has nobody to wait for.
fn measure_the_calls_alone(stage: &mut Stage, duels: &Duels, names: &Names<'_>) -> Result<()> {
    let title = "64 B there and back, one CPU, beside the same calls by one side alone";
    let mut contest = Contest::new(title, "the mechanism, and whether there is a peer", Timing::Events);
    for mechanism in MECHANISMS.iter().filter(|one| [PIPE, RING].contains(&one.name)) {
        let rivals = mechanism.rivals(SameCpu, duels, names).filter(|(between, _)| *between != Threads);
        rivals.for_each(|(_, rival)| contest.add(rival));
    }
    let measured = stage.compare(contest)?;
    let share = |name| {
        let time = |between: Between| median_ns(&measured, &between.label(name), SameCpu);
        Some(format!("{} % by {name}", three_digits(time(Nobody)? / time(Processes)? * 100.0)))
    };
    if let Some((pipe, ring)) = share(PIPE).zip(share(RING)) {
        stage.note(format!(
            "The calls alone are {pipe} and {ring} of a round trip; the rest is falling asleep, being woken and switching."
        ));
    }
    Ok(())
}

/// Headline, answer and advice, by the ring and the pipe where the figures are shown in short; none if one was refused.
fn answer(stage: &mut Stage, all: &[Placed]) -> Option<()> {
    let (first, elsewhere) = all.split_first()?;
    let (placement, measured) = first;
    let time = |name, between: Between| Some(with_unit("ns", median_ns(measured, &between.label(name), *placement)?));
    let (ring, pipe) = (time(RING, Processes)?, time(PIPE, Processes)?);
    let (slower, _, of) = slower_and_faster(first);
    let elsewhere = elsewhere.iter().map(|placed| {
        let (slower, _, of) = slower_and_faster(placed);
        format!(", on {} {slower} of {of}", place(placed.0))
    });
    stage.headline(format!("{ring} by ring, {pipe} by pipe"));
    stage.answer(format!(
        "On {} a ring takes {} between threads and {ring} between processes; {slower} of {of} mechanisms {} clearly more{}.",
        place(*placement),
        time(RING, Threads)?,
        if slower == 1 { "costs" } else { "cost" },
        elsewhere.collect::<String>(),
    ));
    stage.advise(match measured.ratio(&Processes.label(PIPE), &Processes.label(RING), *placement)? {
        pipe if pipe.is_slower() => {
            format!("Copy `ring`; `pipe_pair` is simpler, but {} times slower.", three_digits(pipe.ratio))
        }
        _ => "Copy `pipe_pair`: the ring is not clearly faster here.".to_owned(),
    });
    Some(())
}

fn median_ns(measured: &Measured, label: &str, placement: Placement) -> Option<f64> {
    Some(measured.figures(label, placement)?.median().value)
}
