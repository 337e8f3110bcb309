//! One worker of four sets something for itself: whom does it bind?

use std::cmp::Reverse;

use anyhow::{Result, bail, ensure};
use nix::errno::Errno;
use shared::{Cell, Column, Mood, Stage, Table, measure, refused};

use super::crew::{Crew, Kind, Reply};
use super::order::Order;
use super::places::Places;

const SIBLINGS: usize = 3;

/// What can be set, and how it shows.
pub struct Setting {
    pub name: &'static str,
    set: Order,
    argument: u64,
    /// What the one who is bound cannot do any more.
    probe: Order,
    bound_if: BoundIf,
    sort: Sort,
}

#[derive(Clone, Copy)]
enum BoundIf {
    /// It fails, or ends whoever tries it.
    NotDone,
    /// It gives this number.
    Gives(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Resource,
    Privilege,
}

/// What was seen of one setting: among threads and among processes, or why not.
pub struct Row {
    pub setting: Setting,
    pub threads: Result<Bound, String>,
    pub processes: Result<Bound, String>,
}

/// Whom it bound.
pub struct Bound {
    /// Who were free before it was set, the one who sets it among them.
    pub free_before: usize,
    /// Whether, and how, it bound the one who set it.
    pub own: Option<String>,
    pub siblings: usize,
}

fn settings() -> Vec<Setting> {
    use BoundIf::{Gives, NotDone};
    use Sort::{Privilege, Resource};
    let setting = |name, set, argument, probe, bound_if, sort| Setting { name, set, argument, probe, bound_if, sort };
    let cpu = measure::usable_cpus().last().copied().unwrap_or(0) as u64;
    vec![
        // The numbers below 3 are open already, so not one further can be opened.
        setting("RLIMIT_NOFILE (files)", Order::LimitFiles, 3, Order::OpenFile, NotDone, Resource),
        setting("RLIMIT_AS (memory)", Order::LimitMemory, 4 << 20, Order::TakeMemory, NotDone, Resource),
        // The limit counts whole seconds; zero of them are over at the next tick of the clock.
        setting("RLIMIT_CPU (CPU time)", Order::LimitCpu, 0, Order::Burn, NotDone, Resource),
        setting("affinity (one CPU)", Order::Pin, cpu, Order::CountCpus, Gives(1), Resource),
        setting("no_new_privs", Order::NoNewPrivileges, 0, Order::HasNoNewPrivileges, Gives(1), Privilege),
        setting("setresuid (C library)", Order::BecomeNobody, 0, Order::ReadPrivateFile, NotDone, Privilege),
        setting("setresuid (bare call)", Order::BecomeNobodyAlone, 0, Order::ReadPrivateFile, NotDone, Privilege),
        setting("Landlock (one directory)", Order::ReadPublicOnly, 0, Order::ReadPrivateFile, NotDone, Privilege),
        setting("seccomp (calls refused)", Order::RefuseCalls, 0, Order::ReadPrivateFile, NotDone, Privilege),
        setting("seccomp (calls killed)", Order::KillForCalls, 0, Order::ReadPrivateFile, NotDone, Privilege),
    ]
}

impl Setting {
    /// What the probe is asked with. Who may not burn CPU time is to burn until it is noticed, within ten seconds.
    fn amount(&self) -> u64 {
        match self.probe {
            Order::TakeMemory => 8 << 20, // More than the limit leaves room for.
            Order::Burn => 10_000_000_000,
            _ => 0,
        }
    }

    /// Siblings, and all before it is set, need not burn CPU time to show that they are free: they answer.
    fn probe_of_others(&self) -> (Order, u64) {
        if self.probe == Order::Burn { (Order::Ping, 0) } else { (self.probe, self.amount()) }
    }

    fn binds(&self, reply: Reply) -> bool {
        match self.bound_if {
            BoundIf::NotDone => !matches!(reply, Reply::Done(_)),
            BoundIf::Gives(number) => reply == Reply::Done(number),
        }
    }

    fn try_on(&self, kind: Kind, places: &Places) -> Result<Result<Bound, String>> {
        if self.set == Order::Pin && measure::usable_cpus().len() < 2 {
            return Ok(Err("there is one CPU".to_owned()));
        }
        let mut crew = Crew::of(kind, 1 + SIBLINGS, places)?;
        let mut free_before = 0;
        let (probe, amount) = self.probe_of_others();
        for worker in 0..=SIBLINGS {
            let reply = crew.ask(worker, probe, [amount, 0])?;
            if let Reply::Failed(error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) = reply {
                return Ok(Err(format!("without it too: {}", error.desc()))); // Another limit is as low as ours.
            }
            free_before += usize::from(!self.binds(reply));
        }
        match crew.ask(0, self.set, [self.argument, 0])? {
            Reply::Done(_) => {}
            Reply::Failed(error) => {
                // EINVAL: in a user namespace that does not know the user to become.
                let refusals = [Errno::EPERM, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EINVAL];
                ensure!(refusals.contains(&error), "{}: {}", self.name, error.desc());
                return Ok(Err(error.desc().to_owned()));
            }
            Reply::Gone(exit) => bail!("{}: whoever set it {exit}", self.name),
        }
        let reply = crew.ask(0, self.probe, [self.amount(), 0])?;
        let own = self.binds(reply).then(|| in_words(reply));
        let mut siblings = 0;
        for sibling in 1..=SIBLINGS {
            siblings += usize::from(self.binds(crew.ask(sibling, probe, [amount, 0])?));
        }
        Ok(Ok(Bound { free_before, own, siblings }))
    }
}

fn in_words(reply: Reply) -> String {
    match reply {
        Reply::Done(_) => "in force".to_owned(),
        Reply::Failed(error) => format!("{error:?}"),
        Reply::Gone(exit) => exit.to_string(),
    }
}

/// Every setting, tried once with threads and once with processes.
pub fn show(stage: &mut Stage, places: &Places) -> Result<Vec<Row>> {
    stage.note(
        "Four workers: threads of one process, then a process each. One of them sets a limit for itself, or gives a \
         privilege up, and runs into it. Then each of the others tries the same. (Where the limit is CPU time, the one \
         computes until it is noticed, and the others need only answer.)",
    );
    let mut rows = Vec::new();
    for setting in settings() {
        let tried = |kind| match setting.try_on(kind, places) {
            Err(error) => refused(&error).map(Err).ok_or(error), // No further process or thread, say.
            tried => tried,
        };
        let (threads, processes) = (tried(Kind::Threads)?, tried(Kind::Processes)?);
        rows.push(Row { setting, threads, processes });
    }
    rows.sort_by_key(|row| Reverse(row.both().map(|(threads, _)| threads.siblings)));
    stage.show(table(&rows));
    tell_refusals(stage, &rows);
    explain(stage, &rows);
    tell_facts(stage, &rows);
    tell_what_stays_allowed(stage, places)?;
    Ok(rows)
}

impl Row {
    /// Seen on both sides, among threads first, and whoever set it was bound by it.
    pub fn both(&self) -> Option<(&Bound, &Bound)> {
        let (threads, processes) = (self.threads.as_ref().ok()?, self.processes.as_ref().ok()?);
        (threads.own.is_some() && processes.own.is_some()).then_some((threads, processes))
    }
}

impl Bound {
    pub fn binds_all(&self) -> bool {
        self.siblings == SIBLINGS
    }
}

fn table(rows: &[Row]) -> Table {
    let siblings = |side: &Result<Bound, String>| match side {
        Ok(Bound { own: None, .. }) => Cell::Text("does not bind itself".to_owned()),
        Ok(Bound { siblings, .. }) => {
            let mood = if *siblings == 0 { Mood::Good } else { Mood::Bad };
            Cell::Word { says: format!("{siblings} of {SIBLINGS}"), mood }
        }
        Err(_) => Cell::Text("not tried".to_owned()),
    };
    let own = |side: &Result<Bound, String>| match side {
        Ok(Bound { own: Some(how), .. }) => Cell::Text(how.clone()),
        _ => Cell::Nothing,
    };
    let row = |row: &Row| {
        let name = Cell::Text(row.setting.name.to_owned());
        vec![name, own(&row.processes), siblings(&row.threads), siblings(&row.processes)]
    };
    Table {
        title: "One of four workers sets it for itself: which siblings does it bind".to_owned(),
        columns: vec![
            Column::label("setting"),
            Column::value("on itself", ""),
            Column::value("sibling threads", ""),
            Column::value("sibling processes", ""),
        ],
        rows: rows.iter().map(row).collect(),
    }
}

/// Why a setting was not tried.
fn tell_refusals(stage: &mut Stage, rows: &[Row]) {
    for row in rows {
        for (side, tried) in [("threads", &row.threads), ("processes", &row.processes)] {
            if let Err(why) = tried {
                stage.note(format!("Not tried: {}, with {side}: {why}.", row.setting.name));
            }
        }
    }
}

/// Why a privilege that a thread gives up is still there for its siblings.
fn explain(stage: &mut Stage, rows: &[Row]) {
    let seen = |set: Order| rows.iter().find(|row| row.setting.set == set).and_then(Row::both).map(|(bound, _)| bound);
    if let (Some(by_library), Some(by_call)) = (seen(Order::BecomeNobody), seen(Order::BecomeNobodyAlone)) {
        stage.note(format!(
            "The kernel changes the user of one thread alone: the bare call bound {} of {SIBLINGS} siblings. The C \
             library's function asks every thread to do the same: it bound {}.",
            by_call.siblings, by_library.siblings
        ));
    }
}

fn tell_facts(stage: &mut Stage, rows: &[Row]) {
    let tried = || rows.iter().flat_map(|row| [&row.threads, &row.processes]).flatten();
    let (workers, free) = (tried().count() * (1 + SIBLINGS), tried().map(|bound| bound.free_before).sum::<usize>());
    let says = "Before anything is set, every worker can do what is tried";
    stage.check(says, free == workers, format!("{free} of {workers}"));
    let (settings, bound) = (tried().count(), tried().filter(|bound| bound.own.is_some()).count());
    stage.check("Whoever sets something is bound by it", bound == settings, format!("{bound} of {settings}"));
    let processes = || rows.iter().filter_map(Row::both).map(|(_, bound)| bound.siblings);
    let (bound, of_all) = (processes().sum::<usize>(), processes().count() * SIBLINGS);
    let says = "What a process sets for itself binds no sibling process";
    stage.fact(says, bound == 0, format!("{bound} of {of_all}"));
    let is_limit = |row: &&Row| row.setting.sort == Sort::Resource && row.setting.set != Order::Pin;
    let threads = || rows.iter().filter(is_limit).filter_map(Row::both).map(|(bound, _)| bound.siblings);
    let (bound, of_all) = (threads().sum::<usize>(), threads().count() * SIBLINGS);
    let says = "A limit (RLIMIT) that one thread sets binds or ends every sibling thread";
    stage.fact(says, bound == of_all, format!("{bound} of {of_all}"));
}

/// A sandbox that forbids everything would be easy.
fn tell_what_stays_allowed(stage: &mut Stage, places: &Places) -> Result<()> {
    let mut crew = Crew::of(Kind::Processes, 1, places)?;
    if let Reply::Failed(why) = crew.ask(0, Order::ReadPublicOnly, [0; 2])? {
        stage.note(format!("This kernel has no Landlock for us: {}.", why.desc()));
        return Ok(());
    }
    let public = crew.ask(0, Order::ReadPublicFile, [0; 2])?;
    let private = crew.ask(0, Order::ReadPrivateFile, [0; 2])?;
    let says = "Under Landlock a worker reads the file in its one directory, not one beside it";
    let got = format!("{} and {}", if public == Reply::Done(0) { "read" } else { "not read" }, in_words(private));
    stage.fact(says, public == Reply::Done(0) && private == Reply::Failed(Errno::EACCES), got);
    Ok(())
}
