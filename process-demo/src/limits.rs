//! What can be limited and forbidden to a process, and not to a thread?

mod binds;
mod crew;
mod more;
mod order;
mod places;
mod secret;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use places::Places;

pub const DEMO: Demo = Demo {
    name: "limits",
    question: "What can be limited and forbidden to a process, and not to a thread?",
    claims: &[Claim::MoreThanAThreadCanHave, Claim::ManagementDiffers],
    rule: "Processes suit tasks that need more than a thread can have if four of them were counted to get more of each \
           resource than four threads of one process; qualified if of some only; refuted if of none; skipped if none \
           could be counted. Management differs if everything that one thread set for itself bound its sibling threads, \
           and nothing that one process set bound its sibling processes; it is qualified if some settings did so and \
           others stayed with the one thread, as with the one process; refuted if none bound threads and processes \
           differently; skipped if none could be tried with both.",
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
    let places = Places::make(stage.directory())?;
    let settings = binds::show(stage, &places)?;
    let resources = more::show(stage, &places)?;
    let secret = secret::show(stage, &places)?;
    judge_resources(stage, &resources)?;
    judge_management(stage, &settings)?;
    let tried: Vec<_> = settings.iter().filter_map(binds::Row::both).collect();
    let (read_by_threads, threads) = secret.by_threads;
    let (read_by_processes, processes) = secret.by_processes;
    stage.answer(format!(
        "Of {} things that one process limited or forbade itself, {} left its sibling processes free; set by one thread, {} \
         of them bound all its sibling threads. A secret was read in {read_by_threads} of {threads} cases by a sibling \
         thread, and in {read_by_processes} of {processes} by a sibling process.",
        tried.len(),
        tried.iter().filter(|(_, processes)| processes.siblings == 0).count(),
        tried.iter().filter(|(threads, _)| threads.binds_all()).count(),
    ));
    Ok(())
}

fn judge_resources(stage: &mut Stage, resources: &[more::Row]) -> Result<()> {
    let counted: Vec<_> = resources.iter().filter_map(|row| Some((row.name, row.got.as_ref().ok()?))).collect();
    let more = counted.iter().filter(|(_, got)| got.by_processes > got.by_threads).count();
    let verdict = match more {
        _ if counted.is_empty() => Verdict::Skipped,
        0 => Verdict::Refuted,
        _ if more == counted.len() => Verdict::Holds,
        _ => Verdict::Qualified,
    };
    let each = counted.iter().map(|(name, got)| format!("{} and {} {name}", got.by_threads, got.by_processes));
    let each: Vec<String> = each.collect();
    let because = if each.is_empty() {
        "nothing could be counted".to_owned()
    } else {
        format!("{0} threads of one process and {0} processes got {1}", more::WORKERS, each.join(", "))
    };
    stage.verdict(Claim::MoreThanAThreadCanHave, verdict, because)
}

fn judge_management(stage: &mut Stage, settings: &[binds::Row]) -> Result<()> {
    let tried: Vec<_> = settings.iter().filter_map(|row| Some((row.setting.name, row.both()?))).collect();
    let differ =
        tried.iter().filter(|(_, (threads, processes))| threads.binds_all() && processes.siblings == 0).count();
    let verdict = match differ {
        _ if tried.is_empty() => Verdict::Skipped,
        0 => Verdict::Refuted,
        _ if differ == tried.len() => Verdict::Holds,
        _ => Verdict::Qualified,
    };
    let because = if tried.is_empty() {
        "nothing could be set on both sides".to_owned()
    } else {
        let alone: Vec<&str> =
            tried.iter().filter(|(_, (threads, _))| threads.siblings == 0).map(|(name, _)| *name).collect();
        let alone = if alone.is_empty() { "nothing".to_owned() } else { alone.join(", ") };
        format!(
            "{differ} of {} things that were set bound all sibling threads and no sibling process; with its one thread \
             stayed: {alone}",
            tried.len()
        )
    };
    stage.verdict(Claim::ManagementDiffers, verdict, because)
}
