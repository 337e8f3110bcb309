//! Can one address hold two values at once?

mod pids;
mod sight;
mod values;

use anyhow::Result;
use shared::number::counted;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage};

use pids::Pids;
use values::Values;

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "Can one address hold two values at once?",
    claims: &[Claim::OwnPid, Claim::OwnAddressSpace],
    rule: "That a process has its own pid is refuted if two living processes have one pid, or if a child sees another \
           pid than its parent was given. It holds except at an exec if a process keeps its pid while its program \
           changes: the pid then names the process, not the program. Else it holds. That a process has its own memory \
           is refuted if a change of ordinary memory shows in the other process. It holds except for memory mapped as \
           shared if changes show there, and except for a parent that reads its child if the kernel lets it. Else it \
           holds.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/page.rs", text: include_str!("../snippets/page.rs") },
        Snippet {
            path: "process-demo/snippets/foreign_memory.rs",
            text: include_str!("../snippets/foreign_memory.rs"),
        },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let values = values::show(stage)?;
    judge_memory(stage, &values)?;
    let pids = pids::show(stage)?;
    judge_pids(stage, &pids)?;
    let Values { here, there, kept_apart, seen_shared, .. } = values;
    stage.headline(format!("{} at one address, after a fork", counted(if here == there { 1 } else { 2 }, "value")));
    let answer = if kept_apart { "Yes, one in each process" } else { "No" };
    let shared = if seen_shared { "held one value for both" } else { "did not show every change to both" };
    stage.answer(format!(
        "{answer}: ordinary memory held {here} in the parent and {there} in the child. Memory mapped as shared {shared}."
    ));
    stage.advise("Copy `page` for memory that a parent shares with its child.");
    Ok(())
}

fn judge_memory(stage: &mut Stage, values: &Values) -> Result<()> {
    let Values { here, there, kept_apart, seen_shared, read_from_outside } = values;
    let seen = format!("the same address held {here} in the parent and {there} in the child");
    let ruling = match (kept_apart, seen_shared, read_from_outside) {
        (false, ..) => Ruling::refuted(format!("A change of ordinary memory showed in the other process: {seen}")),
        (true, false, Err(_)) => Ruling::holds(format!("{seen}, and the parent could not read its child")),
        (true, true, Err(_)) => Ruling::except("memory mapped as shared", seen),
        (true, false, Ok(_)) => Ruling::except("a parent that may read its child", seen),
        (true, true, Ok(_)) => Ruling::except("memory mapped as shared, and a parent that may read its child", seen),
    };
    stage.rule(Claim::OwnAddressSpace, ruling)
}

fn judge_pids(stage: &mut Stage, pids: &Pids) -> Result<()> {
    let Pids { living, distinct, agreed, kept_by_exec, before, after } = pids;
    let seen = format!("{living} living processes had {}", counted(*distinct, "pid"));
    let ruling = if distinct < living {
        Ruling::refuted(seen)
    } else if !agreed {
        Ruling::refuted(format!("{seen}, but a child saw another pid than its parent was given"))
    } else if *kept_by_exec && before != after {
        let because = format!("{seen}; one pid ran '{before}', then '{after}'");
        Ruling::except("at an exec, where the pid stays and the program changes", because)
    } else {
        Ruling::holds(seen)
    };
    stage.rule(Claim::OwnPid, ruling)
}
