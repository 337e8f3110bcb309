//! What can be limited and forbidden to a process, and not to a thread?

mod secret;
mod settings;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::sched_getcpu;
use nix::sys::resource::Resource;
use process_demo::crew::{Crew, Kind, NOTHING};
use process_demo::limits::{self, Limit, Lowered};
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, measure, refused};

use settings::{Act, limit, open_file, pin, take_memory};

pub const DEMO: Demo = Demo {
    name: "limits",
    question: "What can be limited or forbidden for one process, but not for one thread?",
    claims: &[Claim::MoreThanAThreadCanHave, Claim::ManagementDiffers],
    rule: "Processes suit tasks that need more than a thread can have if four processes get more of each resource that is \
           counted than four threads of one process; in part if they get more of some only; refuted if of none; skipped if \
           none could be counted. Management differs if every setting that one worker makes for itself binds all its \
           sibling threads and no sibling process; in part if only some settings do; refuted if none does; skipped if none \
           could be tried with both.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/limits.rs", text: include_str!("../snippets/limits.rs") },
        Snippet { path: "process-demo/snippets/sandbox.rs", text: include_str!("../snippets/sandbox.rs") },
        Snippet {
            path: "process-demo/snippets/foreign_memory.rs",
            text: include_str!("../snippets/foreign_memory.rs"),
        },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let places = Places::make(stage.directory()).context("making files to read")?;
    let settings = settings::show(stage, &places)?;
    let shares = show_shares(stage, &places)?;
    secret::show(stage, &places)?;
    stage.rule(Claim::MoreThanAThreadCanHave, judge_shares(&shares))?;
    let differ: Vec<&str> = settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    stage.rule(Claim::ManagementDiffers, judge_management(differ.len(), settings.len()))?;
    stage.headline(format!("{} of {} limits bind all sibling threads", differ.len(), settings.len()));
    stage.answer(match differ.as_slice() {
        [] => format!("None of {} settings binds all sibling threads and no sibling process.", settings.len()),
        names => format!(
            "{} of {} settings: {}. Set by one thread, each binds all its siblings.",
            names.len(),
            settings.len(),
            names.join(", ")
        ),
    });
    stage.advise("Put what must be limited into a child process: copy `limits`.");
    Ok(())
}

const CONTENT: &[u8] = b"known to whoever may read it";

/// Two files, each in a directory of its own; removed when this is dropped.
struct Places {
    all: PathBuf,
    public: PathBuf,
    public_file: PathBuf,
    /// Its owner alone may read it.
    private_file: PathBuf,
}

impl Places {
    fn make(under: &Path) -> Result<Places> {
        let all = under.join("files");
        let (public, private) = (all.join("public"), all.join("private"));
        let places = Places { public_file: public.join("file"), private_file: private.join("file"), all, public };
        for (directory, file, mode) in
            [(&places.public, &places.public_file, 0o644), (&private, &places.private_file, 0o600)]
        {
            fs::create_dir_all(directory)?;
            fs::write(file, CONTENT)?;
            fs::set_permissions(file, Permissions::from_mode(mode))?;
        }
        Ok(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.all); // What stays, the runner finds and reports.
    }
}

/// What was done; or why the machine refused it.
fn tried<T>(result: Result<T>) -> Result<Result<T, String>> {
    result.map(Ok).or_else(|error| refused(&error).map(Err).ok_or(error))
}

const WORKERS: usize = 4;
const DESCRIPTORS: u64 = 256;
const ROOM_MIB: u64 = 64;

/// What was got of one resource.
struct Share {
    /// The resource, alone and as it is counted.
    what: &'static str,
    name: &'static str,
    /// By one thread, by several, and by as many processes.
    got: Result<[u64; 3], String>,
}

/// How much more may several processes have than one, and than as many threads?
fn show_shares(stage: &mut Stage, places: &Places) -> Result<Vec<Share>> {
    let descriptors_allowed = Limit::lower(Resource::RLIMIT_NOFILE, DESCRIPTORS)?.soft;
    stage.note(format!(
        "How much do {WORKERS} workers get? A process may have {descriptors_allowed} descriptors here, and {ROOM_MIB} MiB of \
         address space more than it starts with. Each worker takes all it can, one descriptor and one MiB after the other; \
         and each goes to a CPU of its own, as long as there are some. What is missing to a limit was taken before.",
    ));
    let got = |count: fn(Kind, usize, &Places) -> Result<u64>| {
        let by = |kind, workers| count(kind, workers, places);
        let all = || Ok([by(Kind::Threads, 1)?, by(Kind::Threads, WORKERS)?, by(Kind::Processes, WORKERS)?]);
        tried(all())
    };
    let shares = vec![
        Share { what: "descriptors", name: "descriptors", got: got(descriptors)? },
        Share { what: "address space", name: "MiB of address space", got: got(address_space)? },
        Share { what: "CPUs", name: "CPUs", got: got(cpus)? },
    ];
    let row = |share: &Share| {
        let cells = match &share.got {
            Ok(got) => got.map(|number| Cell::Number(number as f64)),
            Err(why) => [Cell::Skipped { skipped: why.clone() }, Cell::Nothing, Cell::Nothing],
        };
        [Cell::Text(share.name.to_owned())].into_iter().chain(cells).collect()
    };
    let heads = ["one thread".to_owned(), format!("{WORKERS} threads"), format!("{WORKERS} processes")];
    stage.table(Table {
        title: "What workers get, all together".to_owned(),
        columns: [Column::label("resource")].into_iter().chain(heads.map(|head| Column::value(head, ""))).collect(),
        rows: shares.iter().map(row).collect(),
    });
    for (Share { name, got, .. }, limit) in shares.iter().zip([descriptors_allowed, ROOM_MIB]) {
        if let Ok([_, threads, processes]) = got {
            let says = format!("{WORKERS} threads share one process's {limit} {name}; {WORKERS} processes get more");
            let got = format!("{threads} and {processes}");
            stage.fact(says, *threads <= limit && processes > threads, got);
        }
    }
    Ok(shares)
}

fn descriptors(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    let lowered = Lowered::to(Resource::RLIMIT_NOFILE, DESCRIPTORS).context("limiting descriptors")?;
    let mut crew = Crew::of(kind, workers, || Ok(places))?; // Its processes inherit the limit.
    drop(lowered);
    sum(&mut crew, workers, |_, _| until_refused(Errno::EMFILE, open_file))
}

fn address_space(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    let mut crew = Crew::of(kind, workers, || Ok(places))?;
    sum(&mut crew, workers, |_, _| limit(limits::more_address_space(ROOM_MIB << 20)))?;
    sum(&mut crew, workers, |_, _| until_refused(Errno::ENOMEM, || take_memory(1 << 20)))
}

fn cpus(kind: Kind, workers: usize, places: &Places) -> Result<u64> {
    let usable = measure::usable_cpus();
    let mut crew = Crew::of(kind, workers, || Ok(places))?;
    let mut used = BTreeSet::new();
    for worker in 0..workers {
        let cpu = usable[worker % usable.len()] as u64;
        crew.ask(worker, |_, [cpu, ..]| pin(cpu as usize), [cpu, 0, 0])?.value()?;
        used.insert(crew.ask(worker, |_, _| Ok(sched_getcpu()? as u64), NOTHING)?.value()?);
    }
    Ok(used.len() as u64)
}

fn sum(crew: &mut Crew<&Places>, workers: usize, act: Act) -> Result<u64> {
    (0..workers).map(|worker| crew.ask(worker, act, NOTHING)?.value()).sum()
}

/// How often does it succeed, until it is refused for this reason? Where nothing refuses it, not for ever.
fn until_refused(reason: Errno, once: fn() -> io::Result<()>) -> Result<u64> {
    const MOST: u64 = 10_000;
    for successes in 0..MOST {
        match once() {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(reason as i32) => return Ok(successes),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(MOST)
}

fn judge_shares(shares: &[Share]) -> Ruling {
    let counted: Vec<_> = shares.iter().filter_map(|share| Some((share, share.got.as_ref().ok()?))).collect();
    let (more, not_more): (Vec<_>, Vec<_>) =
        counted.iter().copied().partition(|(_, [_, threads, processes])| processes > threads);
    let names =
        |shares: &[(&Share, &[u64; 3])]| shares.iter().map(|(share, _)| share.what).collect::<Vec<_>>().join(" and ");
    let Some((first, [_, threads, processes])) = more.first() else {
        return match counted.as_slice() {
            [] => Ruling::skipped("Nothing could be counted"),
            all => Ruling::refuted(format!("Four processes get no more than four threads of {}", names(all))),
        };
    };
    let because = format!("Four processes get {processes} {}, four threads of one process {threads}", first.name);
    if not_more.is_empty() {
        Ruling::holds(because)
    } else {
        Ruling::in_part(format!("true of {}, not of {}", names(&more), names(&not_more)), because)
    }
}

fn judge_management(differ: usize, tried: usize) -> Ruling {
    let because = "If one thread sets these, they bind all its siblings; if one process does, none";
    match differ {
        _ if tried == 0 => Ruling::skipped("Nothing could be set on both sides"),
        0 => Ruling::refuted(format!("None of {tried} settings binds all sibling threads and no sibling process")),
        _ if differ == tried => Ruling::holds(format!("All {tried} settings bind every sibling thread and no process")),
        _ => Ruling::in_part(format!("true of {differ} of {tried} settings"), because),
    }
}
