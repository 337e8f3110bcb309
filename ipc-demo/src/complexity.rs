//! What does each mechanism ask you to write, and to mind?

mod burden;
mod programs;
mod system_calls;

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use shared::{Cell, Claim, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::abilities::lines::{Between, CROSSBEAM, MECHANISMS, MPSC};
use crate::abilities::{self, Abilities, Seen};
use crate::names::Names;
use burden::{Burden, Used, duties};
use programs::{MESSAGE, PROGRAMS};
use system_calls::{Counted, PerMessage, name_of};

pub const DEMO: Demo = Demo {
    name: "complexity",
    question: "What does each mechanism ask you to write, and to mind?",
    claims: &[Claim::IpcIsComplex],
    rule: "Each mechanism between processes is set beside the standard library's channel between threads on four counts: \
           lines of the smallest program that sends 64 bytes; places in it where something can fail (an error passed on, \
           asked for or insisted against); system calls, to set up and for one message; duties after a crash (a death \
           that nobody tells of, each name or port that stays). It holds if every mechanism needs more on every count. \
           It is refuted if some mechanism has all four counted and needs more on none. Else it holds in part. What \
           this machine refuses has no say; if nothing is left, it is undecided.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet {
            path: "ipc-demo/snippets/peer_credentials.rs",
            text: include_str!("../snippets/peer_credentials.rs"),
        },
    ],
    run,
};

const PROGRAMS_TEXT: &str = include_str!("complexity/programs.rs");

fn run(stage: &mut Stage) -> Result<()> {
    let names = Names::of(stage, "complexity", &["-POSIX-queue-writer", "-POSIX-queue-reader"])?; // Of the two deaths.
    stage.note(
        "What can each do? Two send at once, one waits for two, a mebibyte goes in one send, one side is killed. Of two \
         that write into bare memory at once one is lost when both choose their place before either is done: here that \
         is made to happen.",
    );
    let abilities = abilities::observe(&names.directory, &names.system)?;
    stage.table(abilities::table(&abilities));

    stage.note(
        "What does one write? Each of these programs is run, and its text is counted. The two are a process and the child \
         that it started, so most of them need no name to meet by. The crash was played as strangers would meet it: by a \
         name, where a mechanism has one.",
    );
    let count = |one| Asked::count(one, &names).transpose();
    let mut asked: Vec<Asked> = abilities.iter().filter_map(count).collect::<Result<_>>()?;
    asked.sort_by_key(|one| (one.arrived.is_err(), one.used.lines, one.used.can_fail));
    show_counts(stage, &asked);
    stage.note(
        "And what does the kernel have to do? Both sides of 64 bytes are followed call by call, first with a receiver that \
         is asleep before each message is sent, then with one that finds it there.",
    );
    show_calls(stage, &asked);
    tell_facts(stage, &abilities, &asked);

    let (processes, threads): (Vec<&Asked>, Vec<&Asked>) = asked.iter().partition(|one| one.is_between_processes());
    let processes: Vec<Burden> = processes.into_iter().map(Asked::burden).collect();
    let channel = threads.first().context("no channel to set them beside")?.burden();
    stage.rule(Claim::IpcIsComplex, burden::ruling(&processes, &channel))?;
    let [lines, can_fail, calls, _] = burden::ranges(&processes);
    let [its_lines, its_can_fail, its_calls, _] = burden::ranges(&[channel]);
    stage.headline(format!("{lines} lines, where a channel takes {its_lines}"));
    stage.answer(format!(
        "Between processes, 64 bytes take {lines} lines with {can_fail} places to fail and {calls} system calls; between \
         threads {its_lines} lines, {its_can_fail} places and {its_calls} calls."
    ));
    stage.advise("Begin with one stream and whole messages on it: copy `framed`.");
    Ok(())
}

/// What one mechanism asked for.
struct Asked<'a> {
    abilities: &'a Abilities,
    used: Used,
    /// Whether the program's message arrived as it was sent.
    arrived: Tried<bool>,
    calls: Tried<Counted>,
}

impl<'a> Asked<'a> {
    /// Runs the mechanism's program, if it has one here, and counts the system calls.
    fn count(abilities: &'a Abilities, names: &Names) -> Result<Option<Asked<'a>>> {
        let name = abilities.name;
        let Some((_, function, program)) = PROGRAMS.iter().find(|program| program.0 == name) else { return Ok(None) };
        let mechanism = MECHANISMS.iter().find(|mechanism| mechanism.name == name).context("an unknown mechanism")?;
        let used = burden::used(PROGRAMS_TEXT, function).context("the program has no text")?;
        if let Seen::Skipped(why) = &abilities.producers {
            return Ok(Some(Asked { abilities, used, arrived: Err(why.clone()), calls: Err(why.clone()) }));
        }
        let before = SigSet::thread_get_mask()?; // One of them blocks a signal.
        let ran = program(names).map(|message| message == MESSAGE);
        before.thread_set_mask()?;
        let arrived = tried(ran).with_context(|| format!("the smallest program: {name}"))?;
        let calls =
            tried(system_calls::of(mechanism, names)).with_context(|| format!("counting system calls: {name}"))?;
        Ok(Some(Asked { abilities, used, arrived, calls }))
    }

    fn is_between_processes(&self) -> bool {
        self.abilities.between == Between::Processes
    }

    fn burden(&self) -> Burden {
        let ran = self.arrived.is_ok();
        Burden {
            name: self.abilities.name,
            lines: ran.then_some(self.used.lines),
            can_fail: ran.then_some(self.used.can_fail),
            system_calls: self.calls.as_ref().ok().map(|calls| (calls.set_up + calls.present.total()) as usize),
            duties: duties(&self.abilities.crash).map(|duties| duties.len()),
        }
    }
}

/// The four counts that decide, the least first; and which the duties are.
fn show_counts(stage: &mut Stage, asked: &[Asked]) {
    let counts = |one: &Asked| {
        let Burden { name, can_fail, system_calls, duties, .. } = one.burden();
        let name = if one.is_between_processes() { name.to_owned() } else { format!("{name}, threads") };
        let lines = Cell::of(&one.arrived, |_| one.used.lines.into());
        let number = |count: Option<usize>| count.map_or(Cell::Nothing, Cell::from);
        [name.into(), lines].into_iter().chain([can_fail, system_calls, duties].map(number)).collect()
    };
    let columns = ["mechanism", "lines", "places to fail", "system calls", "duties after a crash"];
    stage.show(Table::new("The smallest program that sends 64 bytes", columns, asked.iter().map(counts)));
    let which = |one: &Asked| {
        let duties = match duties(&one.abilities.crash) {
            Some(duties) if duties.is_empty() => "nothing".into(),
            Some(duties) => duties.join(", ").into(),
            None => Cell::Nothing,
        };
        vec![one.abilities.name.into(), one.used.unsafe_blocks.into(), duties]
    };
    let columns = ["mechanism", "unsafe blocks", "after a crash"];
    stage.table(Table::new("What else to mind", columns, asked.iter().map(which)));
}

fn show_calls(stage: &mut Stage, asked: &[Asked]) {
    // As in '3: read, poll 2'.
    let names = |message: &PerMessage| {
        let name = |(name, times): (&String, &u64)| match times {
            1 => name_of(name).to_owned(),
            times => format!("{} {times}", name_of(name)),
        };
        let all: Vec<String> = message.calls.iter().map(name).collect();
        let varies = if message.repeats { "" } else { "varies, once " };
        let total = message.total();
        Cell::from(if total == 0 { format!("{varies}0") } else { format!("{varies}{total}: {}", all.join(", ")) })
    };
    let calls = |one: &Asked| {
        let set_up = Cell::of(&one.calls, |calls| calls.set_up.into());
        let messages = one.calls.iter().flat_map(|calls| [names(&calls.awaited), names(&calls.present)]);
        [one.abilities.name.into(), set_up].into_iter().chain(messages).collect()
    };
    let columns = ["mechanism", "set-up", "message slept for", "message there already"];
    stage.table(Table::new("System calls of both sides, together", columns, asked.iter().map(calls)));
}

/// By these no record of 64 bytes is ever split or dropped, says their documentation.
const WHOLE: [&str; 9] = [
    "pipe",
    "named FIFO",
    "Unix seqpacket",
    "Unix datagram",
    "POSIX queue",
    "ipc-channel",
    MPSC,
    "std sync_channel",
    CROSSBEAM,
];

fn tell_facts(stage: &mut Stage, abilities: &[Abilities], asked: &[Asked]) {
    let promised = abilities.iter().filter(|one| WHOLE.contains(&one.name));
    let tried: Vec<&Seen> = promised.map(|one| &one.producers).filter(|seen| !seen.is_skipped()).collect();
    let whole = tried.iter().filter(|seen| ***seen == Seen::Yes).count();
    let says = "Small records of two senders at once stay whole wherever the documentation promises it";
    stage.all(says, whole, tried.len());
    let ran: Vec<bool> = asked.iter().filter_map(|one| one.arrived.as_ref().ok().copied()).collect();
    let arrived = ran.iter().filter(|arrived| **arrived).count();
    let says = "Every smallest program that this machine allows brings its 64 bytes";
    stage.check(says, arrived == ran.len(), format!("{arrived} of {}", ran.len()));
    // How a channel between threads waits, and so what it calls, is its own affair and a matter of moments.
    let processes = asked.iter().filter(|one| one.is_between_processes());
    let counted: Vec<&Counted> = processes.filter_map(|one| one.calls.as_ref().ok()).collect();
    let same = counted.iter().filter(|calls| calls.awaited.repeats && calls.present.repeats).count();
    let says = "Between processes every message needs the same system calls as the one before";
    stage.all(says, same, counted.len()); // Where tracing is forbidden nothing was counted.
}
