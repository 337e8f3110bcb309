//! What is lost when a worker dies, and how long does it take until another one answers?

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::measure::SystemClock;
use shared::{Cell, Column, Mood, Role, Stage, Table, refused};

use super::client::{Connection, Outcome};
use super::handler::GoOn;
use super::models::{Deals, Model};
use super::server::{Server, Setup};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Panic,
    Fault,
    Kill,
}

impl Failure {
    pub const ALL: [Failure; 3] = [Failure::Panic, Failure::Fault, Failure::Kill];

    fn label(self) -> &'static str {
        match self {
            Failure::Panic => "panic",
            Failure::Fault => "segv",
            Failure::Kill => "kill -9",
        }
    }
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub lost: usize,
    pub of: usize,
}

/// What one failure of one worker has cost.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    pub model: Model,
    pub failure: Failure,
    /// Requests that a worker had begun.
    pub in_flight: Lost,
    /// Connections that were open with nothing on their way.
    pub idle: Lost,
    /// Requests on connections that nobody had accepted.
    pub queued: Lost,
    /// From the failure until the next answer of whoever replaces the dead one: nobody else was free.
    pub back_ns: u64,
}

impl Losses {
    /// Of all connections that a worker had.
    pub fn open(&self) -> Lost {
        Lost { lost: self.in_flight.lost + self.idle.lost, of: self.in_flight.of + self.idle.of }
    }
}

const IDLE_EACH: usize = 3; // Connections of each worker beside the one whose request is in flight.
const PATIENCE_MS: u16 = 20_000; // Only a bound: what is waited for is certain to come, as an answer or as an end.

pub fn show(stage: &mut Stage, setup: &Setup) -> Result<Vec<Losses>> {
    stage.note(
        "Now one worker fails, while each worker holds a request that it cannot finish yet, has idle connections, and \
         further connections wait in the listener's queue. What the failure costs is counted; then the others may go on.",
    );
    let mut all = Vec::new();
    for model in Model::ALL {
        for failure in Failure::ALL {
            match suffer(stage.clock(), model, failure, setup) {
                Ok(losses) => all.push(losses),
                Err(error) => {
                    let label = format!("{}, {}", model.label(), failure.label());
                    let why = refused(&error).ok_or(error.context(label.clone()))?;
                    stage.note(format!("Skipped: {label}: {why}."));
                }
            }
        }
    }
    tell(stage, &all);
    judge(stage, &all);
    Ok(all)
}

fn suffer(clock: SystemClock, model: Model, failure: Failure, setup: &Setup) -> Result<Losses> {
    let mut scene = Scene::set(model, setup)?;
    let from_ns = clock.now_ns();
    match failure {
        Failure::Panic => scene.server.open_gate(0, GoOn::Panic)?,
        Failure::Fault => scene.server.open_gate(0, GoOn::Fault)?,
        Failure::Kill => kill(scene.held[0].1, Signal::SIGKILL).context("killing a worker")?,
    }
    let victim = scene.held[0].0.wait(0, PATIENCE_MS);
    ensure!(victim != Outcome::NotYet, "the failure is not seen by its own client");
    let mut queued = scene.wait_for_replacement()?;
    let back_ns = clock.now_ns() - from_ns;
    for gate in 1..scene.held.len() {
        scene.server.open_gate(gate, GoOn::Answer)?;
    }
    let mut in_flight = Lost { lost: usize::from(!is_answer(victim)), of: scene.held.len() };
    for (gate, (mut connection, _)) in scene.held.drain(..).enumerate().skip(1) {
        in_flight.lost += usize::from(!is_answer(connection.wait(gate as u64, PATIENCE_MS)));
    } // Each closes once it is answered: a worker that serves one at a time can take the next.
    let mut idle = Lost { lost: 0, of: scene.idle.len() };
    for (id, connection) in (1..).zip(&mut scene.idle) {
        idle.lost +=
            usize::from(!(connection.ask(&format!("/task/{id}")) && is_answer(connection.wait(id, PATIENCE_MS))));
    }
    while !scene.queued.is_empty() {
        queued.lost += next_outcomes(&mut scene.queued)?.into_iter().filter(|outcome| !is_answer(*outcome)).count();
    }
    Ok(Losses { model, failure, in_flight, idle, queued, back_ns })
}

fn is_answer(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered(_))
}

/// A server in a known state: every worker has a request in flight.
struct Scene {
    model: Model,
    server: Server,
    /// The connections whose requests are in flight, by gate, each with the process that has it.
    held: Vec<(Connection, Pid)>,
    idle: Vec<Connection>,
    /// Connections that nobody has accepted, each with its request's number.
    queued: Vec<(u64, Connection)>,
}

impl Scene {
    fn set(model: Model, setup: &Setup) -> Result<Scene> {
        let mut server = Server::start(model, setup)?;
        let (busy, idle) = seat(&mut server, model, setup.workers)?;
        let mut held = Vec::new();
        for (gate, mut connection) in busy.into_iter().enumerate() {
            connection.ask(&format!("/hold/{gate}/{gate}"));
            let pid = server.held(gate)?;
            held.push((connection, pid));
        }
        let mut scene = Scene { model, server, held, idle, queued: Vec::new() };
        if scene.workers_are_all_busy() {
            let many = 16 * setup.workers; // By hash, the victim's queue stays empty once in nine million times.
            for id in 1..=many as u64 {
                let connection = scene.connect_and_ask(id)?;
                scene.queued.push((id, connection));
            }
        }
        Ok(scene)
    }

    /// Whether a further connection has to wait in the queue.
    fn workers_are_all_busy(&self) -> bool {
        !matches!(self.model.deals(), Deals::ANewOne | Deals::ANewOneForEachRequest)
    }

    fn connect_and_ask(&self, id: u64) -> Result<Connection> {
        let mut connection = Connection::open(self.server.address).context("connecting to the server")?;
        connection.ask(&format!("/task/{id}"));
        Ok(connection)
    }

    /// Returns at the first answer: all other workers are held, so it is the replacement's. Counts what was queued and
    /// has had its answer or its end by then.
    fn wait_for_replacement(&mut self) -> Result<Lost> {
        let queued = Lost { lost: 0, of: self.queued.len() };
        if self.model.deals() != Deals::ByHash && !self.queued.is_empty() {
            return self.wait_for_the_queue(queued);
        }
        // What is dealt out to a worker that is held waits there, so another connection tries its luck.
        let patience_ms = if self.model.deals() == Deals::ByHash { 1 } else { PATIENCE_MS };
        const MOST: u64 = 20_000;
        let mut tries = Vec::new();
        for id in 0..MOST {
            // Between two workers nobody may listen at all: then the connection is refused.
            let Ok(mut connection) = self.connect_and_ask(id) else { continue };
            if is_answer(connection.wait(id, patience_ms)) {
                return Ok(queued);
            }
            tries.push(connection);
        }
        bail!("nobody has replaced the dead worker")
    }

    fn wait_for_the_queue(&mut self, mut queued: Lost) -> Result<Lost> {
        while !self.queued.is_empty() {
            let outcomes = next_outcomes(&mut self.queued)?;
            queued.lost += outcomes.iter().filter(|outcome| !is_answer(**outcome)).count();
            if outcomes.into_iter().any(is_answer) {
                return Ok(queued);
            }
        }
        bail!("everybody in the queue was lost")
    }
}

/// Waits for the next requests that have an answer or an end, and takes their connections out: whoever serves one at a
/// time then takes the next.
fn next_outcomes(queued: &mut Vec<(u64, Connection)>) -> Result<Vec<Outcome>> {
    let mut watched: Vec<PollFd<'_>> =
        queued.iter().map(|(_, connection)| PollFd::new(connection.as_fd(), PollFlags::POLLIN)).collect();
    ensure!(
        poll(&mut watched, PollTimeout::from(PATIENCE_MS))? > 0,
        "a queued request has neither an answer nor an end"
    );
    let mut outcomes = Vec::new();
    queued.retain_mut(|(id, connection)| {
        let outcome = connection.outcome(*id);
        outcomes.extend((outcome != Outcome::NotYet).then_some(outcome));
        outcome == Outcome::NotYet
    });
    Ok(outcomes)
}

/// Opens connections until each worker has one for a request and its idle ones; each has had an answer, so that it is
/// known whose it is.
fn seat(server: &mut Server, model: Model, workers: usize) -> Result<(Vec<Connection>, Vec<Connection>)> {
    let address = server.address;
    let fresh = || Connection::open(address).context("connecting to the server");
    match model.deals() {
        Deals::ANewOneForEachRequest => Ok(((0..workers).map(|_| fresh()).collect::<Result<_>>()?, Vec::new())),
        Deals::ANewOne | Deals::OneToEach => {
            let idle_each = if model.deals() == Deals::ANewOne { IDLE_EACH } else { 0 };
            let open = |_| {
                let mut connection = fresh()?;
                ask_whose(server, &mut connection)?;
                Ok(connection)
            };
            let mut all = (0..workers * (1 + idle_each)).map(open).collect::<Result<Vec<_>>>()?;
            let idle = all.split_off(workers);
            Ok((all, idle))
        }
        Deals::WhoeverIsFree | Deals::ByHash => seat_evenly(server, model, workers),
    }
}

fn seat_evenly(server: &mut Server, model: Model, workers: usize) -> Result<(Vec<Connection>, Vec<Connection>)> {
    const MOST: usize = 100_000;
    let each = 1 + IDLE_EACH;
    let mut by_worker: BTreeMap<u32, Vec<Connection>> = BTreeMap::new();
    let mut full = Vec::new();
    for _ in 0..MOST {
        let mut connection = Connection::open(server.address).context("connecting to the server")?;
        let worker = ask_whose(server, &mut connection)?;
        let its = by_worker.entry(worker).or_default();
        if its.len() < each {
            its.push(connection);
            if its.len() == each {
                full.push(worker);
            }
        }
        if full.len() == workers {
            break;
        }
        // Whoever has enough holds a request, and takes no further connection, which go to the others then.
        let holds = model.deals() == Deals::WhoeverIsFree && full.last() == Some(&worker);
        if holds && let Some(connection) = by_worker.get_mut(&worker).and_then(|its| its.last_mut()) {
            let gate = full.len() - 1;
            connection.ask(&format!("/hold/{gate}/{gate}"));
            server.held(gate)?;
        }
    }
    ensure!(full.len() == workers, "only {} of {workers} workers have taken connections", full.len());
    if model.deals() == Deals::WhoeverIsFree {
        for (gate, worker) in full.iter().enumerate().take(workers - 1) {
            server.open_gate(gate, GoOn::Answer)?;
            let its = by_worker.get_mut(worker).and_then(|its| its.last_mut());
            ensure!(its.is_some_and(|its| is_answer(its.wait(gate as u64, PATIENCE_MS))), "a held request was lost");
        }
    }
    let busy = by_worker.values_mut().filter_map(Vec::pop).collect();
    Ok((busy, by_worker.into_values().flatten().collect()))
}

/// The number of the worker that has the connection.
fn ask_whose(server: &mut Server, connection: &mut Connection) -> Result<u32> {
    connection.ask("/task/0");
    for _ in 0..PATIENCE_MS / 100 {
        match connection.wait(0, 100) {
            Outcome::Answered(reply) => return Ok(reply.worker),
            Outcome::NotYet => server.is_well()?,
            outcome => {
                server.is_well()?;
                bail!("a request before any failure ended as {outcome:?}");
            }
        }
    }
    bail!("a request before any failure was not answered")
}

pub fn share(lost: Lost) -> Cell {
    match lost {
        Lost { of: 0, .. } => Cell::Nothing,
        Lost { lost, of } => {
            let mood = if lost == 0 { Mood::Good } else { Mood::Bad };
            Cell::Word { says: format!("{lost} of {of}"), mood }
        }
    }
}

fn tell(stage: &mut Stage, all: &[Losses]) {
    let cells = |losses: &Losses| {
        vec![
            Cell::Text(losses.model.label().to_owned()),
            Cell::Text(losses.failure.label().to_owned()),
            share(losses.in_flight),
            share(losses.idle),
            share(losses.queued),
            Cell::Number(losses.back_ns as f64),
        ]
    };
    stage.table(Table {
        title: "Connections lost when one worker fails".to_owned(),
        columns: vec![
            Column { name: "model".into(), unit: String::new(), role: Role::Label },
            Column { name: "failure".into(), unit: String::new(), role: Role::Label },
            Column::value("in flight", ""),
            Column::value("idle", ""),
            Column::value("queued", ""),
            Column::value("back after", "ns"),
        ],
        rows: all.iter().map(cells).collect(),
    });
    stage.note(
        "A thread cannot be killed, so kill -9 takes the process of all threads. Every server has a parent that replaces \
         a process that died. Back after: until the replacement had answered a client; nobody else was free to.",
    );
}

fn judge(stage: &mut Stage, all: &[Losses]) {
    let of = |model, failure| all.iter().find(|it| it.model == model && it.failure == failure);
    let own = |it: &Losses| {
        format!("{} of {} in flight, {} of {} idle", it.in_flight.lost, it.in_flight.of, it.idle.lost, it.idle.of)
    };
    if let Some(panic) = of(Model::ThreadPerConnection, Failure::Panic) {
        let says = "A panic in one thread loses its own request, but no other connection";
        stage.fact(says, panic.in_flight.lost == 1 && panic.idle.lost == 0, own(panic));
    }
    let models = [Model::ThreadPerConnection, Model::ThreadPool];
    let faults: Vec<&Losses> = models.into_iter().filter_map(|model| of(model, Failure::Fault)).collect();
    if !faults.is_empty() {
        let seen = faults.iter().map(|it| format!("{}: {} of {}", it.model.label(), it.open().lost, it.open().of));
        stage.fact(
            "A segmentation fault in one thread loses every open connection",
            faults.iter().all(|it| it.open().lost == it.open().of),
            seen.collect::<Vec<_>>().join(", "),
        );
    }
    let prefork: Vec<&Losses> = Failure::ALL.into_iter().filter_map(|failure| of(Model::Prefork, failure)).collect();
    if !prefork.is_empty() {
        let one = |it: &Losses| format!("{}, {} of {} queued", own(it), it.queued.lost, it.queued.of);
        let mut seen: Vec<String> = prefork.iter().map(|it| one(it)).collect();
        seen.dedup();
        stage.fact(
            "However a prefork worker dies, it loses only its own connections, and none in the shared queue",
            prefork.iter().all(|it| it.in_flight.lost == 1 && it.idle.lost == IDLE_EACH && it.queued.lost == 0),
            seen.join("; "),
        );
    }
    let by_hash = Failure::ALL.into_iter().filter_map(|failure| of(Model::PreforkReusePort, failure));
    judge_reset(stage, &by_hash.collect::<Vec<_>>());
}

/// A newer kernel may be told to hand a closed queue over to another listener of the port.
fn judge_reset(stage: &mut Stage, by_hash: &[&Losses]) {
    let path = "/proc/sys/net/ipv4/tcp_migrate_req";
    let migrates = fs::read_to_string(path).is_ok_and(|value| value.trim() != "0");
    let counts = by_hash.iter().map(|it| format!("{} of {} by {}", it.queued.lost, it.queued.of, it.failure.label()));
    let got = counts.collect::<Vec<_>>().join(", ");
    if migrates {
        stage.note(format!("Here the kernel moves the queue of a dead SO_REUSEPORT worker to another. Lost: {got}."));
    } else if !by_hash.is_empty() {
        let says = "With SO_REUSEPORT, connections in the queue of a worker that dies are reset";
        stage.fact(says, by_hash.iter().all(|it| it.queued.lost > 0), got);
    }
}
