//! What does one side see when the other is killed in the middle of a message?

mod board;
pub(crate) mod matrix;
pub(crate) mod scene;
mod traces;
pub(crate) mod watch;
pub(crate) mod ways;

use anyhow::Result;
use nix::sys::signal::Signal;
use shared::{Demo, Extras, Snippet, Stage};

use matrix::Row;
use watch::Answer;
use ways::Names;

pub const DEMO: Demo = Demo {
    name: "peer-death",
    question: "What does one side see when the other is killed in the middle of a message?",
    claims: &[],
    rule: "It gives no verdict. A victim is stopped when it has written, or read, one half of a message. The other side \
           is seen asleep in its call; then the victim is killed and reaped, and the table says what the survivor saw. \
           It says 'silence' only of a survivor that was not woken once since: its count of switches has not changed. \
           Lost is what the writer had sent before its reader died, less what that reader took and a newcomer could \
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
    let mut rows = matrix::observe(&names, stage.by_effort(1, 5, 50))?;
    rows.sort_by_key(Row::untold);
    stage.show(matrix::table(&rows));
    stage.table(matrix::details(&rows));
    if rows.iter().all(|row| row.seen.is_err()) {
        stage.skip("this machine refused every mechanism: each row says why");
        return Ok(());
    }
    tell_facts(stage, &rows);
    if matrix::is_silent_to_its_writer(&rows, ways::IPC_CHANNEL) {
        stage.note(
            "ipc-channel's writer slept on: a value larger than the socket's buffer goes by a second channel, and while \
             send() fills it, the sending process itself holds that channel's other end.",
        );
    }
    let tried: Vec<&Row> = rows.iter().filter(|row| row.seen.is_ok()).collect();
    let count = |is: fn(&Row) -> bool| tried.iter().filter(|row| is(row)).count();
    let (all, both) = (tried.len(), count(Row::notices));
    stage.note(format!(
        "When the reader died, {} of {all} mechanisms lost what was sent and not yet read; {} left a name or a port behind.",
        count(|row| row.lost() > 0),
        count(|row| !row.left().is_empty()),
    ));
    stage.headline(format!("{both} of {all} mechanisms tell both sides"));
    stage.answer(format!(
        "With {both} of {all} mechanisms both sides learn of the death, by an end or an error. With the other {} at least \
         one side never learns of it.",
        all - both,
    ));
    stage.advise("To learn of a peer's death, talk over a stream: copy `framed`.");
    Ok(())
}

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let sights: Vec<_> = rows.iter().flat_map(Row::sights).collect();
    let halfway = sights.iter().filter(|sight| sight.in_the_middle).count();
    let says = "Every victim stood stopped in the middle of its message, and SIGKILL ended it";
    stage.check(says, halfway == sights.len() && halfway > 0, format!("{halfway} of {}", sights.len()));
    let fooled = sights.iter().filter(|sight| sight.answer == Answer::Whole).count();
    let says = "No reader takes half a message for a whole one";
    stage.fact(says, fooled == 0, format!("{fooled} times in {} deaths", sights.len()));
    let cleaned = sights.iter().filter(|sight| sight.cleaned).count();
    let says = "What was left with a name is gone once it is removed by hand";
    stage.check(says, cleaned == sights.len(), format!("{cleaned} of {} times nothing was there", sights.len()));
    let is_connected = |row: &&Row| row.seen.is_ok() && ways::CONNECTED.contains(&row.way.name);
    let connected: Vec<&Row> = rows.iter().filter(is_connected).collect();
    let (told, all) = (connected.iter().filter(|row| row.notices()).count(), connected.len());
    let names: Vec<&str> = connected.iter().map(|row| row.way.name).collect();
    let says = "A stream or a connection tells both sides of a death";
    stage.fact(says, told == all, format!("{told} of {all}: {}", names.join(", ")));
    let broken: Vec<&Answer> = rows.iter().flat_map(Row::by_sigpipe).collect();
    let killed = broken.iter().filter(|answer| **answer == &Answer::Killed(Signal::SIGPIPE)).count();
    let says = "Where a writer gets EPIPE, SIGPIPE would kill it unless ignored";
    stage.fact(says, killed == broken.len(), format!("{killed} of {} died of it", broken.len()));
    let pairs = [("eventfd", "eventfd + pidfd"), ("memory + futex", "memory + robust")];
    for (silent, aware) in pairs {
        let of = |name: &str| rows.iter().find(|row| row.way.name == name && row.seen.is_ok());
        let Some((silent, aware)) = of(silent).zip(of(aware)) else { continue };
        let seen = |row: &Row| row.sights().filter(|sight| matrix::notices(&sight.answer)).count();
        let (unnoticed, noticed, all) = (seen(silent), seen(aware), aware.sights().count());
        let says = format!("'{}' never tells of a death; '{}' always does", silent.way.name, aware.way.name);
        stage.fact(says, unnoticed == 0 && noticed == all, format!("{unnoticed} of {all} and {noticed} of {all}"));
    }
}
