//! Two threads add one each. Can the total be one?

mod mechanisms;

use std::cell::Cell as Count;
use std::sync::atomic::AtomicU64;
use std::thread;

use anyhow::Result;
use race_demo::lost_update::{add_in_two_steps, lost, lost_by_luck, together};
use shared::measure::{Contest, Ready, Rival, Timing};
use shared::number::{count, three_digits};
use shared::{Cell, Claim, Column, Demo, Extras, Placement, Ruling, Snippet, Stage, Table};

use mechanisms::{Adders, FIXES, Mechanism, RACY, THREADS};

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
    let [forced, in_order] = force(stage);
    stage.note(
        "Now without the barrier: nothing makes the two threads meet but luck. To yield between read and write widens \
         the window.",
    );
    let [by_luck, yielding] = try_luck(stage);
    let fixed = fix(stage)?;
    stage.note("What each costs: two threads add to one total, half of the additions each, on one CPU and on two.");
    compare_costs(stage)?;
    let without = [forced, by_luck, yielding, in_order];
    let counts = ["additions", "lost"].map(|name| Column::value(name, ""));
    stage.show(Table {
        title: "How many additions vanish".to_owned(),
        columns: [Column::label("how")].into_iter().chain(counts).chain([Column::value("share", "%")]).collect(),
        rows: without.iter().chain(&fixed).map(Additions::row).collect(),
    });
    judge(stage, &without, &fixed)
}

/// What became of the additions that were made by one mechanism.
struct Additions {
    how: &'static str,
    made: u64,
    lost: u64,
}

impl Additions {
    fn share(&self) -> f64 {
        100.0 * self.lost as f64 / self.made as f64
    }

    fn row(&self) -> Vec<Cell> {
        let numbers = [self.made as f64, self.lost as f64, self.share()].map(Cell::Number);
        [Cell::Text(self.how.to_owned())].into_iter().chain(numbers).collect()
    }
}

/// Two additions, over and over: both read before either writes; then one after the other.
fn force(stage: &mut Stage) -> [Additions; 2] {
    let tries = stage.by_effort(200, 1000, 10_000);
    let of = |some| format!("{} of {}", count(some), count(tries));
    let lost = (0..tries).filter(|_| lost() == 1).count() as u64;
    stage.fact("If both threads read before either writes, the total of 1 + 1 is 1", lost == tries, of(lost));
    let one_after_the_other = || {
        let total = AtomicU64::new(0);
        (0..2).for_each(|_| together(1, || add_in_two_steps(&total, || ())));
        total.into_inner()
    };
    let kept = (0..tries).filter(|_| one_after_the_other() == 2).count() as u64;
    stage.fact("If one thread adds after the other, the same code makes 2", kept == tries, of(kept));
    [
        Additions { how: "both read before either writes", made: 2 * tries, lost },
        Additions { how: "one thread after the other", made: 2 * tries, lost: tries - kept },
    ]
}

/// With nothing between the read and the write, and with a yield there.
fn try_luck(stage: &mut Stage) -> [Additions; 2] {
    let (tries, each) = stage.by_effort((20, 100_000), (200, 1_000_000), (2000, 1_000_000));
    let mut rows = Vec::new();
    let mut repeat = |how, steps: &str, each: u64, meanwhile: fn()| {
        let (mut done, mut that_lost, mut first, mut lost) = (0, 0, Cell::Nothing, 0);
        while done < tries || (lost == 0 && done < 10 * tries) {
            let vanished = lost_by_luck(each, meanwhile);
            done += 1;
            if vanished > 0 && lost == 0 {
                first = Cell::Number(done as f64);
            }
            that_lost += u64::from(vanished > 0);
            lost += vanished;
        }
        let additions = Additions { how, made: 2 * each * done, lost };
        let tried = [Cell::Text(steps.to_owned()), Cell::Number(done as f64), Cell::Number(that_lost as f64), first];
        rows.push(tried.into_iter().chain(additions.row().split_off(1)).collect());
        additions
    };
    let by_luck = repeat("read, write: by luck", "read, write", each, || ());
    let yielding = repeat("read, yield, write: by luck", "read, yield, write", each / 200, thread::yield_now);
    let counts = ["tries", "that lost", "first at", "additions", "lost"].map(|name| Column::value(name, ""));
    let columns = [Column::label("steps")].into_iter().chain(counts).chain([Column::value("share", "%")]);
    stage.table(Table { title: "Two threads, by luck".to_owned(), columns: columns.collect(), rows });
    if by_luck.lost == 0 {
        stage.note(
            "Luck alone was not enough. On one CPU it takes a preemption between the read and the write, and where the \
             compiler makes one instruction of the two, nothing comes between.",
        );
    }
    [by_luck, yielding]
}

fn fix(stage: &mut Stage) -> Result<Vec<Additions>> {
    let each = stage.by_effort(5_000, 100_000, 1_000_000);
    let made = THREADS * each;
    let keep = |(how, total_of): Mechanism| {
        let total = total_of(Adders::Together { each })?;
        let says = format!("{how}: {THREADS} threads of {} additions make {}", count(each), count(made));
        stage.fact(says, total == made, count(total));
        Ok(Additions { how, made, lost: made.abs_diff(total) })
    };
    FIXES.into_iter().map(keep).collect()
}

/// Only the full report shows it.
fn compare_costs(stage: &mut Stage) -> Result<()> {
    let lost = Count::new(0);
    let mut contest = Contest::new("One addition, while another thread adds too", "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        for (label, total_of) in [RACY].into_iter().chain(FIXES) {
            let lost = &lost;
            let turn = move |additions, peer| {
                let total = total_of(Adders::Pair { additions, peer })?;
                // What losing looks like in a check: one addition survives at least. How many vanish is counted.
                let right = if label == RACY.0 { (1..=additions).contains(&total) } else { total == additions };
                lost.set(lost.get() + additions.saturating_sub(total));
                Ok(if right { additions } else { 0 })
            };
            contest.add(Rival::of_threads(label, placement, move |pinning| {
                Ok(Ready::new(move |additions| turn(additions, pinning.peer)))
            }));
        }
    }
    let measured = stage.compare(contest)?;
    stage.note(format!("Of the timed additions by load and store, {} vanished.", count(lost.get())));
    let [(at_once, _), (exchange, _), (mutex, _), (owner, _)] = FIXES;
    for (placement, place) in [(Placement::OtherCpu, "on two CPUs"), (Placement::SameCpu, "on one CPU")] {
        for (label, other) in [(at_once, RACY.0), (exchange, at_once), (mutex, at_once), (owner, at_once)] {
            let Some(ratio) = measured.ratio(label, other, placement) else { continue };
            stage.trend(format!("{label} against {other}, {place}"), &ratio);
        }
    }
    Ok(())
}

fn judge(stage: &mut Stage, without: &[Additions; 4], fixed: &[Additions]) -> Result<()> {
    let [forced, by_luck, yielding, in_order] = without;
    let (tries, lost, luck_lost) = (forced.made / 2, forced.lost, by_luck.lost + yielding.lost);
    let pairs = format!("{} of {} pairs", count(lost), count(tries));
    let race = match (lost, in_order.lost, luck_lost) {
        (all, 0, _) if all == tries => Ruling::holds(format!(
            "When both threads read before either wrote, {pairs} lost one of their two additions"
        )),
        (0, 0, 0) => {
            Ruling::refuted(format!("No addition was lost, neither by luck nor in {} forced pairs", count(tries)))
        }
        (_, after, _) => {
            Ruling::undecided(format!("{pairs} lost an addition when forced, and {after} one after the other"))
        }
    };
    stage.rule(Claim::SharedVariablesRace, race.by(lost as f64 / tries as f64, "of tries"))?;
    let made: u64 = fixed.iter().map(|fix| fix.made).sum();
    let missing: u64 = fixed.iter().map(|fix| fix.lost).sum();
    let all = count(made);
    let kept = if missing == 0 { format!("all {all}") } else { format!("{} of {all}", count(made - missing)) };
    let because = format!("{} fixes kept {kept} additions of {THREADS} threads", fixed.len());
    let prevented = match (missing, lost + luck_lost) {
        (0, 0) => Ruling::undecided("Nothing was lost without a fix either"),
        (0, _) => Ruling::holds(because),
        _ => Ruling::refuted(because),
    };
    stage.rule(Claim::SynchronizationPreventsInterference, prevented)?;
    stage.headline(format!("{} of {} forced totals were 1", count(lost), count(tries)));
    let can = if lost > 0 { "Yes: in" } else { "It was not seen: in" };
    let luck = match by_luck.lost {
        0 => format!("none of {} additions", count(by_luck.made)),
        _ => format!("{} %", three_digits(by_luck.share())),
    };
    stage.answer(format!(
        "{can} {pairs} when both read first. Luck alone lost {luck}. The fixes kept {kept} additions."
    ));
    stage.advise("Add by fetch_add, never by load and store: copy `lost_update`.");
    Ok(())
}
