//! What does one context switch cost, between threads and between processes?

mod switches;

use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use anyhow::{Result, ensure};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use process_demo::duel::{BYTES, Between, Duel, Duels, Endpoint, Message};
use shared::measure::{Contest, Measured, Pinning, Timing};
use shared::number::with_unit;
use shared::{Demo, Extras, Placement, Snippet, Stage};

use switches::{Switch, label, of_set};

pub const DEMO: Demo = Demo {
    name: "switch",
    question: "What does one context switch cost, between threads and between processes?",
    claims: &[],
    rule: "It answers no claim. A hop is one message through a pipe to a thread or process that sleeps in a read: half \
           of what there and back takes. The baseline makes the same system calls and touches the same memory, but \
           waits for nobody. What a hop takes longer than half of the baseline is one switch: going to sleep, \
           waking the other, and changing from one to the other.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "Two sides send {BYTES} bytes back and forth through two pipes. Whoever has them reads and writes a block of memory \
         of its own: its working set. A process has its own address space besides, so the processor must change page \
         tables, and may forget what it has cached of them. The baseline is one side alone with both pipes and both \
         sets: the same calls, and nobody to wait for.",
    ));
    // SAFETY: the endpoints are pipes, and memory that a fork copies.
    let duels = unsafe { Duels::new() };
    prove_switches(stage, &duels)?;
    let sets =
        stage.by_effort(&[0, 128 << 10][..], &[0, 16 << 10, 256 << 10, 1 << 20], &[0, 16 << 10, 256 << 10, 4 << 20]);
    let measured = compare(stage, sets, &duels)?;
    duels.tell(stage);
    let switches = switches::all(&measured, sets);
    switches::show(stage, &switches);
    let measured = switches.first().map_or([None; 2], Switch::known);
    let cost = |ns: Option<f64>| ns.map_or("an unknown time".to_owned(), |ns| with_unit("ns", ns));
    let [threads, processes] = measured.map(cost);
    stage.headline(match measured.iter().flatten().count() {
        2 => format!("{threads} by thread, {processes} by process"),
        known => format!("{known} of 2 switches could be told"),
    });
    stage.answer(format!(
        "On one CPU a switch takes {threads} between threads and {processes} between processes; {}.",
        switches::in_words(&switches),
    ));
    stage.advise(match switches.iter().any(Switch::is_a_tenth_dearer_between_processes) {
        true => "Ask another process seldom, and for much at once: copy `child`.",
        false => "A switch is no reason to prefer threads: copy `child`.",
    });
    Ok(())
}

/// One end of two pipes, and the working set of whoever has it.
struct Pipes {
    from: PipeReader,
    to: PipeWriter,
    set: Vec<u64>,
}

fn pipes(set_bytes: usize) -> Result<(Pipes, Pipes)> {
    let ((from_peer, to_us), (from_us, to_peer)) = (pipe()?, pipe()?);
    let end = |from, to| Pipes { from, to, set: vec![1; set_bytes / size_of::<u64>()] }; // Every page is written to.
    Ok((end(from_peer, to_peer), end(from_us, to_us)))
}

impl Endpoint for Pipes {
    fn send(&mut self, message: Message) -> Result<()> {
        const WORDS_IN_A_LINE: usize = 64 / size_of::<u64>();
        for word in self.set.iter_mut().step_by(WORDS_IN_A_LINE) {
            *word = word.wrapping_add(1); // So each cache line of the set is read and written.
        }
        black_box(&mut self.set);
        Ok(self.to.write_all(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        self.from.read_exact(&mut bytes)?;
        Ok(Message::from_bytes(bytes))
    }
}

/// On one CPU each round trip must bring a switch on this side, and the baseline must have none: counted.
fn prove_switches(stage: &mut Stage, duels: &Duels) -> Result<()> {
    let times = stage.by_effort(200, 2000, 20_000);
    let Some(pinning) = Pinning::of(Placement::SameCpu) else { return Ok(()) };
    let _pinned = pinning.own.pin()?;
    let switches_of = |between| {
        let mut duel = Duel::start(duels, between, pinning, pipes(0)?)?;
        let before = getrusage(UsageWho::RUSAGE_THREAD)?;
        ensure!(duel.turn(times)? == times, "a message did not come back as it was sent");
        let after = getrusage(UsageWho::RUSAGE_THREAD)?;
        let more = |switches: fn(&Usage) -> i64| (switches(&after) - switches(&before)) as u64;
        let voluntary = more(Usage::voluntary_context_switches);
        anyhow::Ok((voluntary, voluntary + more(Usage::involuntary_context_switches)))
    };
    let (_, processes) = switches_of(Between::Processes)?; // First: a process with a second thread cannot fork.
    let (_, threads) = switches_of(Between::Threads)?;
    let (voluntary, _) = switches_of(Between::Nobody)?;
    stage.fact(
        format!("On one CPU, each of {times} round trips brings a switch, between threads and between processes"),
        processes >= times && threads >= times,
        format!("{threads} and {processes} switches of one side"),
    );
    stage.check(
        "The baseline gives up the CPU by itself in one of a hundred rounds at most",
        voluntary * 100 <= times, // Not zero: the kernel may wait for memory of its own.
        format!("{voluntary} times in {times} rounds"),
    );
    Ok(())
}

fn compare(stage: &mut Stage, sets: &[usize], duels: &Duels) -> Result<Measured> {
    let title = format!("{BYTES} bytes there and back, two hops");
    let mut contest = Contest::new(title, "the working set of each side, and who is on the other one", Timing::Batches);
    for &set_bytes in sets {
        let rival = |between, placement| duels.rival(&of_set(set_bytes), between, placement, move || pipes(set_bytes));
        contest.add(rival(Between::Nobody, Placement::SameCpu));
        for placement in [Placement::SameCpu, Placement::OtherCpu] {
            contest.add(rival(Between::Threads, placement));
            contest.add(rival(Between::Processes, placement));
        }
    }
    let measured = stage.compare(contest)?;
    for &set_bytes in sets {
        let [processes, threads] = [Between::Processes, Between::Threads].map(|between| label(between, set_bytes));
        if let Some(ratio) = measured.ratio(&processes, &threads, Placement::SameCpu) {
            stage.trend(format!("'{processes}' against '{threads}', same CPU"), &ratio);
        }
    }
    Ok(measured)
}
