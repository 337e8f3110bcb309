//! Who survives a crash?

mod failures;

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Mutex;

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING, Reply};
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, Verdict, tried};

use failures::{FAILURES, hush};

pub const DEMO: Demo = Demo {
    name: "crash",
    question: "Who survives a crash?",
    claims: &[Claim::ProcessesSuitIndependentTasks],
    rule: "The claim holds if every sibling process goes on after each of six failures, and at least one of these ends all \
           sibling threads. Else it holds in part if more sibling processes than sibling threads go on, and is refuted if \
           not. Skipped if no failure could be tried in both. The claim's half on interactive programs is not tried.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/limits.rs", text: include_str!("../snippets/limits.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let rounds = stage.by_effort(1, 5, 50);
    stage.note(format!(
        "Three siblings keep an account each: they answer every payment with their balance. Beside them a fourth, the \
         victim, fails. A sibling that answers a further payment with the right balance has gone on. The four are \
         first threads of one process (the victim holds a mutex), then a process each. {}",
        if rounds == 1 { "Each failure strikes once." } else { "Each failure strikes several times." }
    ));
    let strike_each = FAILURES.into_iter().map(|(name, failure)| Ok((name, strike_everywhere(failure, rounds)?)));
    let crashes = strike_each.collect::<Result<Vec<Crash>>>()?;
    show_who_goes_on(stage, &crashes);
    tell_facts(stage, &crashes)?;
    let ruling = judge(&crashes);
    let advice = match ruling.verdict {
        Verdict::Refuted => "Here a process isolates no better than a thread: try it with `child`.",
        _ => "Isolate what may crash in a process: copy `child`.",
    };
    stage.rule(Claim::ProcessesSuitIndependentTasks, ruling)?;
    let with_names = |wanted: fn(&[Tried<Outcome>; 3]) -> bool| {
        let names: Vec<&str> = crashes.iter().filter(|(_, seen)| wanted(seen)).map(|(name, _)| *name).collect();
        if names.is_empty() { "none".to_owned() } else { format!("{} ({})", names.len(), names.join(", ")) }
    };
    let by_process = || crashes.iter().flat_map(|(_, [_, processes, _])| processes);
    let (survived, tried) = (by_process().filter(|seen| all_go_on(seen)).count(), by_process().count());
    stage.headline(format!("{survived} of {tried} failures spare sibling processes"));
    stage.answer(format!(
        "All sibling processes go on after {survived} of {tried} failures; all sibling threads go on after {}. catch_unwind \
         catches {}.",
        with_names(|[threads, ..]| threads.as_ref().is_ok_and(all_go_on)),
        with_names(|[.., wrapped]| wrapped.as_ref().is_ok_and(|seen| seen.ends.keys().eq([CAUGHT]))),
    ));
    stage.advise(advice);
    Ok(())
}

/// What became of a failure's victims and their siblings, in all rounds together.
#[derive(Default)]
struct Outcome {
    siblings: usize,
    /// Who answered before the failure, and again after it.
    before: usize,
    after: usize,
    /// How the victims ended, and how many did so.
    ends: BTreeMap<String, usize>,
    dumps: usize,
}

fn all_go_on(seen: &Outcome) -> bool {
    seen.after == seen.siblings
}

/// A failure's name; what it did beside threads, beside processes, and inside `catch_unwind` beside processes.
type Crash = (&'static str, [Tried<Outcome>; 3]);

const CAUGHT: &str = "goes on";
const CAME_BACK: &str = "did not fail"; // It ran past the point where it was to fail.

/// Whoever works: an account, and the lock that the victim holds when it fails.
struct Worker<'l> {
    balance: u64,
    lock: &'l Mutex<()>,
    fail: Failing<'l>,
}

/// Tells whether it was caught; if it tells anything else, it has not failed.
type Failing<'l> = &'l (dyn Fn() -> bool + Sync);

fn strike_everywhere(failure: fn(), rounds: usize) -> Result<[Tried<Outcome>; 3]> {
    let fail = || {
        failure();
        false
    };
    let threads = tried(strike(Kind::Threads, rounds, &fail))?;
    let processes = tried(strike(Kind::Processes, rounds, &fail))?;
    Ok([threads, processes, tried(strike(Kind::Processes, rounds, &|| catch_unwind(failure).is_err()))?])
}

const SIBLINGS: usize = 3;
const VICTIM: usize = SIBLINGS;

fn strike(kind: Kind, rounds: usize, fail: Failing<'_>) -> Result<Outcome> {
    let mut seen = Outcome { siblings: rounds * SIBLINGS, ..Outcome::default() };
    for _ in 0..rounds {
        let lock = Mutex::new(());
        let mut crew = Crew::of(kind, SIBLINGS + 1, || hush().map(|()| Worker { balance: 0, lock: &lock, fail }))?;
        seen.before += pay(&mut crew, 100, 100)?;
        let hold_and_fail = |victim: &mut Worker<'_>, _: Arguments| {
            let _held = victim.lock.lock().unwrap();
            Ok((victim.fail)().into())
        };
        let end = match crew.ask(VICTIM, hold_and_fail, NOTHING)? {
            Reply::Gone(exit) => exit.to_string(),
            Reply::Left => match crew.ask(0, |sibling, _| Ok(sibling.lock.is_poisoned().into()), NOTHING)?.value()? {
                0 => "one thread alone".to_owned(),
                _ => "one thread; mutex poisoned".to_owned(),
            },
            reply => [CAME_BACK, CAUGHT][reply.value()? as usize].to_owned(),
        };
        seen.after += pay(&mut crew, 11, 111)?;
        *seen.ends.entry(end).or_default() += 1;
        seen.dumps += crew.dumps;
    }
    Ok(seen)
}

/// Pays into each sibling's account, and counts the siblings that answer with the right balance: one that is new, or has
/// lost its memory, would not know it.
fn pay(crew: &mut Crew<Worker<'_>>, amount: u64, balance: u64) -> Result<usize> {
    let keep = |own: &mut Worker<'_>, [amount, ..]: Arguments| {
        own.balance += amount;
        Ok(own.balance)
    };
    let right = |sibling| Ok(usize::from(crew.ask(sibling, keep, [amount, 0, 0])? == Reply::Done(balance)));
    (0..SIBLINGS).map(right).sum()
}

fn show_who_goes_on(stage: &mut Stage, crashes: &[Crash]) {
    let table = |title, columns: [&str; 4], cells: fn(&[Tried<Outcome>; 3]) -> Vec<Cell>| {
        let rows = crashes.iter().map(|(name, seen)| [vec![Cell::from(*name)], cells(seen)].concat());
        Table::new(title, columns, rows)
    };
    let columns = ["failure", "sibling threads", "sibling processes", "catch_unwind"];
    stage.show(table("Siblings that go on after a failure", columns, |[threads, processes, wrapped]| {
        let word = |seen: &Tried<Outcome>, says: fn(&Outcome) -> (String, bool)| match seen.as_ref().map(says) {
            Ok((says, true)) => Cell::good(says),
            Ok((says, false)) => Cell::bad(says),
            Err(_) => "not tried".into(), // The other table has room for why.
        };
        let survivors = |seen: &Outcome| (format!("{} of {}", seen.after, seen.siblings), all_go_on(seen));
        let caught = |seen: &Outcome| match (seen.ends.contains_key(CAUGHT), seen.ends.len()) {
            (false, _) => ("no".to_owned(), false),
            (true, 1) => ("caught".to_owned(), true),
            (true, _) => ("sometimes".to_owned(), false),
        };
        vec![word(threads, survivors), word(processes, survivors), word(wrapped, caught)]
    }));
    let columns = ["failure", "beside threads", "beside processes", "inside catch_unwind"];
    stage.table(table("How the victim ended", columns, |seen| {
        let ends = |seen: &Outcome| seen.ends.keys().cloned().collect::<Vec<_>>().join(", or ").into();
        seen.iter().map(|seen| Cell::of(seen, ends)).collect()
    }));
}

fn tell_facts(stage: &mut Stage, crashes: &[Crash]) -> Result<()> {
    let sum = |of: fn(&Outcome) -> usize| crashes.iter().flat_map(|(_, seen)| seen).flatten().map(of).sum::<usize>();
    let (asked, answered) = (sum(|seen| seen.siblings), sum(|seen| seen.before));
    stage.check("Before the failure, every sibling answers", answered == asked, format!("{answered} of {asked}"));
    let tried = sum(|seen| seen.ends.values().sum());
    let failed = tried - sum(|seen| seen.ends.get(CAME_BACK).copied().unwrap_or(0));
    let got = format!("{failed} of {tried}");
    stage.check("Every failure really happens: no victim runs past it", failed == tried, got);
    let processes = || crashes.iter().flat_map(|(_, [_, processes, _])| processes);
    let (of_all, go_on) = processes().fold((0, 0), |sum, seen| (sum.0 + seen.siblings, sum.1 + seen.after));
    let says = "After a failure in a process, every sibling process still answers with the right balance";
    stage.fact(says, go_on == of_all, format!("{go_on} of {of_all}"));
    let (dumps, (soft, hard)) = (sum(|seen| seen.dumps), getrlimit(Resource::RLIMIT_CORE)?);
    let got = format!("{dumps} dumps; the limit is {soft} bytes, {hard} at most");
    stage.check("No victim dumps core: its limit is 0", dumps == 0 && (soft, hard) == (0, 0), got);
    Ok(())
}

fn judge(crashes: &[Crash]) -> Ruling {
    let sides = crashes.iter().map(|(_, [threads, processes, _])| threads.as_ref().ok().zip(processes.as_ref().ok()));
    let tried: Vec<(&Outcome, &Outcome)> = sides.flatten().collect();
    if tried.is_empty() {
        return Ruling::skipped("No failure could be tried both in a thread and in a process");
    }
    let processes: usize = tried.iter().map(|(_, processes)| processes.after).sum();
    let threads: usize = tried.iter().map(|(threads, _)| threads.after).sum();
    let of_all: usize = tried.iter().map(|(_, processes)| processes.siblings).sum();
    let fatal = tried.iter().filter(|(threads, _)| threads.after == 0).count();
    if processes == of_all && fatal > 0 {
        let failures = tried.len();
        Ruling::holds(format!("{fatal} of {failures} failures end every sibling thread; none ends a sibling process"))
    } else if processes > threads {
        let condition = format!("{processes} of {of_all} sibling processes go on");
        Ruling::in_part(condition, format!("Of as many sibling threads, {threads} go on"))
    } else {
        Ruling::refuted(format!("Of {of_all} siblings each, {threads} threads and only {processes} processes go on"))
    }
}
