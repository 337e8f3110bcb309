//! Two threads add one each. Can the total be one?

mod cost;
mod trials;

use anyhow::Result;
use shared::number::count;
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table};

use trials::{Forced, Kept, Luck, THREADS};

pub const DEMO: Demo = Demo {
    name: "lost-update",
    question: "Two threads add one each. Can the total be one?",
    claims: &[Claim::SharedVariablesRace, Claim::SynchronizationPreventsInterference],
    rule: "That shared variables race holds if every forced try lost an addition, and the same two additions, one after \
           the other, lost none. It is refuted if neither force nor luck lost any. Anything else is undecided. \
           Synchronization prevents interference if every fix kept every addition; one lost addition refutes it. It \
           is undecided if nothing was lost without a fix either.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "race-demo/snippets/lost_update.rs", text: include_str!("../snippets/lost_update.rs") },
        Snippet { path: "race-demo/snippets/owned_counter.rs", text: include_str!("../snippets/owned_counter.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("To add one is to read the total, add, and write it back. Here both threads read before either writes.");
    let forced = trials::force(stage);
    let luck = trials::try_luck(stage);
    let fixes = trials::fix(stage);
    cost::compare(stage)?;
    stage.show(table(&forced, &luck, &fixes));
    conclude(stage, &forced, &luck, &fixes)
}

fn table(forced: &Forced, luck: &[Luck; 2], fixes: &[Kept]) -> Table {
    let row = |how: &str, additions: u64, lost: u64| {
        let share = 100.0 * lost as f64 / additions as f64;
        vec![Cell::Text(how.to_owned()), Cell::Number(additions as f64), Cell::Number(lost as f64), Cell::Number(share)]
    };
    let [plain, yielding] = luck;
    let without = [
        row("both read before either writes", 2 * forced.tries, forced.lost),
        row("read, write: by luck", plain.additions, plain.lost),
        row("read, yield, write: by luck", yielding.additions, yielding.lost),
        row("one thread after the other", 2 * forced.tries, forced.lost_in_order),
    ];
    let fixed = fixes.iter().map(|kept| row(kept.by, kept.sent, kept.sent.abs_diff(kept.total)));
    let counts = ["additions", "lost"].map(|name| Column::value(name, ""));
    Table {
        title: "How many additions vanish".to_owned(),
        columns: [Column::label("how")].into_iter().chain(counts).chain([Column::value("share", "%")]).collect(),
        rows: without.into_iter().chain(fixed).collect(),
    }
}

fn conclude(stage: &mut Stage, forced: &Forced, luck: &[Luck; 2], fixes: &[Kept]) -> Result<()> {
    let Forced { tries, lost, lost_in_order } = *forced;
    let by_luck = luck.iter().map(|luck| luck.lost).sum();
    let pairs = format!("{} of {} pairs", count(lost), count(tries));
    let race = match (lost, lost_in_order, by_luck) {
        (all, 0, _) if all == tries => Ruling::holds(format!(
            "When both threads read before either wrote, {pairs} lost one of their two additions"
        )),
        (0, 0, 0) => {
            Ruling::refuted(format!("No addition was lost, neither by luck nor in {} forced pairs", count(tries)))
        }
        _ => {
            Ruling::undecided(format!("{pairs} lost an addition when forced, and {lost_in_order} one after the other"))
        }
    };
    stage.rule(Claim::SharedVariablesRace, race.by(lost as f64 / tries as f64, "of tries"))?;
    let (sent, total): (u64, u64) =
        (fixes.iter().map(|kept| kept.sent).sum(), fixes.iter().map(|kept| kept.total).sum());
    let exact = fixes.iter().all(|kept| kept.total == kept.sent);
    let kept = if exact { format!("all {}", count(sent)) } else { format!("{} of {}", count(total), count(sent)) };
    let because = format!("{} fixes kept {kept} additions of {THREADS} threads", fixes.len());
    let prevented = match (exact, lost + by_luck) {
        (false, _) => Ruling::refuted(because),
        (true, 0) => Ruling::undecided("Nothing was lost without a fix either"),
        (true, _) => Ruling::holds(because),
    };
    stage.rule(Claim::SynchronizationPreventsInterference, prevented)?;
    stage.headline(format!("{} of {} forced totals were 1", count(lost), count(tries)));
    let can = if lost > 0 { "Yes: in" } else { "It was not seen: in" };
    let [plain, _] = luck;
    stage.answer(format!("{can} {pairs} when both read first. {}. The fixes kept {kept} additions.", plain.in_words()));
    stage.advise("Add by fetch_add, never by load and store: copy `lost_update`.");
    Ok(())
}
