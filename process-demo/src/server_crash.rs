//! What does one fault in a web server end?

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use shared::measure::SystemClock;
use shared::number::counted;
use shared::{Cell, Demo, Extras, Mood, Snippet, Stage, refused};

use crate::server::answer::GoOn;
use crate::server::client::{self, Connection, Outcome};
use crate::server::models::Model;
use crate::server::{self, Server, Setup, number, patience_end_ns, table};

pub const DEMO: Demo = Demo {
    name: "server-crash",
    question: "What does one fault in a web server end?",
    claims: &[],
    rule: "It answers no claim. One worker of each server panics, faults or is killed while every worker has a request in \
           flight, idle connections are open, and further ones wait in the listener's queue. Whatever ends without its \
           answer is counted as lost.",
    extras: Extras {
        parameters: &[
            number("workers", "", "threads or processes that have a request in flight", 4.0, 1.0, 64.0),
            server::PRELOAD,
        ],
        ..Extras::NONE
    },
    snippets: &[
        Snippet { path: "process-demo/snippets/prefork.rs", text: include_str!("../snippets/prefork.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Panic,
    Fault,
    Kill,
}

impl Failure {
    const ALL: [Failure; 3] = [Failure::Panic, Failure::Fault, Failure::Kill];

    fn label(self) -> &'static str {
        ["panic", "segv", "kill -9"][self as usize]
    }
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    lost: usize,
    of: usize,
}

/// What one failure of one worker has cost.
struct Losses {
    model: Model,
    failure: Failure,
    /// Requests that a worker had begun.
    in_flight: Lost,
    /// Connections that were open with nothing on their way.
    idle: Lost,
    /// Requests on connections that nobody had accepted.
    queued: Lost,
    /// From the failure until the next answer of whoever replaces the dead one: nobody else was free.
    back_ns: u64,
}

fn run(stage: &mut Stage) -> Result<()> {
    let workers = stage.setting("workers") as usize;
    let setup = Setup::calm(stage, workers);
    server::has_descriptors_for(24 * workers)?;
    let (mut all, mut refusals) = (Vec::new(), Vec::new());
    for (model, failure) in Model::ALL.into_iter().flat_map(|model| Failure::ALL.map(|failure| (model, failure))) {
        match suffer(model, failure, &setup) {
            Ok(losses) => all.push(losses),
            Err(error) => {
                let label = format!("{}, {}", model.label(), failure.label());
                let why = refused(&error).ok_or(error.context(label.clone()))?;
                stage.note(format!("Skipped: {label}: {why}."));
                refusals.push((model, why));
            }
        }
    }
    if all.is_empty() {
        stage.skip(refusals.remove(0).1);
        return Ok(());
    }
    tell(stage, &all, &refusals);
    judge(stage, &all);
    conclude(stage, &all);
    Ok(())
}

fn suffer(model: Model, failure: Failure, setup: &Setup) -> Result<Losses> {
    let server = Server::start(model, setup)?;
    let mut idle = open_idle(&server, setup.workers)?;
    let (mut held, waiting) = server.hold(setup.workers)?;
    ensure!(held.len() == setup.workers, "only {} of {} workers have taken a request", held.len(), setup.workers);
    drop(waiting);
    let queue = queue_up(&server, setup.workers)?;
    let [held_count, idle_count, queue_count] = [held.len(), idle.len(), queue.len()];
    let mut queue = queue.into_iter();

    let from_ns = SystemClock.now_ns();
    let mut victim = held.remove(0);
    match (failure, victim.holder()) {
        (Failure::Kill, Some(holder)) => kill(holder.process, Signal::SIGKILL).context("killing a worker")?,
        (Failure::Fault, _) => victim.go_on(GoOn::Fault),
        _ => victim.go_on(GoOn::Panic),
    }
    let victim_lost = usize::from(!victim.is_answered());
    let queue_lost = wait_for_replacement(&server, &mut queue)?;
    let back_ns = SystemClock.now_ns() - from_ns;

    held.iter_mut().for_each(|connection| connection.go_on(GoOn::Answer));
    idle.iter_mut().for_each(|connection| connection.ask(1));
    let in_flight = Lost { lost: victim_lost + client::lost(held), of: held_count };
    let idle = Lost { lost: client::lost(idle), of: idle_count };
    let queued = Lost { lost: queue_lost + client::lost(queue), of: queue_count };
    Ok(Losses { model, failure, in_flight, idle, queued, back_ns })
}

/// Connections that have had an answer and stay open, where a worker may have another one beside the one whose request is
/// in flight.
fn open_idle(server: &Server, workers: usize) -> Result<Vec<Connection>> {
    const EACH: usize = 3;
    let count = if server.model.keeps() && !server.model.has_workers() { EACH * workers } else { 0 };
    let open = |id| {
        let mut connection = server.connect()?;
        server.ask(&mut connection, id)?;
        Ok(connection)
    };
    (1..=count as u64).map(open).collect()
}

/// Requests on connections that nobody can take, where all workers are held.
fn queue_up(server: &Server, workers: usize) -> Result<Vec<Connection>> {
    // Dealt by hash, the victim's queue stays empty once in nine million times.
    let count = if server.model.has_workers() { 16 * workers } else { 0 };
    let open = |id| {
        let mut connection = server.connect()?;
        connection.ask(id);
        Ok(connection)
    };
    (1..=count as u64).map(open).collect()
}

/// Returns at the first answer: all other workers are held, so it is the replacement's. Counts those in the queue that
/// were lost before it.
fn wait_for_replacement(server: &Server, queue: &mut impl Iterator<Item = Connection>) -> Result<usize> {
    let by_hash = server.model.deals_by_hash();
    if server.model.has_workers() && !by_hash {
        let before = queue.position(|mut first| first.is_answered());
        return before.context("everybody in the queue was lost");
    }
    // What is dealt out to a worker that is held waits there, so another connection tries its luck, ever more patiently.
    for id in 0..5000 {
        // Between two workers nobody may listen at all: then the connection is refused.
        let Ok(mut connection) = server.connect() else { continue };
        connection.ask(id);
        let soon_ns = SystemClock.now_ns() + 1_000_000 * (1 + id / 64);
        let outcome = connection.wait(if by_hash { soon_ns } else { patience_end_ns() });
        if matches!(outcome, Outcome::Answered(_)) {
            return Ok(0);
        }
    }
    bail!("nobody has replaced the dead worker")
}

impl Losses {
    /// Of all connections that a worker had.
    fn open(&self) -> Lost {
        Lost { lost: self.in_flight.lost + self.idle.lost, of: self.in_flight.of + self.idle.of }
    }
}

impl Lost {
    fn in_words(self) -> String {
        format!("{} of {}", self.lost, self.of)
    }

    fn cell(self) -> Cell {
        let mood = if self.lost == 0 { Mood::Good } else { Mood::Bad };
        if self.of == 0 { Cell::Nothing } else { Cell::Word { says: self.in_words(), mood } }
    }
}

fn of(all: &[Losses], model: Model, failure: Failure) -> Option<&Losses> {
    all.iter().find(|it| it.model == model && it.failure == failure)
}

fn tell(stage: &mut Stage, all: &[Losses], refusals: &[(Model, String)]) {
    let time = |it: &Losses| Cell::Number(it.back_ns as f64);
    let detail = |it: &Losses| {
        let label = format!("{}, {}", it.model.label(), it.failure.label());
        vec![Cell::Text(label), it.in_flight.cell(), it.idle.cell(), it.queued.cell(), time(it)]
    };
    let columns = [("in flight", ""), ("idle", ""), ("queued", ""), ("back", "ns")];
    stage.table(table(
        "Connections lost when one worker fails",
        "model and failure",
        &columns,
        all.iter().map(detail).collect(),
    ));
    let row = |model: Model| {
        let open = Failure::ALL.map(|failure| of(all, model, failure).map_or(Cell::Nothing, |it| it.open().cell()));
        let fault = of(all, model, Failure::Fault);
        let why = refusals.iter().find(|(refused, _)| *refused == model).map(|(_, why)| why.clone());
        let skipped = why.map_or(Cell::Nothing, |skipped| Cell::Skipped { skipped });
        let rest = [fault.map_or(Cell::Nothing, |it| it.queued.cell()), fault.map_or(skipped, time)];
        [&[Cell::Text(model.label().to_owned())][..], &open, &rest].concat()
    };
    let title = "Connections that one failure ends, and the time until a worker is back";
    let columns = [("panic", ""), ("segv", ""), ("kill -9", ""), ("queued", ""), ("back", "ns")];
    stage.show(table(title, "model", &columns, Model::ALL.map(row).into()));
    stage.note(
        "Open: in flight or idle. Queued, in the last table by segv: accepted by nobody yet. A thread cannot be killed, so kill -9 takes the process \
         of all threads. Every server has a parent that replaces a process that died. Back: until the replacement \
         had answered a client; nobody else was free to.",
    );
}

fn judge(stage: &mut Stage, all: &[Losses]) {
    let of_all = |models: &[Model], failures: &[Failure]| -> Vec<&Losses> {
        all.iter().filter(|it| models.contains(&it.model) && failures.contains(&it.failure)).collect()
    };
    let threads = [Model::ThreadPerConnection, Model::ThreadPool];
    let children = [Model::ProcessPerConnection, Model::ProcessPerRequest];
    let open = |it: &Losses| format!("{}: {}", it.model.label(), it.open().in_words());
    let open_and_queued = |it: &Losses| format!("{} open, {} queued", it.open().in_words(), it.queued.in_words());
    let by_failure = |it: &Losses| format!("{} by {}", it.queued.in_words(), it.failure.label());
    let mut fact = |says: &str, seen: Vec<&Losses>, holds: fn(&Losses) -> bool, one: &dyn Fn(&Losses) -> String| {
        let mut got: Vec<String> = seen.iter().map(|it| one(it)).collect();
        got.dedup();
        if !seen.is_empty() {
            stage.fact(says, seen.into_iter().all(holds), got.join(", "));
        }
    };
    let panics = of_all(&threads, &[Failure::Panic]);
    let only_one = |it: &Losses| it.open().lost == 1 && it.in_flight.lost == 1;
    fact("A panic in one thread loses its own request, but no other connection", panics, only_one, &open);
    let faults = of_all(&threads, &[Failure::Fault]);
    let every_one = |it: &Losses| it.open().lost == it.open().of;
    fact("A segmentation fault in one thread loses every open connection", faults, every_one, &open);
    let prefork = of_all(&[Model::Prefork], &Failure::ALL);
    let says = "However a prefork worker dies, it loses only its own connection, and none in the shared queue";
    fact(says, prefork, |it| it.open().lost == 1 && it.queued.lost == 0, &open_and_queued);
    let says = "However the process of one connection or request dies, no other one is lost";
    fact(says, of_all(&children, &Failure::ALL), only_one, &open);
    let by_hash = of_all(&[Model::PreforkReusePort], &Failure::ALL);
    // A newer kernel may be told to hand a closed queue over to another listener of the port.
    let path = "/proc/sys/net/ipv4/tcp_migrate_req";
    if fs::read_to_string(path).is_ok_and(|value| value.trim() != "0") {
        stage.note("Here the kernel moves the queue of a dead SO_REUSEPORT worker to another.");
    } else {
        let says = "With SO_REUSEPORT, connections in the queue of a worker that dies are reset";
        fact(says, by_hash, |it| it.queued.lost > 0, &by_failure);
    }
}

fn conclude(stage: &mut Stage, all: &[Losses]) {
    let open = |model, failure| of(all, model, failure).map(Losses::open);
    let of_both = |failure| open(Model::Prefork, failure).zip(open(Model::ThreadPool, failure));
    let Some(((ours, theirs), (our_panic, their_panic))) = of_both(Failure::Fault).zip(of_both(Failure::Panic)) else {
        stage.headline(format!("{} of 18 failures could be tried", all.len()));
        stage.answer("This machine refuses prefork or a thread pool, so they cannot be compared.");
        return stage.advise("Where a request may crash its worker, copy `prefork`.");
    };
    stage.headline(format!("{} lost by prefork, {} by threads", counted(ours.lost, "client"), theirs.lost));
    let (ours_says, theirs_says) = (ours.in_words(), theirs.in_words());
    stage.answer(format!(
        "A segmentation fault ends {ours_says} connections with prefork, {theirs_says} with a thread pool; a panic {} and \
         {}.",
        our_panic.in_words(),
        their_panic.in_words()
    ));
    stage.advise(if ours.lost * theirs.of < theirs.lost * ours.of {
        "Where a request may crash its worker, use processes: copy `prefork`."
    } else {
        "A crash ends no less with processes here; to restart, copy `prefork`."
    });
}
