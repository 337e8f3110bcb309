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

use crate::additions::{Additions, Control, RACY, control, kept, luck_table, prevented, proved, tell_ratios, try_luck};
use mechanisms::{Adders, FIXES, Mechanism, THREADS, TWO_STEPS};

pub const DEMO: Demo = Demo {
    name: "lost-update",
    question: "Two threads add one each. Can the total be one?",
    claims: &[Claim::SharedVariablesRace, Claim::SynchronizationPreventsInterference],
    rule: "That shared variables race holds if every forced try lost an addition, and the same two additions, one after \
           the other, lost none. It is refuted if neither force nor luck lost any. Anything else is undecided. \
           Synchronization prevents interference if every fix kept every addition of a crowd; one lost addition \
           refutes it. It is undecided if fewer than five of the same crowds lost some without a fix.",
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
    let [by_luck, yielding] = leave_it_to_luck(stage)?;
    let (without_a_fix, fixed) = fix(stage)?;
    compare_costs(stage)?;
    let without = [
        ("both read before either writes", forced),
        ("read, write: by luck", by_luck),
        ("read, yield, write: by luck", yielding),
        ("one thread after the other", in_order),
        ("read, write: a crowd", without_a_fix.all),
    ];
    let row = |(how, additions): (&str, Additions)| {
        let numbers = [additions.made as f64, additions.lost as f64, additions.percent_lost()].map(Cell::Number);
        [Cell::Text(how.to_owned())].into_iter().chain(numbers).collect()
    };
    let with = FIXES.iter().map(|(how, _)| *how).zip(fixed);
    let counts = ["additions", "lost"].map(|name| Column::value(name, ""));
    stage.show(Table {
        title: "How many additions vanish".to_owned(),
        columns: [Column::label("how")].into_iter().chain(counts).chain([Column::value("share", "%")]).collect(),
        rows: without.into_iter().chain(with).map(row).collect(),
    });
    conclude(stage, [forced, in_order], [by_luck, yielding], without_a_fix, &fixed)
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
    [lost, tries - kept].map(|lost| Additions { made: 2 * tries, lost })
}

/// With nothing between the read and the write, and with a yield there.
fn leave_it_to_luck(stage: &mut Stage) -> Result<[Additions; 2]> {
    stage.note(
        "Now without the barrier: nothing makes the two threads meet but luck. To yield between read and write widens \
         the window.",
    );
    let (tries, each) = stage.by_effort((20, 100_000), (200, 1_000_000), (2000, 1_000_000));
    let add = |each, meanwhile: fn()| Ok(Additions { made: 2 * each, lost: lost_by_luck(each, meanwhile) });
    let (by_luck, row) = try_luck("read, write", tries, || add(each, || ()))?;
    let (yielding, yielding_row) = try_luck("read, yield, write", tries, || add(each / 200, thread::yield_now))?;
    stage.table(luck_table("Two threads, by luck", vec![row, yielding_row]));
    if by_luck.lost == 0 {
        stage.note(
            "Luck alone was not enough. On one CPU it takes a preemption between the read and the write, and where the \
             compiler makes one instruction of the two, nothing comes between.",
        );
    }
    Ok([by_luck, yielding])
}

/// Crowds without a fix, and as many with each.
fn fix(stage: &mut Stage) -> Result<(Control, [Additions; FIXES.len()])> {
    let each = stage.by_effort(5_000, 20_000, 200_000);
    let crowd = |(_, total_of): Mechanism| {
        let total = total_of(Adders::Together { each })?;
        Ok(Additions::that_make(THREADS * each, total))
    };
    let without = control(|| crowd(TWO_STEPS))?;
    let mut fixed = [Additions::default(); FIXES.len()];
    for (fix, fixed) in FIXES.into_iter().zip(&mut fixed) {
        for _ in 0..without.crowds {
            *fixed = fixed.and(crowd(fix)?);
        }
    }
    stage.note(format!("{THREADS} threads add at once. {}", without.in_words(each)));
    Ok((without, fixed))
}

/// Only the full report shows it.
fn compare_costs(stage: &mut Stage) -> Result<()> {
    stage.note("What each costs: two threads add to one total, half of the additions each, on one CPU and on two.");
    let lost = Count::new(0);
    let mut contest = Contest::new("One addition, while another thread adds too", "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        for (label, total_of) in [TWO_STEPS].into_iter().chain(FIXES) {
            let lost = &lost;
            contest.add(Rival::of_threads(label, placement, move |pinning| {
                Ok(Ready::new(move |steps| {
                    let total = total_of(Adders::Pair { additions: steps, peer: pinning.peer })?;
                    let timed = Additions::that_make(steps, total);
                    lost.set(lost.get() + timed.lost);
                    Ok(proved(label, timed))
                }))
            }));
        }
    }
    let measured = stage.compare(contest)?;
    stage.note(format!("Of the timed additions by read and write, {} vanished.", count(lost.get())));
    let [(at_once, _), (exchange, _), (mutex, _), (owner, _)] = FIXES;
    tell_ratios(stage, &measured, &[(at_once, RACY), (exchange, at_once), (mutex, at_once), (owner, at_once)]);
    Ok(())
}

fn conclude(
    stage: &mut Stage,
    [forced, in_order]: [Additions; 2],
    [by_luck, yielding]: [Additions; 2],
    without_a_fix: Control,
    fixed: &[Additions],
) -> Result<()> {
    let (tries, lost) = (forced.made / 2, forced.lost);
    let pairs = format!("{} of {} pairs", count(lost), count(tries));
    let race = match (lost, in_order.lost, by_luck.lost + yielding.lost) {
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
    let kept = kept(fixed);
    let because = format!("{} fixes kept {kept} additions of {THREADS} threads", fixed.len());
    let fixes = prevented(fixed, &[without_a_fix], because);
    stage.rule(Claim::SynchronizationPreventsInterference, fixes)?;
    stage.headline(format!("{} of {} forced totals were 1", count(lost), count(tries)));
    let can = if lost > 0 { "Yes: in" } else { "It was not seen: in" };
    let luck = match by_luck.lost {
        0 => format!("none of {} additions", count(by_luck.made)),
        _ => format!("{} %", three_digits(by_luck.percent_lost())),
    };
    stage.answer(format!(
        "{can} {pairs} when both read first. Luck alone lost {luck}. The fixes kept {kept} additions."
    ));
    stage.advise("Add by fetch_add, never by load and store: copy `lost_update`.");
    Ok(())
}
