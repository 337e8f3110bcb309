//! What does each mechanism ask you to write, and to mind?

mod burden;
mod programs;
mod system_calls;

use anyhow::{Context, Result};
use nix::sys::signal::SigSet;
use process_demo::crew::Kind;
use shared::{Cell, Claim, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::abilities::{self, Abilities, Seen};
use crate::names::Names;
use burden::{Burden, duties};
use programs::{MESSAGE, PROGRAMS};
use system_calls::{Calls, Counted, name_of, total};

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
    let names = Names::of(stage, "complexity")?;
    let before = SigSet::thread_get_mask()?; // Signals to be waited for are blocked, and stay so until all is counted.
    stage.note(
        "What can each do? Two send at once, one waits for two, a mebibyte goes in one send, one side is killed. That two \
         who write into bare memory choose the same place is made to happen here.",
    );
    let abilities = abilities::observe(&names)?;
    stage.table(abilities::table(&abilities));

    stage.note(
        "What does one write? Each of these programs is run, and its text is counted. A process and its child need no \
         name to meet by; the crash was played as strangers would meet it: by a name, where a mechanism has one.",
    );
    let count = |one| Asked::count(one, &names).with_context(|| format!("counting: {}", one.mechanism.name));
    let mut asked = abilities.iter().map(count).collect::<Result<Vec<_>>>()?;
    before.thread_set_mask()?;
    asked.sort_by_key(|one| (one.arrived.is_err(), one.burden.counts));
    show_counts(stage, &asked);
    stage.note(
        "And what does the kernel have to do? One process plays both sides of 64 bytes and is followed call by call, first \
         with a receiver that is asleep before each message is sent, then with one that finds it there.",
    );
    show_calls(stage, &asked);
    tell_facts(stage, &asked);

    let (processes, threads): (Vec<&Asked>, Vec<&Asked>) = asked.iter().partition(|one| one.is_between_processes());
    let processes: Vec<Burden> = processes.into_iter().map(|one| one.burden.clone()).collect();
    let channel = threads.first().context("no channel to set them beside")?.burden.clone();
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
    burden: Burden,
    /// Whether the program's message arrived as it was sent.
    arrived: Tried<bool>,
    calls: Tried<Counted>,
}

impl<'a> Asked<'a> {
    /// Runs the mechanism's program, and counts what it asks for.
    fn count(abilities: &'a Abilities, names: &Names) -> Result<Asked<'a>> {
        let Abilities { mechanism, two_send, deaths, .. } = abilities;
        let found = PROGRAMS.iter().find(|(name, ..)| *name == mechanism.name);
        let (name, function, program) = found.context("it has no program")?;
        let used = burden::used(PROGRAMS_TEXT, function).context("the program has no text")?;
        let (arrived, calls) = match two_send {
            Ok(_) => {
                (tried(program(names).map(|message| message == MESSAGE))?, tried(system_calls::of(mechanism, names))?)
            }
            Err(why) => (Err(why.clone()), Err(why.clone())), // It might wait for what can never come.
        };
        let [lines, can_fail] = [used.lines, used.can_fail].map(|count| arrived.is_ok().then_some(count));
        let present = calls.as_ref().ok().and_then(|calls| calls.present.as_ref());
        let system_calls = present.map(|calls| (calls.set_up + total(&calls.message)) as usize);
        let duties = deaths.as_ref().ok().map(|deaths| duties(deaths).len());
        let burden = Burden { name, counts: [lines, can_fail, system_calls, duties] };
        Ok(Asked { abilities, burden, arrived, calls })
    }

    fn is_between_processes(&self) -> bool {
        self.abilities.mechanism.between == Kind::Processes
    }
}

/// The four counts that decide, the least first; and which the duties are.
fn show_counts(stage: &mut Stage, asked: &[Asked]) {
    let counts = |one: &Asked| {
        let Burden { name, counts } = &one.burden;
        let name = if one.is_between_processes() { (*name).to_owned() } else { format!("{name}, threads") };
        let [lines, rest @ ..] = counts.map(|count| count.map_or(Cell::Nothing, Cell::from));
        [name.into(), Cell::of(&one.arrived, |_| lines)].into_iter().chain(rest).collect()
    };
    let columns = ["mechanism", "lines", "places to fail", "system calls", "duties after a crash"];
    stage.show(Table::new("The smallest program that sends 64 bytes", columns, asked.iter().map(counts)));
    let which = |one: &Asked| {
        let duties = Cell::of(&one.abilities.deaths, |deaths| match &duties(deaths)[..] {
            [] => "nothing".into(),
            all => all.join(", ").into(),
        });
        vec![one.burden.name.into(), duties]
    };
    stage.table(Table::new("The duties after a crash", ["mechanism", "whoever lives on"], asked.iter().map(which)));
}

fn show_calls(stage: &mut Stage, asked: &[Asked]) {
    // As in '3: read, poll 2'.
    let in_words = |calls: &Calls| {
        let name = |(name, times): (&String, &u64)| match times {
            1 => name_of(name),
            times => format!("{} {times}", name_of(name)),
        };
        let all: Vec<String> = calls.message.iter().map(name).collect();
        if all.is_empty() { "0".into() } else { format!("{}: {}", total(&calls.message), all.join(", ")).into() }
    };
    let row = |one: &Asked| {
        let name = one.burden.name.into();
        let Ok(Counted { present, awaited }) = &one.calls else {
            return vec![name, Cell::of(&one.calls, |_| Cell::Nothing)];
        };
        let set_up = present.as_ref().map_or(Cell::Nothing, |calls| calls.set_up.into());
        let [awaited, present] = [awaited, present].map(|calls| calls.as_ref().map_or("varies".into(), in_words));
        vec![name, set_up, awaited, present]
    };
    let columns = ["mechanism", "set-up", "message slept for", "message there already"];
    stage.table(Table::new("System calls of both sides, together", columns, asked.iter().map(row)));
}

/// No record of 64 bytes is ever split or dropped by it, says its documentation.
fn promises_whole_records(name: &str) -> bool {
    let by_the_kernel = matches!(name, "pipe" | "named FIFO" | "Unix seqpacket" | "Unix datagram" | "POSIX queue");
    by_the_kernel || matches!(name, "ipc-channel" | "std mpsc")
}

fn tell_facts(stage: &mut Stage, asked: &[Asked]) {
    let promised = asked.iter().filter(|one| promises_whole_records(one.burden.name));
    let tried: Vec<&Seen> = promised.flat_map(|one| &one.abilities.two_send).collect();
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
    let same = counted.iter().filter(|calls| calls.awaited.is_some() && calls.present.is_some()).count();
    let says = "Between processes every message needs the same system calls as the one before";
    stage.all(says, same, counted.len()); // Where tracing is forbidden nothing was counted.
}
