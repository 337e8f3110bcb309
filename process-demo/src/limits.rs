//! What can be limited and forbidden to a process, and not to a thread?

mod binds;
mod crew;
mod more;
mod order;
mod places;
mod secret;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage};

use places::Places;

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
    let places = Places::make(stage.directory())?;
    let settings = binds::show(stage, &places)?;
    let resources = more::show(stage, &places)?;
    let secret = secret::show(stage, &places)?;
    stage.rule(Claim::MoreThanAThreadCanHave, judge_resources(&resources))?;
    let tried: Vec<_> = settings.iter().filter_map(|row| Some((row.setting.name, row.both()?))).collect();
    let differ: Vec<&str> = tried.iter().filter(|(_, both)| differs(both)).map(|(name, _)| *name).collect();
    stage.rule(Claim::ManagementDiffers, judge_management(differ.len(), tried.len()))?;
    let (read_by_threads, threads) = secret.by_threads;
    let (read_by_processes, processes) = secret.by_processes;
    stage.note(format!(
        "A sibling thread read the secret in {read_by_threads} of {threads} cases, a sibling process in \
         {read_by_processes} of {processes}."
    ));
    stage.headline(format!("{} of {} limits bind all sibling threads", differ.len(), tried.len()));
    stage.answer(match differ.as_slice() {
        [] => format!("None of {} settings binds all sibling threads and no sibling process.", tried.len()),
        names => format!(
            "{} of {} settings: {}. Set by one thread, each binds all its siblings.",
            names.len(),
            tried.len(),
            names.join(", ")
        ),
    });
    stage.advise("Put what must be limited into a child process: copy `limits`.");
    Ok(())
}

/// It bound all siblings among threads, and none among processes.
fn differs((threads, processes): &(&binds::Bound, &binds::Bound)) -> bool {
    threads.binds_all() && processes.siblings == 0
}

fn judge_resources(resources: &[more::Row]) -> Ruling {
    let counted: Vec<_> = resources.iter().filter_map(|row| Some((row, row.got.as_ref().ok()?))).collect();
    let (more, not_more): (Vec<_>, Vec<_>) =
        counted.iter().copied().partition(|(_, got)| got.by_processes > got.by_threads);
    let names =
        |rows: &[(&more::Row, &more::Got)]| rows.iter().map(|(row, _)| row.what).collect::<Vec<_>>().join(" and ");
    let Some((first, got)) = more.first() else {
        return match counted.as_slice() {
            [] => Ruling::skipped("Nothing could be counted"),
            all => Ruling::refuted(format!("Four processes get no more than four threads of {}", names(all))),
        };
    };
    let because = format!(
        "Four processes get {} {}, four threads of one process {}",
        got.by_processes, first.name, got.by_threads
    );
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
