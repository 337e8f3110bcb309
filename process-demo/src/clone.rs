//! Is a thread a process that shares, and what exactly?

mod ladder;
mod observe;

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage, Verdict};

use ladder::{Rows, climb};
use observe::OBSERVED;

pub const DEMO: Demo = Demo {
    name: "clone",
    question: "Is a thread a process that shares, and what exactly?",
    claims: &[Claim::ThreadIsALightProcess],
    rule: "It holds if the same system call makes both: without a flag all six observations say separate, as for fork; with \
           five flags all six say shared, as for std's thread; and each flag on the way changes something, and nothing \
           back. It is qualified if both ends are so, but a flag changes nothing or something back; refuted if an end is \
           not so; skipped if this machine refuses one of the rows.",
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
        "Linux makes processes and threads by one system call, clone(2); flags say what the new task shares with its \
         maker. In each row a task writes a variable, closes a descriptor, changes its directory, ignores a signal, asks \
         for its pid and ends; then its maker looks.",
    );
    let rows = climb(stage)?;
    if let Some((label, errno)) = rows.refused() {
        let because = format!("this machine refuses a task made by '{label}': {errno}");
        stage.answer(format!("Not seen here: {because}."));
        return stage.verdict(Claim::ThreadIsALightProcess, Verdict::Skipped, because);
    }
    let (none, all) = (&rows.ladder[0], &rows.ladder[rows.ladder.len() - 1]);
    let separate = stage.fact(
        "Without a flag nothing is shared, as after a fork",
        none.seen == Ok([false; OBSERVED.len()]) && rows.fork.seen == none.seen,
        counted(none.seen.ok()),
    );
    let shared = stage.fact(
        "With all five flags everything is, as for a thread of std's",
        all.seen == Ok([true; OBSERVED.len()]) && rows.std_thread.seen == all.seen,
        counted(all.seen.ok()),
    );
    let by_ladder = rows.by_ladder();
    let own = [
        ("VM", vec!["variable"]),
        ("FILES", vec!["descriptor"]),
        ("FS", vec!["directory"]),
        ("SIGHAND", vec!["handler"]),
        ("THREAD", vec!["pid", "waitpid"]),
    ];
    stage.fact("Each flag changes exactly its own", by_ladder == own, in_words(&by_ladder));
    let by_itself = rows.by_itself();
    stage.fact("So it does with as few others as possible", by_itself == own, in_words(&by_itself));
    let (refused, got) = rows.invalid();
    stage.fact("The kernel refuses SIGHAND without VM, and THREAD without SIGHAND", refused, got);
    let verdict = judge(stage, &rows, separate && shared)?;
    stage.answer(format!(
        "{}: without a flag clone makes a task that shares {} of {} things with its maker, with five flags one that shares \
         {}; what each flag adds: {}.",
        match verdict {
            Verdict::Holds => "It is",
            Verdict::Qualified => "It is, though not each flag adds something of its own",
            _ => "It was not seen to be",
        },
        shared_by(none.seen.ok()),
        OBSERVED.len(),
        shared_by(all.seen.ok()),
        in_words(&by_ladder),
    ));
    Ok(())
}

fn judge(stage: &mut Stage, rows: &Rows, ends: bool) -> Result<Verdict> {
    let changes = rows.by_ladder();
    let steps = changes.iter().filter(|(_, changed)| !changed.is_empty()).count();
    let flips: usize = changes.iter().map(|(_, changed)| changed.len()).sum();
    // Six changes make six shared things only if none was taken back.
    let verdict = match (ends, steps == changes.len() && flips == OBSERVED.len()) {
        (false, _) => Verdict::Refuted,
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::Qualified,
    };
    let because = match verdict {
        Verdict::Refuted => format!("clone does not make both; what each flag changes: {}", in_words(&changes)),
        _ => format!("one system call makes both, and {steps} flags change what is shared: {}", in_words(&changes)),
    };
    stage.verdict_by(Claim::ThreadIsALightProcess, verdict, because, flips as f64, "changes by five flags")?;
    Ok(verdict)
}

fn in_words(changes: &[(&str, Vec<&str>)]) -> String {
    let each = changes.iter().map(|(flag, changed)| {
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(" and ") };
        format!("{flag} {what}")
    });
    each.collect::<Vec<_>>().join(", ")
}

fn shared_by(seen: Option<[bool; OBSERVED.len()]>) -> String {
    seen.map_or("an unknown number".to_owned(), |seen| seen.iter().filter(|shared| **shared).count().to_string())
}

fn counted(seen: Option<[bool; OBSERVED.len()]>) -> String {
    format!("{} of {} shared", shared_by(seen), OBSERVED.len())
}
