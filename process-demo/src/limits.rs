//! What can be limited and forbidden to a process, and not to a thread?

mod settings;

use std::cmp::Reverse;

use anyhow::{Context, Result};
use nix::errno::Errno;
use process_demo::crew::{Crew, Kind, NOTHING, Reply};
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, tried};

use settings::{Act, BURN, Places, SETTINGS, read_private, read_public, read_public_only};

pub const DEMO: Demo = Demo {
    name: "limits",
    question: "What can be limited or forbidden for one process, but not for one thread?",
    claims: &[Claim::ManagementDiffers],
    rule: "Management differs if every setting that one worker makes for itself binds all its sibling threads and no \
           sibling process; in part if only some settings do; refuted if none does; skipped if none could be tried with \
           both.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/limits.rs", text: include_str!("../snippets/limits.rs") },
        Snippet { path: "process-demo/snippets/sandbox.rs", text: include_str!("../snippets/sandbox.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Four workers: threads of one process, then a process each. One of them sets a limit for itself, or gives a \
         privilege up, and runs into it. Then each of the others tries the same. (Where the limit is CPU time, the one \
         computes until it is noticed, and the others need only answer.)",
    );
    let places = Places::make(stage.directory()).context("making files to read")?;
    let mut settings = Vec::new();
    for (name, set, probe) in SETTINGS {
        let try_on = |kind| tried(set_and_probe(kind, &places, set, probe)).context(name);
        let [threads, processes] =
            [try_on(Kind::Threads)?, try_on(Kind::Processes)?].map(|side| side.and_then(|seen| seen));
        settings.push((name, threads.and_then(|threads| Ok([threads, processes?]))));
    }
    settings.sort_by_key(|(_, seen)| Reverse(seen.as_ref().map(|[threads, _]| threads.siblings).ok()));
    stage.show(table(&settings));
    stage.note(
        "By setresuid the kernel changes the user of the one thread that calls it. The C library's function of that name \
         has every thread of the process call it, by a signal to each.",
    );
    let own = || settings.iter().flat_map(|(_, seen)| seen).flatten().map(|bound| &bound.own);
    stage.all("Whoever sets something is bound by it", own().flatten().count(), own().count());
    tell_what_stays_allowed(stage, &places)?;
    tell_what_differs(stage, &settings)
}

const SIBLINGS: usize = 3;
const FREE: Reply = Reply::Done(0);

/// Whom a setting bound.
struct Bound {
    /// How it bound the one who set it, if it did.
    own: Option<String>,
    siblings: usize,
}

/// A setting; whom it bound among threads, and among processes.
type Setting = (&'static str, Tried<[Bound; 2]>);

fn set_and_probe(kind: Kind, places: &Places, set: Act, probe: Act) -> Result<Tried<Bound>> {
    let mut crew = Crew::of(kind, 1 + SIBLINGS, || Ok(places))?;
    // Here it may be in force for everybody, as no_new_privs is in many containers; or there is one CPU.
    if let Some(bound) = crew.ask_all(probe, NOTHING)?.iter().find(|reply| **reply != FREE) {
        return Ok(Err(format!("without it too: {}", in_words(bound))));
    }
    crew.ask(0, set, NOTHING)?.value()?;
    let reply = crew.ask(0, probe, BURN)?;
    let own = (reply != FREE).then(|| in_words(&reply));
    let siblings = crew.ask_all(probe, NOTHING)?.iter().skip(1).filter(|reply| **reply != FREE).count();
    Ok(Ok(Bound { own, siblings }))
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
    let siblings = |Bound { siblings, .. }: &Bound| {
        let says = format!("{siblings} of {SIBLINGS}");
        if *siblings == 0 { Cell::good(says) } else { Cell::bad(says) }
    };
    let row = |(name, seen): &Setting| match seen {
        Ok([threads, processes]) => {
            let own = threads.own.as_deref().unwrap_or("nothing");
            vec![(*name).into(), own.into(), siblings(threads), siblings(processes)]
        }
        Err(why) => vec![(*name).into(), Cell::Nothing, Cell::Skipped { skipped: why.clone() }],
    };
    let title = "One of four workers sets it for itself: which siblings does it bind";
    let columns = ["setting", "on itself", "sibling threads", "sibling processes"];
    Table::new(title, columns, settings.iter().map(row))
}

/// A sandbox that forbids everything would be easy.
fn tell_what_stays_allowed(stage: &mut Stage, places: &Places) -> Result<()> {
    let mut crew = Crew::of(Kind::Processes, 1, || Ok(places))?;
    if let Err(why) = tried(crew.ask(0, read_public_only, NOTHING)?.value())? {
        stage.note(format!("This kernel has no Landlock for us: {why}."));
        return Ok(());
    }
    let (public, private) = (crew.ask(0, read_public, NOTHING)?, crew.ask(0, read_private, NOTHING)?);
    let says = "Under Landlock a worker reads the file in its one directory, not one beside it";
    let got = format!("{} and {}", if public == FREE { "read" } else { "not read" }, in_words(&private));
    let is_refused = matches!(private, Reply::Failed { errno: Errno::EACCES, .. });
    stage.fact(says, public == FREE && is_refused, got);
    Ok(())
}

fn tell_what_differs(stage: &mut Stage, settings: &[Setting]) -> Result<()> {
    let tried: Vec<_> = settings.iter().filter_map(|(name, seen)| Some((*name, seen.as_ref().ok()?))).collect();
    let differs =
        |(_, [threads, processes]): &&(&str, &[Bound; 2])| threads.siblings == SIBLINGS && processes.siblings == 0;
    let names: Vec<&str> = tried.iter().filter(differs).map(|(name, _)| *name).collect();
    let all = tried.len();
    stage.rule(Claim::ManagementDiffers, judge(names.len(), all))?;
    stage.headline(format!("{} of {all} limits bind all sibling threads", names.len()));
    stage.answer(match names.as_slice() {
        [] => format!("None of {all} settings binds all sibling threads and no sibling process."),
        names => format!(
            "{} of {all} settings: {}. Set by one thread, each binds all its siblings.",
            names.len(),
            names.join(", ")
        ),
    });
    stage.advise("Put what must be limited into a child process: copy `limits`.");
    Ok(())
}

fn judge(differ: usize, tried: usize) -> Ruling {
    let because = "If one thread sets these, they bind all its siblings; if one process does, none";
    match differ {
        _ if tried == 0 => Ruling::skipped("Nothing could be set on both sides"),
        0 => Ruling::refuted(format!("None of {tried} settings binds all sibling threads and no sibling process")),
        _ if differ == tried => Ruling::holds(format!("All {tried} settings bind every sibling thread and no process")),
        _ => Ruling::in_part(format!("true of {differ} of {tried} settings"), because),
    }
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn each_verdict_can_be_reached() {
        assert_eq!(
            [(0, 0), (0, 9), (5, 9), (9, 9)].map(|(differ, tried)| judge(differ, tried).verdict),
            [Verdict::Skipped, Verdict::Refuted, Verdict::Qualified, Verdict::Holds,]
        );
    }
}
