//! What does a message there and back cost, between threads and between processes?

mod crossbeam;
mod exchange;
mod ipc_channel;
mod message;
mod mpsc;
mod overhead;
mod pipe;
mod socket;
mod tally;
mod ways;

use anyhow::Result;
use shared::Placement::{Free, OtherCpu, SameCpu};
use shared::measure::{Contest, Measured, Timing};
use shared::number::{three_digits, with_unit};
use shared::{Claim, Demo, Extras, Snippet, Stage};
use tally::Tally;

pub const DEMO: Demo = Demo {
    name: "round-trip",
    question: "What does a message there and back cost, between threads and between processes?",
    claims: &[Claim::ProcessesNeedIpc, Claim::IpcAddsOverhead],
    rule: "Processes need these means: refuted if a child's change of an ordinary variable reaches its parent, or if \
           none of the means named does; qualified if a byte also gets across by one that is not named; else it \
           holds. It adds overhead: the pipe between processes is set against the pipe between threads, and the \
           fastest way between processes against the fastest channel between threads, on one CPU and on two; holds \
           if the processes are clearly slower in all of these, qualified if only in some, refuted if in none and \
           clearly faster in one, else undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.say(
        "First: can a process reach another one at all? Each child chooses a byte after the fork and sends it home.",
    );
    let ways = ways::try_all(&format!("/{}", stage.name("byte")), stage.directory())?;
    stage.table(ways::table(&ways));
    let shared = ways::variable_is_shared(&ways);
    let seen = if shared { "the child's byte" } else { "its own value, unchanged" };
    stage.fact("After the child changed an ordinary variable, its parent still sees its own value", !shared, seen);
    let (tried, worked) = ways::named(&ways);
    let says = "Every way that the claim names and this machine allows brought the byte";
    stage.fact(says, worked == tried, format!("{worked} of {tried}"));

    stage.say("Then: 64 bytes go to a peer and come back, different each time, checked by both sides.");
    let tally = Tally::default();
    let measured = stage.compare(contest(&tally))?;
    tally::tell(stage, &tally);
    let pairings = overhead::pairings(&measured);
    for pairing in &pairings {
        stage.trend(&pairing.says, &pairing.ratio);
    }
    let pipes = |placement| measured.figures(pipe::PROCESSES, placement);
    if let Some((apart, together)) = pipes(OtherCpu).zip(pipes(SameCpu)) {
        stage.trend(format!("'{}' on two CPUs against on one", pipe::PROCESSES), &apart.against(together));
    }

    let (verdict, because) = ways::verdict(&ways);
    stage.verdict(Claim::ProcessesNeedIpc, verdict, because)?;
    let (verdict, because) = overhead::verdict(&pairings);
    match measured.ratio(pipe::PROCESSES, pipe::THREADS, SameCpu) {
        Some(pipes) => {
            stage.verdict_by(Claim::IpcAddsOverhead, verdict, because, pipes.ratio, "times a pipe between threads")?
        }
        None => stage.verdict(Claim::IpcAddsOverhead, verdict, because)?,
    }
    match answer(&measured) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused the pipe between processes, beside which all else is set"),
    }
    Ok(())
}

/// Like stands beside like. The rows that fork are prepared first, whatever their place here.
fn contest(tally: &Tally) -> Contest<'_> {
    let title = "64 bytes there and back";
    let mut contest = Contest::new(title, "the way the message goes, and where the two sides run", Timing::Events);
    contest.add(pipe::alone(SameCpu));
    for placement in [SameCpu, OtherCpu] {
        contest.add(mpsc::unbounded(placement, tally));
        contest.add(crossbeam::unbounded(placement, tally));
        contest.add(mpsc::bounded(placement, tally));
        contest.add(crossbeam::bounded(placement, tally));
        contest.add(pipe::between_threads(placement, tally));
        contest.add(pipe::between_processes(placement, tally));
        contest.add(socket::between_processes(placement, tally));
        contest.add(ipc_channel::bytes(placement, tally));
        contest.add(ipc_channel::typed(placement, tally));
    }
    contest.add(pipe::between_threads(Free, tally));
    contest.add(pipe::between_processes(Free, tally));
    contest
}

fn answer(measured: &Measured) -> Option<String> {
    let median = |label: &str, placement| Some(measured.figures(label, placement)?.median().value);
    let time = |label: &str, placement| Some(with_unit("ns", median(label, placement)?));
    let part = |placement| {
        let channel = overhead::fastest(measured, overhead::CHANNELS, placement)?;
        Some(format!(
            "{} {} by a pipe between processes, {} by a pipe between threads, {} by their fastest channel ({})",
            overhead::place(placement),
            time(pipe::PROCESSES, placement)?,
            time(pipe::THREADS, placement)?,
            time(channel, placement)?,
            channel.trim_end_matches(", threads"),
        ))
    };
    let parts: Vec<String> = [SameCpu, OtherCpu].into_iter().filter_map(part).collect();
    let share = three_digits(median(pipe::ALONE, SameCpu)? / median(pipe::PROCESSES, SameCpu)? * 100.0);
    let calls = format!("the four system calls alone make {share} % of what the processes need on one CPU");
    Some(format!("64 bytes there and back take {}; {calls}.", parts.join(", and ")))
}
