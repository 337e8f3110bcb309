//! One worker of four sets something for itself: whom does it bind?

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::IntoRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::resource::Resource;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Pid, Uid};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use process_demo::limits::{self, Limit};
use process_demo::sandbox::{self, Otherwise, State};
use shared::{Cell, Column, Mood, Stage, Table, measure, refused};

use super::{CONTENT, Places};

/// What a worker does, to itself or for us; it knows where the files are.
pub type Act = fn(&mut &Places, Arguments) -> Result<u64>;

const BY_LIBRARY: &str = "setresuid (C library)";
const BY_CALL: &str = "setresuid (bare call)";
const LIMITS: [&str; 3] = ["RLIMIT_NOFILE (files)", "RLIMIT_AS (memory)", "RLIMIT_CPU (CPU time)"];

/// What can be set; and what whoever is free can do, which gives zero then. (Who may not burn CPU time is to burn until it
/// is noticed, within ten seconds; the others need only answer.)
const SETTINGS: [(&str, Act, Act); 10] = [
    // The numbers below 3 are open already, so not one further can be opened.
    (LIMITS[0], |_, _| limit(Limit::lower(Resource::RLIMIT_NOFILE, 3)), |_, _| done(open_file())),
    (LIMITS[1], |_, _| limit(limits::more_address_space(4 << 20)), |_, _| done(take_memory(8 << 20))),
    // The limit counts whole seconds; zero of them are over at the next tick of the clock.
    (LIMITS[2], |_, _| limit(Limit::lower(Resource::RLIMIT_CPU, 0)), |_, [seconds, ..]| burn(seconds)),
    ("affinity (one CPU)", pin_to_the_last, |_, _| Ok((measure::usable_cpus().len() == 1).into())),
    ("no_new_privs", |_, _| done(sandbox::no_new_privileges()), has_no_new_privileges),
    (BY_LIBRARY, become_nobody, |places, _| read(&places.private_file)),
    (BY_CALL, become_nobody_alone, |places, _| read(&places.private_file)),
    ("Landlock (one directory)", read_public_only, |places, _| read(&places.private_file)),
    ("seccomp (calls refused)", |_, _| allow_few_calls(Otherwise::Refuse), |places, _| read(&places.private_file)),
    ("seccomp (calls killed)", |_, _| allow_few_calls(Otherwise::Kill), |places, _| read(&places.private_file)),
];
const FREE: Reply = Reply::Done(0);
const BURN: Arguments = [10, 0, 0];

const SIBLINGS: usize = 3;

/// Whom a setting bound.
struct Bound {
    /// Who were free before it was set, the one who sets it among them.
    free_before: usize,
    /// Whether, and how, it bound the one who set it.
    own: Option<String>,
    siblings: usize,
}

/// A setting among threads and among processes; or why it was not tried.
struct Setting {
    name: &'static str,
    threads: Result<Bound, String>,
    processes: Result<Bound, String>,
}

impl Setting {
    /// Seen on both sides, among threads first, and whoever set it was bound by it.
    fn both(&self) -> Option<(&Bound, &Bound)> {
        let (threads, processes) = (self.threads.as_ref().ok()?, self.processes.as_ref().ok()?);
        (threads.own.is_some() && processes.own.is_some()).then_some((threads, processes))
    }
}

/// Returns those that were tried with both, and whether each bound all siblings among threads and none among processes.
pub fn show(stage: &mut Stage, places: &Places) -> Result<Vec<(&'static str, bool)>> {
    stage.note(
        "Four workers: threads of one process, then a process each. One of them sets a limit for itself, or gives a \
         privilege up, and runs into it. Then each of the others tries the same. (Where the limit is CPU time, the one \
         computes until it is noticed, and the others need only answer.)",
    );
    let mut settings = Vec::new();
    for (name, set, probe) in SETTINGS {
        let tried = |kind| match try_on(kind, places, set, probe) {
            Err(error) => refused(&error).map(Err).ok_or(error.context(name)), // No further process or thread, say.
            tried => tried,
        };
        settings.push(Setting { name, threads: tried(Kind::Threads)?, processes: tried(Kind::Processes)? });
    }
    settings.sort_by_key(|setting| Reverse(setting.both().map(|(threads, _)| threads.siblings)));
    stage.show(table(&settings));
    explain(stage, &settings);
    tell_facts(stage, &settings);
    tell_what_stays_allowed(stage, places)?;
    let differs = |(threads, processes): (&Bound, &Bound)| threads.siblings == SIBLINGS && processes.siblings == 0;
    Ok(settings.iter().filter_map(|setting| Some((setting.name, differs(setting.both()?)))).collect())
}

fn try_on(kind: Kind, places: &Places, set: Act, probe: Act) -> Result<Result<Bound, String>> {
    let mut crew = Crew::of(kind, 1 + SIBLINGS, || Ok(places))?;
    let mut free_before = 0;
    for worker in 0..=SIBLINGS {
        match crew.ask(worker, probe, NOTHING)? {
            // Another limit is as low as ours; or there is one CPU.
            Reply::Failed { errno: error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM), .. } => {
                return Ok(Err(format!("without it too: {}", error.desc())));
            }
            Reply::Done(1) => return Ok(Err("in force without it too".to_owned())),
            reply => free_before += usize::from(reply == FREE),
        }
    }
    match crew.ask(0, set, NOTHING)? {
        // EINVAL: in a user namespace that does not know the user to become.
        Reply::Failed { errno: error @ (Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL), .. } => {
            return Ok(Err(error.desc().to_owned()));
        }
        reply => reply.value()?,
    };
    let reply = crew.ask(0, probe, BURN)?;
    let own = (reply != FREE).then(|| in_words(&reply));
    let mut siblings = 0;
    for sibling in 1..=SIBLINGS {
        siblings += usize::from(crew.ask(sibling, probe, NOTHING)? != FREE);
    }
    Ok(Ok(Bound { free_before, own, siblings }))
}

fn in_words(reply: &Reply) -> String {
    match reply {
        Reply::Failed { errno, .. } => format!("{errno:?}"),
        Reply::Gone(exit) => exit.to_string(),
        Reply::Left => "panicked".to_owned(),
        Reply::Done(_) => "in force".to_owned(),
    }
}

fn table(settings: &[Setting]) -> Table {
    let siblings = |side: &Result<Bound, String>| match side {
        Ok(Bound { own: None, .. }) => Cell::Text("does not bind itself".to_owned()),
        Ok(Bound { siblings, .. }) => {
            let mood = if *siblings == 0 { Mood::Good } else { Mood::Bad };
            Cell::Word { says: format!("{siblings} of {SIBLINGS}"), mood }
        }
        Err(_) => Cell::Text("not tried".to_owned()),
    };
    let row = |Setting { name, threads, processes }: &Setting| {
        let own = processes.as_ref().ok().and_then(|bound| bound.own.clone()).map_or(Cell::Nothing, Cell::Text);
        vec![Cell::Text((*name).to_owned()), own, siblings(threads), siblings(processes)]
    };
    let heads = ["on itself", "sibling threads", "sibling processes"].map(|head| Column::value(head, ""));
    Table {
        title: "One of four workers sets it for itself: which siblings does it bind".to_owned(),
        columns: [Column::label("setting")].into_iter().chain(heads).collect(),
        rows: settings.iter().map(row).collect(),
    }
}

/// Why a setting was not tried; and why a privilege that a thread gives up is still there for its siblings.
fn explain(stage: &mut Stage, settings: &[Setting]) {
    for Setting { name, threads, processes } in settings {
        for (side, tried) in [("threads", threads), ("processes", processes)] {
            if let Err(why) = tried {
                stage.note(format!("Not tried: {name}, with {side}: {why}."));
            }
        }
    }
    let seen = |name| settings.iter().find(|setting| setting.name == name).and_then(Setting::both);
    if let (Some((by_library, _)), Some((by_call, _))) = (seen(BY_LIBRARY), seen(BY_CALL)) {
        stage.note(format!(
            "The kernel changes the user of one thread alone: the bare call bound {} of {SIBLINGS} siblings. The C \
             library's function asks every thread to do the same: it bound {}.",
            by_call.siblings, by_library.siblings
        ));
    }
}

fn tell_facts(stage: &mut Stage, settings: &[Setting]) {
    let tried = || settings.iter().flat_map(|setting| [&setting.threads, &setting.processes]).flatten();
    let (workers, free) = (tried().count() * (1 + SIBLINGS), tried().map(|bound| bound.free_before).sum::<usize>());
    let says = "Before anything is set, every worker can do what is tried";
    stage.check(says, free == workers, format!("{free} of {workers}"));
    let (all, bound) = (tried().count(), tried().filter(|bound| bound.own.is_some()).count());
    stage.check("Whoever sets something is bound by it", bound == all, format!("{bound} of {all}"));
    let processes = || settings.iter().filter_map(Setting::both).map(|(_, bound)| bound.siblings);
    let (bound, of_all) = (processes().sum::<usize>(), processes().count() * SIBLINGS);
    let says = "What a process sets for itself binds no sibling process";
    stage.fact(says, bound == 0, format!("{bound} of {of_all}"));
    let limits = || settings.iter().filter(|setting| LIMITS.contains(&setting.name)).filter_map(Setting::both);
    let (bound, of_all) = (limits().map(|(bound, _)| bound.siblings).sum::<usize>(), limits().count() * SIBLINGS);
    let says = "A limit (RLIMIT) that one thread sets binds or ends every sibling thread";
    stage.fact(says, bound == of_all, format!("{bound} of {of_all}"));
}

/// A sandbox that forbids everything would be easy.
fn tell_what_stays_allowed(stage: &mut Stage, places: &Places) -> Result<()> {
    let mut crew = Crew::of(Kind::Processes, 1, || Ok(places))?;
    if let Reply::Failed { errno, .. } = crew.ask(0, read_public_only, NOTHING)? {
        stage.note(format!("This kernel has no Landlock for us: {}.", errno.desc()));
        return Ok(());
    }
    let public = crew.ask(0, |places, _| read(&places.public_file), NOTHING)?;
    let private = crew.ask(0, |places, _| read(&places.private_file), NOTHING)?;
    let says = "Under Landlock a worker reads the file in its one directory, not one beside it";
    let got = format!("{} and {}", if public == FREE { "read" } else { "not read" }, in_words(&private));
    let is_refused = matches!(private, Reply::Failed { errno: Errno::EACCES, .. });
    stage.fact(says, public == FREE && is_refused, got);
    Ok(())
}

fn done(result: io::Result<()>) -> Result<u64> {
    Ok(result.map(|()| 0)?)
}

pub fn limit(limit: io::Result<Limit>) -> Result<u64> {
    done(limit.and_then(Limit::set))
}

/// It stays open until the worker's process ends.
pub fn open_file() -> io::Result<()> {
    File::open("/dev/null").map(|file| _ = file.into_raw_fd())
}

/// Mapped until the worker ends: what counts is the address space, which is taken without being filled.
pub fn take_memory(bytes: usize) -> io::Result<()> {
    let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE) }?;
    Ok(())
}

/// Until the time is used, by this thread's own account, or the kernel has seen enough of it.
fn burn(seconds: u64) -> Result<u64> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let until = used()?.tv_sec() + seconds as i64;
    while used()?.tv_sec() < until {}
    Ok(0)
}

fn pin_to_the_last(_: &mut &Places, _: Arguments) -> Result<u64> {
    pin(measure::usable_cpus().into_iter().next_back().context("there is no CPU")?)
}

pub fn pin(cpu: usize) -> Result<u64> {
    const THIS_THREAD: Pid = Pid::from_raw(0); // What the affinity calls take zero for.
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(THIS_THREAD, &only)?;
    Ok(0)
}

fn has_no_new_privileges(_: &mut &Places, _: Arguments) -> Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let flag = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")?.trim().parse().ok());
    flag.ok_or_else(|| Errno::ENOSYS.into())
}

const NOBODY: u32 = 65534; // The user whom nothing belongs to, on every Linux.

pub fn become_nobody(_: &mut &Places, _: Arguments) -> Result<u64> {
    in_force(sandbox::become_user(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)))
}

/// The C library changes the user in every thread, by a signal to each; the kernel itself only in the thread that asks.
fn become_nobody_alone(_: &mut &Places, _: Arguments) -> Result<u64> {
    if !Uid::effective().is_root() {
        return Err(Errno::EPERM.into()); // Nobody may become nobody, which changes nothing.
    }
    // SAFETY: it takes three numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) })?;
    Ok(0)
}

/// Landlock.
pub fn read_public_only(places: &mut &Places, _: Arguments) -> Result<u64> {
    sandbox::no_new_privileges()?;
    in_force(sandbox::read_only_beneath(&[&places.public]))
}

/// What the worker's own life takes, and no opening of files.
fn allow_few_calls(otherwise: Otherwise) -> Result<u64> {
    let memory = [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise];
    let rest = [libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_futex, libc::SYS_exit_group];
    sandbox::no_new_privileges()?;
    in_force(sandbox::allow_only(&[memory, rest].concat(), otherwise))
}

fn in_force(state: io::Result<State>) -> Result<u64> {
    match state? {
        State::InForce => Ok(0),
        State::Unavailable(why) if why.raw_os_error().is_some() => Err(why.into()),
        State::Unavailable(why) => Err(Errno::ENOSYS).context(why),
    }
}

fn read(file: &Path) -> Result<u64> {
    if fs::read(file)? == CONTENT { Ok(0) } else { Err(Errno::EIO.into()) }
}
