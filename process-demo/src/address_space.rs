//! Can one address hold two values at once?

mod pids;
mod sight;
mod values;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use pids::Pids;
use values::Values;

pub const DEMO: Demo = Demo {
    name: "address-space",
    question: "Can one address hold two values at once?",
    claims: &[Claim::OwnPid, Claim::OwnAddressSpace],
    rule: "An own pid is refuted if two living processes have one pid, or a child sees another than its maker; it is \
           qualified if a process keeps its pid while its program changes, since the pid then names the process and not \
           the program; else it holds. An own memory is refuted if a change of ordinary memory shows in the other \
           process; it is qualified if memory mapped as shared shows it, or if the kernel lets one process read the \
           other's; else it holds.",
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
    let Values { kept_apart, seen_shared, read_from_outside, .. } = values;
    let answer = if kept_apart { "Yes, one in each process" } else { "No" };
    let shared = if seen_shared { "memory mapped as shared held one value for both" } else { "so did shared memory" };
    let outside = match read_from_outside {
        Ok(value) => format!("the parent could read the child's {value} from outside"),
        Err(why) => format!("the parent could not read the child's from outside ({why})"),
    };
    let held = format!("ordinary memory held {} here and {} there", values.here, values.there);
    stage.answer(format!("{answer}: {held}; {shared}; {outside}."));
    Ok(())
}

fn judge_memory(stage: &mut Stage, values: &Values) -> Result<()> {
    let Values { here, there, kept_apart, seen_shared, read_from_outside, .. } = values;
    let (verdict, because) = match (kept_apart, seen_shared, read_from_outside) {
        (false, ..) => (Verdict::Refuted, "a change of ordinary memory showed in the other process".to_owned()),
        (true, false, Err(why)) => (Verdict::Holds, format!("no change showed, and reading was refused: {why}")),
        (true, shared, outside) => {
            let by_map = shared.then_some("memory mapped as shared showed each change to both");
            let by_reading = outside.is_ok().then_some("the kernel let the parent read the child's memory");
            let but: Vec<_> = by_map.into_iter().chain(by_reading).collect();
            let because = format!("one address held {here} here and {there} there, but {}", but.join(", and "));
            (Verdict::Qualified, because)
        }
    };
    stage.verdict(Claim::OwnAddressSpace, verdict, because)
}

fn judge_pids(stage: &mut Stage, pids: &Pids) -> Result<()> {
    let Pids { living, distinct, agreed, kept_by_exec, before, after } = pids;
    let (verdict, because) = if distinct < living || !agreed {
        (Verdict::Refuted, format!("{living} living processes had {distinct} pids"))
    } else if *kept_by_exec && before != after {
        let because = format!(
            "{living} living processes had {distinct} pids, but one kept its pid while its program changed from \
             '{before}' to '{after}'"
        );
        (Verdict::Qualified, because)
    } else {
        (Verdict::Holds, format!("{living} living processes had {distinct} pids"))
    };
    stage.verdict(Claim::OwnPid, verdict, because)
}
