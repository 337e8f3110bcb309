//! What does one side see when the other is killed in the middle of a message?

mod death;
mod mechanisms;
mod memory;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use shared::number::{counted, with_unit};
use shared::{Cell, Demo, Extras, Snippet, Stage, Table, Tried, tried};

use crate::names::Names;
pub use death::{Dies, play};
use death::{HALF_AS_WHOLE, Sight};
use mechanisms::{CONNECTED, IPC_CHANNEL};
pub use mechanisms::{MECHANISMS, Mechanism};

pub const DEMO: Demo = Demo {
    name: "peer-death",
    question: "What does one side see when the other is killed in the middle of a message?",
    claims: &[],
    rule: "It gives no verdict. A victim is stopped when it has written, or read, one half of a message. The other side \
           is seen asleep in its call; then the victim is killed and reaped, and the table says what the survivor saw. \
           It says 'silence' only of a survivor that was not woken once since: its count of switches has not changed. \
           Lost is what the writer got rid of before it knew, less what its reader took and a newcomer could still fetch.",
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
    let names = Names::of(stage, "peer-death")?;
    let rounds = stage.by_effort(1, 5, 50);
    let mut rows = MECHANISMS.iter().map(|one| kill_each(one, &names, rounds)).collect::<Result<Vec<_>>>()?;
    rows.sort_by_key(|(_, seen)| seen.as_ref().map_or(usize::MAX, |sides| 2 - told(sides)));
    show_what_is_seen(stage, &rows);
    if rows.iter().all(|(_, seen)| seen.is_err()) {
        stage.skip("this machine refused every mechanism: each row says why");
        return Ok(());
    }
    tell_facts(stage, &rows);
    let tried: Vec<&Sides> = rows.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
    let count = |is: fn(&Sides) -> bool| tried.iter().filter(|sides| is(sides)).count();
    let (all, both) = (tried.len(), count(|sides| told(sides) == 2));
    stage.note(format!(
        "When the reader died, {} of {all} mechanisms lost what was sent and not yet read; {} left a name or a port behind.",
        count(|sides| lost(sides) > 0),
        count(|sides| !left(sides).is_empty()),
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

/// A mechanism, and what was seen of it.
type Row = (&'static Mechanism, Tried<Sides>);

/// What the readers saw whose writers died, and the writers whose readers died.
type Sides = [Vec<Sight>; 2];

fn kill_each(mechanism: &'static Mechanism, names: &Names, rounds: usize) -> Result<Row> {
    let kill = |dies| (0..rounds).map(|_| play(mechanism, dies, names)).collect::<Result<Vec<Sight>>>();
    let both = || Ok([kill(Dies::Writer)?, kill(Dies::Reader)?]);
    let seen = tried(both()).with_context(|| format!("killing one side of: {}", mechanism.name))?;
    Ok((mechanism, seen))
}

/// Whether a side learns of every death.
fn is_told(side: &[Sight]) -> bool {
    side.iter().all(|sight| sight.answer.is_ok())
}

/// How many of both sides are.
fn told(sides: &Sides) -> usize {
    sides.iter().filter(|side| is_told(side)).count()
}

/// What was lost with the reader: the most of any round.
fn lost([_, writers]: &Sides) -> u64 {
    writers.iter().map(|sight| sight.lost).max().unwrap_or(0)
}

fn left(sides: &Sides) -> String {
    each_once(sides.iter().flatten().flat_map(|sight| &sight.left).copied(), ", ")
}

fn each_once<'w>(words: impl Iterator<Item = &'w str>, between: &str) -> String {
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(between)
}

fn show_what_is_seen(stage: &mut Stage, rows: &[Row]) {
    let word = |says: String, good| if good { Cell::good(says) } else { Cell::bad(says) };
    let or_nothing = |says: String| if says.is_empty() { Cell::good("nothing") } else { Cell::bad(says) };
    let cells = |(mechanism, seen): &Row| {
        let name = Cell::from(mechanism.name);
        let Ok(sides) = seen else { return vec![name, Cell::of(seen, |_| Cell::Nothing)] };
        let [reader, writer] = sides.each_ref().map(|side| {
            let answers = side.iter().map(|sight| sight.answer.as_deref().unwrap_or_else(|instead| instead));
            word(each_once(answers, " or "), is_told(side))
        });
        let lost_so_much = match (lost(sides), mechanism.unit) {
            (0, _) => String::new(),
            (bytes, "byte") => with_unit("bytes", bytes as f64),
            (count, unit) => counted(count as usize, unit),
        };
        vec![name, reader, writer, or_nothing(lost_so_much), or_nothing(left(sides))]
    };
    let title = "What the survivor sees, what is lost unread, what stays behind";
    let columns = ["mechanism", "reader sees", "writer sees", "lost", "left behind"];
    stage.show(Table::new(title, columns, rows.iter().map(cells)));
}

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let seen: Vec<_> = rows.iter().flat_map(|(one, seen)| seen.iter().map(|sides| (one.name, sides))).collect();
    let of = |name: &str| seen.iter().find(|(one, _)| *one == name).map(|(_, sides)| *sides);
    let sights: Vec<&Sight> = seen.iter().flat_map(|(_, sides)| sides.iter().flatten()).collect();
    let count = |is: fn(&Sight) -> bool| sights.iter().filter(|sight| is(sight)).count();
    let (all, halfway, cleaned) = (sights.len(), count(|sight| sight.in_the_middle), count(|sight| sight.cleaned));
    let says = "Every victim stood stopped in the middle of its message, and SIGKILL ended it";
    stage.check(says, halfway == all, format!("{halfway} of {all}"));
    let fooled = count(|sight| sight.answer == Err(HALF_AS_WHOLE));
    let says = "No reader takes half a message for a whole one";
    stage.fact(says, fooled == 0, format!("{fooled} times in {all} deaths"));
    let says = "What was left with a name is gone once it is removed by hand";
    stage.check(says, cleaned == all, format!("{cleaned} of {all} times nothing was there"));
    let connected: Vec<&str> = CONNECTED.into_iter().filter(|name| of(name).is_some()).collect();
    let both = connected.iter().filter(|name| of(name).is_some_and(|sides| told(sides) == 2)).count();
    let says = "A stream or a connection tells both sides of a death";
    stage.fact(says, both == connected.len(), format!("{both} of {}: {}", connected.len(), connected.join(", ")));
    let (broken, killed) = (count(|sight| sight.by_sigpipe.is_some()), count(|sight| sight.by_sigpipe == Some(true)));
    stage.all("Where a writer gets EPIPE, SIGPIPE would kill it unless ignored", killed, broken);
    for (silent, aware) in [("eventfd", "eventfd + pidfd"), ("memory + futex", "memory + robust")] {
        let Some(sides) = of(silent).zip(of(aware)) else { continue };
        let tells = |sides: &Sides| sides.iter().flatten().filter(|sight| sight.answer.is_ok()).count();
        let (unnoticed, noticed, all) = (tells(sides.0), tells(sides.1), sides.1.iter().flatten().count());
        let says = format!("'{silent}' never tells of a death; '{aware}' always does");
        stage.fact(says, unnoticed == 0 && noticed == all, format!("{unnoticed} of {all} and {noticed} of {all}"));
    }
    let bare = seen.iter().filter(|(_, [readers, _])| readers.iter().all(|sight| !sight.half_was_read));
    let bare = each_once(bare.map(|(name, _)| *name), ", ");
    stage.note(format!("When its writer died, a reader had one half of the message; none of it with: {bare}."));
    let calls = sights.iter().filter_map(|sight| sight.sleeps_in.as_deref());
    stage.note(format!("Who is silent sleeps on in its call, and nothing wakes it: {}.", each_once(calls, ", ")));
    let writer_is_silent = |[_, writers]: &Sides| writers.iter().any(|sight| sight.sleeps_in.is_some());
    if of(IPC_CHANNEL).is_some_and(writer_is_silent) {
        stage.note(
            "ipc-channel's writer slept on: a value larger than the socket's buffer goes by a second channel, and while \
             send() fills it, the sending process itself holds that channel's other end.",
        );
    }
}
