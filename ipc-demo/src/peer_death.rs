//! What does one side see when the other is killed in the middle of a message?

mod board;
pub(crate) mod matrix;
pub(crate) mod scene;
mod traces;
pub(crate) mod watch;
pub(crate) mod ways;

use anyhow::Result;
use shared::{Demo, Extras, Snippet, Stage};

use matrix::Row;
use watch::Answer;
use ways::Names;

pub const DEMO: Demo = Demo {
    name: "peer-death",
    question: "What does one side see when the other is killed in the middle of a message?",
    claims: &[],
    rule: "It gives no verdict. Each cell is what was seen: a victim is stopped when it has written, or read, one half \
           of a message; the other side is seen asleep in its call; then the victim is killed and reaped. 'Silence' \
           is said only of a survivor that was not once woken since: its count of switches has not changed. What is \
           lost is what the writer got rid of before its reader died, less what that one took and a newcomer could \
           still fetch.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A message goes in two halves. One side stops after the first, the other waits for it; then the one that \
         stopped is killed by SIGKILL, which nobody can catch.",
    );
    let names = Names { directory: stage.directory().to_owned(), system: stage.name("peer-death") };
    let rows = matrix::observe(&names, stage.by_effort(1, 5, 50))?;
    stage.table(matrix::table(&rows));
    if rows.iter().all(|row| row.seen.is_err()) {
        stage.skip("this machine refused every way: each row says why");
        return Ok(());
    }
    tell_facts(stage, &rows);
    if matrix::is_silent_to_its_writer(&rows, ways::IPC_CHANNEL) {
        stage.note(
            "ipc-channel's writer slept on: a value larger than the socket's buffer goes by a second channel, and while \
             send() fills it, the sending process itself holds that channel's other end.",
        );
    }
    stage.answer(answer(&rows));
    Ok(())
}

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let sights: Vec<_> = rows.iter().flat_map(Row::sights).collect();
    let halfway = sights.iter().filter(|sight| sight.in_the_middle).count();
    let says = "Every victim stood stopped in the middle of its message, and SIGKILL ended it";
    stage.fact(says, halfway == sights.len() && halfway > 0, format!("{halfway} of {}", sights.len()));
    let fooled = sights.iter().filter(|sight| sight.answer == Answer::Whole).count();
    let says = "No reader was given half a message as a whole one";
    stage.fact(says, fooled == 0, format!("{fooled} of {}", sights.len()));
    let cleaned = sights.iter().filter(|sight| sight.cleaned).count();
    let says = "What was left with a name is gone once it was taken away by hand";
    stage.fact(says, cleaned == sights.len(), format!("{cleaned} of {} times nothing was there", sights.len()));
    let is_connected = |row: &&Row| row.seen.is_ok() && ways::CONNECTED.contains(&row.way.name);
    let connected: Vec<&Row> = rows.iter().filter(is_connected).collect();
    let (told, all) = (connected.iter().filter(|row| row.notices()).count(), connected.len());
    let names: Vec<&str> = connected.iter().map(|row| row.way.name).collect();
    let says = format!("Whatever is a stream or a connection told both sides: {}", names.join(", "));
    stage.fact(says, told == all, format!("{told} of {all}"));
    let ways = [("eventfd", "eventfd + pidfd"), ("memory + futex", "memory + robust")];
    for (silent, aware) in ways {
        let of = |name: &str| rows.iter().find(|row| row.way.name == name && row.seen.is_ok());
        let Some((silent, aware)) = of(silent).zip(of(aware)) else { continue };
        let seen = |row: &Row| row.sights().filter(|sight| matrix::notices(&sight.answer)).count();
        let (unnoticed, noticed, all) = (seen(silent), seen(aware), aware.sights().count());
        let says = format!("'{}' never tells of a death; '{}' always does", silent.way.name, aware.way.name);
        stage.fact(says, unnoticed == 0 && noticed == all, format!("{unnoticed} and {noticed} of {all}"));
    }
}

fn answer(rows: &[Row]) -> String {
    let tried: Vec<&Row> = rows.iter().filter(|row| row.seen.is_ok()).collect();
    let silent: Vec<&str> = tried.iter().filter(|row| !row.notices()).map(|row| row.way.name).collect();
    let silent = if silent.is_empty() { "none".to_owned() } else { silent.join(", ") };
    let losing = tried.iter().filter(|row| row.lost() > 0).count();
    let leaving = tried.iter().filter(|row| !row.left().is_empty()).count();
    format!(
        "It depends on the mechanism: {} of {} told both sides of the other's death, by an end or an error; with the \
         rest a side can wait for ever ({silent}). When the reader died, {losing} lost what was sent and not yet read; \
         {leaving} left a name or a port behind.",
        tried.iter().filter(|row| row.notices()).count(),
        tried.len(),
    )
}
