//! What does each mechanism ask you to write, and to mind?

mod burden;
mod programs;
mod row;
mod system_calls;
mod text;

use anyhow::{Context, Result};
use shared::{Claim, Demo, Extras, Snippet, Stage};

use crate::abilities::lines::{CROSSBEAM, MPSC};
use crate::abilities::{self, Seen};
use crate::peer_death::ways::Names;
use row::Row;

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

fn run(stage: &mut Stage) -> Result<()> {
    let system = stage.name("complexity");
    stage.note(
        "What can each do? Two send at once, one waits for two, a mebibyte goes in one send, one side is killed.",
    );
    let abilities = abilities::observe(stage.directory(), &system)?;
    stage.table(abilities::table(&abilities));
    stage.note(
        "Of two that write into bare memory at once one is lost when both choose their place before either is done: here \
         that is made to happen.",
    );

    stage.note("What does one write? Each of these programs is run, and its text is counted.");
    let names = Names { directory: stage.directory().to_owned(), system };
    let series = stage.by_effort(1, 5, 20);
    let rows: Vec<Row> = abilities.iter().map(|one| row::count(one, &names, series)).collect::<Result<_>>()?;
    stage.show(row::counts(&rows));
    stage.note(
        "These two are a process and the child that it started, so most of them need no name to meet by. The crash was \
         played as strangers would meet it: by a name, where a mechanism has one.",
    );
    stage.table(row::programs(&rows));
    stage.table(row::snippets());
    stage.note(
        "And what does the kernel have to do? Both sides of 64 bytes are followed call by call, first with a receiver that \
         is asleep before each message is sent, then with one that finds it there.",
    );
    stage.table(row::calls(&rows));
    tell_facts(stage, &rows);

    let processes: Vec<_> = rows.iter().filter(|row| row.is_between_processes()).map(Row::burden).collect();
    let channel = rows.iter().find(|row| row.abilities.name == MPSC).context("no channel to set them beside")?.burden();
    stage.rule(Claim::IpcIsComplex, burden::ruling(&processes, &channel))?;
    let [lines, can_fail, calls, duties] = burden::ranges(&processes);
    let [its_lines, its_can_fail, its_calls, its_duties] = burden::ranges(&[channel]);
    stage.note(format!(
        "Duties after a crash: {duties} between processes; {its_duties} between threads, which end with their process."
    ));
    stage.headline(format!("{lines} lines, where a channel takes {its_lines}"));
    stage.answer(format!(
        "Between processes, 64 bytes take {lines} lines with {can_fail} places to fail and {calls} system calls; between \
         threads {its_lines} lines, {its_can_fail} places and {its_calls} calls."
    ));
    stage.advise("Begin with one stream and whole messages on it: copy `framed`.");
    Ok(())
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

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let promised = rows.iter().filter(|row| WHOLE.contains(&row.abilities.name));
    let tried: Vec<&Seen> = promised.map(|row| &row.abilities.producers).filter(|seen| !seen.is_skipped()).collect();
    let whole = tried.iter().filter(|seen| ***seen == Seen::Yes).count();
    let says = "Small records of two senders at once stay whole wherever the documentation promises it";
    stage.fact(says, whole == tried.len(), format!("{whole} of {}", tried.len()));
    let ran: Vec<bool> = rows.iter().filter_map(|row| row.arrived.as_ref().ok().copied()).collect();
    let arrived = ran.iter().filter(|arrived| **arrived).count();
    let says = "Every smallest program that this machine allows brings its 64 bytes";
    stage.check(says, arrived == ran.len(), format!("{arrived} of {}", ran.len()));
    // How a channel between threads waits, and so what it calls, is its own affair and a matter of moments.
    let processes = rows.iter().filter(|row| row.is_between_processes());
    let repeats: Vec<(&str, bool)> = processes.filter_map(|row| Some((row.abilities.name, row.repeats()?))).collect();
    let other: Vec<&str> = repeats.iter().filter(|(_, repeats)| !repeats).map(|(name, _)| *name).collect();
    let says = "Between processes every message needs the same system calls as the one before";
    let same = format!("{} of {} mechanisms", repeats.len() - other.len(), repeats.len());
    let got = if other.is_empty() { same } else { format!("{same}, but not {}", other.join(", ")) };
    if !repeats.is_empty() {
        stage.fact(says, other.is_empty(), got); // Where tracing is forbidden nothing was counted.
    }
    let (by_kind, in_all) = row::lines_by_kind_and_in_all();
    let says = "Every line of the snippets is counted once: code, test, comment or blank";
    stage.check(says, by_kind == in_all, format!("{by_kind} of {in_all}"));
}
