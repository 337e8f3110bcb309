//! Is a thread a process that shares, and what exactly?

mod ladder;
mod observe;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage};

use ladder::{Row, Rows, climb};
use observe::OBSERVED;

pub const DEMO: Demo = Demo {
    name: "clone",
    question: "Is a thread a process that shares, and what exactly?",
    claims: &[Claim::ThreadIsALightProcess],
    rule: "It holds if one system call makes both: without a flag all six observations say separate, as after a fork; with \
           five flags all six say shared, as for a thread of std; and each flag that is added makes something shared, \
           and nothing separate again. It holds in part if both ends are so, but a flag changes nothing or makes \
           something separate again. It is refuted if an end is not so, and skipped if this machine refuses one of the \
           rows.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/task.rs", text: include_str!("../snippets/task.rs") },
        Snippet { path: "process-demo/snippets/page.rs", text: include_str!("../snippets/page.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Linux makes processes and threads by one system call, clone(2). Its flags say what the new task shares with its \
         parent. In each row a task writes to memory, closes a descriptor, changes its directory, ignores a signal, asks \
         for its pid and ends. Then its parent looks, and tries to wait for it as for a child.",
    );
    let rows = climb(stage)?;
    if let Some((label, errno)) = rows.refused() {
        stage.skip(format!("this machine refuses a task made by '{label}': {errno}"));
        return Ok(());
    }
    let (none, all) = (&rows.ladder[0], &rows.ladder[rows.ladder.len() - 1]);
    let separate = stage.fact(
        "Without a flag nothing is shared, as after a fork",
        none.seen == Ok([false; OBSERVED.len()]) && rows.fork.seen == none.seen,
        format!("{} shared", in_numbers(none)),
    );
    let shared = stage.fact(
        "With all five flags everything is shared, as with a thread of std",
        all.seen == Ok([true; OBSERVED.len()]) && rows.std_thread.seen == all.seen,
        format!("{} shared", in_numbers(all)),
    );
    let by_ladder = rows.by_ladder();
    let own = [
        ("VM", vec!["memory"]),
        ("FILES", vec!["descriptors"]),
        ("FS", vec!["directory"]),
        ("SIGHAND", vec!["handlers"]),
        ("THREAD", vec!["pid", "waitpid"]),
    ];
    stage.fact("Each added flag makes exactly its own thing shared", by_ladder == own, in_words(&by_ladder));
    let by_itself = rows.by_itself();
    stage.fact("Each does the same beside as few others as possible", by_itself == own, in_words(&by_itself));
    let (refused, got) = rows.invalid();
    stage.fact("The kernel refuses SIGHAND without VM, and THREAD without SIGHAND", refused, got);
    judge(stage, &rows, separate && shared)?;
    stage.answer(format!(
        "{}. With five flags clone makes a task that shares {} things with its parent, as a thread does; without, {}, as \
         after a fork.",
        if separate && shared { "Yes" } else { "No" },
        in_numbers(all),
        in_numbers(none),
    ));
    stage.advise("Take std's thread or `child`; copy `task` only to try single flags.");
    Ok(())
}

fn judge(stage: &mut Stage, rows: &Rows, ends: bool) -> Result<()> {
    let changes = rows.by_ladder();
    let steps = changes.iter().filter(|(_, changed)| !changed.is_empty()).count();
    let flips: usize = changes.iter().map(|(_, changed)| changed.len()).sum();
    // Six changes make six shared things only if none was taken back.
    let (headline, ruling) = match (ends, steps == changes.len() && flips == OBSERVED.len()) {
        (false, _) => {
            let because = format!("clone does not make both; what each flag changes: {}", in_words(&changes));
            (format!("{steps} of {} flags change what is shared", changes.len()), Ruling::refuted(because))
        }
        (true, true) => {
            let first: Vec<_> = changes.iter().map(|(_, changed)| changed[0]).collect();
            let because =
                format!("One call makes both, and {steps} flags decide what they share: {}", first.join(", "));
            (format!("{steps} flags turn a fork into a thread"), Ruling::holds(because))
        }
        (true, false) => {
            let condition = "a flag changes nothing, or makes something separate again";
            let because = format!("One call makes both; what each flag changes: {}", in_words(&changes));
            (format!("{steps} of {} flags change what is shared", changes.len()), Ruling::in_part(condition, because))
        }
    };
    stage.headline(headline);
    stage.rule(Claim::ThreadIsALightProcess, ruling.by(flips as f64, "changes by five flags"))
}

fn in_words(changes: &[(&str, Vec<&str>)]) -> String {
    let each = changes.iter().map(|(flag, changed)| {
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(" and ") };
        format!("{flag} {what}")
    });
    each.collect::<Vec<_>>().join(", ")
}

/// How many things are shared, of how many.
fn in_numbers(row: &Row) -> String {
    let shared = row.seen.map_or(0, |seen| seen.iter().filter(|shared| **shared).count());
    format!("{shared} of {}", OBSERVED.len())
}
