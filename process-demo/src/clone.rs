//! Is a thread a process that shares, and what exactly?

mod observation;

use anyhow::Result;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use shared::{Cell, Claim, Column, Demo, Extras, Mood, Ruling, Snippet, Stage, Table};

use observation::{MadeBy, OBSERVED, Shared, observe};

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

const NONE: CloneFlags = CloneFlags::empty();
const VM: CloneFlags = CloneFlags::CLONE_VM;
const FILES: CloneFlags = CloneFlags::CLONE_FILES;
const FS: CloneFlags = CloneFlags::CLONE_FS;
const SIGHAND: CloneFlags = CloneFlags::CLONE_SIGHAND;
const THREAD: CloneFlags = CloneFlags::CLONE_THREAD;

/// In the order in which they are added, each with what it is to share.
const FLAGS: [(CloneFlags, &str, &[&str]); 5] = [
    (VM, "VM", &["memory"]),
    (FILES, "FILES", &["descriptors"]),
    (FS, "FS", &["directory"]),
    (SIGHAND, "SIGHAND", &["handlers"]),
    (THREAD, "THREAD", &["pid", "waitpid"]),
];

/// How a task was made, and what it was seen to share; or the kernel's reason to refuse it.
type Row = (String, Result<Shared, Errno>);

/// What each flag was seen to change, in the order of `FLAGS`.
type Changes = Vec<Vec<&'static str>>;

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Linux makes processes and threads by one system call, clone(2). Its flags say what the new task shares with its \
         parent. In each row a task writes to memory, closes a descriptor, changes its directory, ignores a signal, asks \
         for its pid and ends. Then its parent looks, and tries to wait for it as for a child.",
    );
    let mut rows = vec![("fork".to_owned(), observe(MadeBy::Fork)?)];
    for count in 0..=FLAGS.len() {
        let (label, shared) = row_by(FLAGS[..count].iter().map(|(flag, ..)| *flag).collect())?;
        rows.push((if count > 1 { format!("and {}", FLAGS[count - 1].1) } else { label }, shared));
    }
    rows.push(("thread of std".to_owned(), observe(MadeBy::StdThread)?));
    stage.show(table("From fork to thread, one flag more in each row", &rows));
    let few = rows_by([FILES, FS, VM | SIGHAND, VM | SIGHAND | THREAD])?;
    let one_fewer = rows_by([NONE, NONE, VM, VM | SIGHAND])?;
    stage.table(table("Each flag beside as few others as the kernel accepts", &few));
    if let Some((label, Err(errno))) = rows.iter().chain(&few).chain(&one_fewer).find(|(_, shared)| shared.is_err()) {
        stage.skip(format!("this machine refuses a task made by '{label}': {errno}"));
        return Ok(());
    }
    let ladder = &rows[1..=FLAGS.len() + 1]; // Between the fork and the thread.
    let by_ladder: Changes = ladder.windows(2).map(|pair| changed(&pair[0], &pair[1])).collect();
    let alone = one_fewer.iter().zip(&few).map(|(without, with)| changed(without, with));
    let by_itself: Changes = by_ladder.iter().take(1).cloned().chain(alone).collect(); // VM is alone on the ladder.
    judge_flags(stage, &by_ladder, &by_itself)?;
    judge(stage, &rows[..2], &rows[FLAGS.len() + 1..], &by_ladder)
}

fn row_by(flags: CloneFlags) -> Result<Row> {
    let names: Vec<&str> = FLAGS.iter().filter(|(flag, ..)| flags.contains(*flag)).map(|(_, name, _)| *name).collect();
    let label = if names.is_empty() { "no flag".to_owned() } else { names.join(" ") };
    Ok((label, observe(MadeBy::Clone(flags))?))
}

fn rows_by<const COUNT: usize>(flags: [CloneFlags; COUNT]) -> Result<Vec<Row>> {
    flags.into_iter().map(row_by).collect()
}

fn changed((_, from): &Row, (_, to): &Row) -> Vec<&'static str> {
    let (Ok(from), Ok(to)) = (from, to) else { return Vec::new() };
    OBSERVED.iter().zip(from.iter().zip(to)).filter(|(_, (from, to))| from != to).map(|(name, _)| *name).collect()
}

fn table(title: &str, rows: &[Row]) -> Table {
    let columns = [Column::label("made by")].into_iter().chain(OBSERVED.map(|name| Column::value(name, "")));
    let word = |name: &str, shared: bool| {
        let (says, mood) = match (name, shared) {
            ("pid", true) => ("the same", Mood::Good),
            ("waitpid", true) => ("no child", Mood::Good),
            ("waitpid", false) => ("a child", Mood::Neutral),
            (_, true) => ("shared", Mood::Good),
            (_, false) => ("own", Mood::Neutral),
        };
        Cell::Word { says: says.to_owned(), mood }
    };
    let cells = |(label, shared): &Row| {
        let cell = |index: usize| match shared {
            Ok(shared) => word(OBSERVED[index], shared[index]),
            Err(errno) => Cell::Skipped { skipped: errno.to_string() },
        };
        [Cell::Text(label.clone())].into_iter().chain((0..OBSERVED.len()).map(cell)).collect()
    };
    Table { title: title.to_owned(), columns: columns.collect(), rows: rows.iter().map(cells).collect() }
}

fn judge_flags(stage: &mut Stage, by_ladder: &Changes, by_itself: &Changes) -> Result<()> {
    let own = FLAGS.map(|(.., own)| own.to_vec());
    stage.fact("Each added flag makes exactly its own thing shared", *by_ladder == own, in_words(by_ladder));
    stage.fact("Each does the same beside as few others as possible", *by_itself == own, in_words(by_itself));
    let invalid = rows_by([SIGHAND, THREAD, VM | THREAD])?;
    let outcome = |(label, shared): &Row| match shared {
        Ok(_) => format!("{label}: accepted"),
        Err(errno) => format!("{label}: {errno:?}"),
    };
    let got = invalid.iter().map(outcome).collect::<Vec<_>>().join("; ");
    let refused = invalid.iter().all(|(_, shared)| *shared == Err(Errno::EINVAL));
    stage.fact("The kernel refuses SIGHAND without VM, and THREAD without SIGHAND", refused, got);
    Ok(())
}

/// By both ends of the ladder, each beside what it is to be like, and by what each flag changes.
fn judge(stage: &mut Stage, forks: &[Row], threads: &[Row], changes: &Changes) -> Result<()> {
    let shared_by = |(_, shared): &Row| shared.map_or(0, |shared| shared.iter().filter(|shared| **shared).count());
    let [none, all] = [forks, threads].map(|rows| format!("{} of {}", shared_by(&rows[0]), OBSERVED.len()));
    let separate = forks.iter().all(|(_, shared)| *shared == Ok([false; OBSERVED.len()]));
    let shared = threads.iter().all(|(_, shared)| *shared == Ok([true; OBSERVED.len()]));
    stage.fact("Without a flag nothing is shared, as after a fork", separate, format!("{none} shared"));
    let says = "With all five flags everything is shared, as with a thread of std";
    stage.fact(says, shared, format!("{all} shared"));
    let each = in_words(changes);
    let steps = changes.iter().filter(|changed| !changed.is_empty()).count();
    let flips: usize = changes.iter().map(Vec::len).sum();
    let headline = format!("{steps} of {} flags change what is shared", changes.len());
    // Six changes make six shared things only if none was taken back.
    let (headline, ruling) = match (separate && shared, steps == changes.len() && flips == OBSERVED.len()) {
        (false, _) => (headline, Ruling::refuted(format!("clone does not make both; what each flag changes: {each}"))),
        (true, true) => {
            let first = changes.iter().map(|changed| changed[0]).collect::<Vec<_>>().join(", ");
            let because = format!("One call makes both, and {steps} flags decide what they share: {first}");
            (format!("{steps} flags turn a fork into a thread"), Ruling::holds(because))
        }
        (true, false) => {
            let condition = "a flag changes nothing, or makes something separate again";
            let because = format!("One call makes both; what each flag changes: {each}");
            (headline, Ruling::in_part(condition, because))
        }
    };
    stage.headline(headline);
    stage.rule(Claim::ThreadIsALightProcess, ruling.by(flips as f64, "changes by five flags"))?;
    let answer = if separate && shared { "Yes" } else { "No" };
    stage.answer(format!(
        "{answer}. With five flags clone makes a task that shares {all} things with its parent, as a thread does; \
         without, {none}, as after a fork."
    ));
    stage.advise("Take std's thread or `child`; copy `task` only to try single flags.");
    Ok(())
}

fn in_words(changes: &Changes) -> String {
    let each = FLAGS.iter().zip(changes).map(|((_, flag, _), changed)| {
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(" and ") };
        format!("{flag} {what}")
    });
    each.collect::<Vec<_>>().join(", ")
}
