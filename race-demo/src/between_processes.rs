//! Do processes lose updates as threads do?

mod cost;
mod counters;
mod trials;

use std::fs;
use std::path::Path;

use anyhow::Result;
use ipc_demo::shared_region::SharedRegion;
use race_demo::shared_counter::SharedCounter;
use shared::number::count;
use shared::{Cell, Claim, Column, Demo, Extras, Ruling, Snippet, Stage, Table, refused};

use counters::{InFile, InMemory};
use trials::{Kept, Lost, Luck};

pub const DEMO: Demo = Demo {
    name: "between-processes",
    question: "Do processes lose updates as threads do?",
    claims: &[Claim::ProcessesSynchronizeEasier, Claim::SynchronizationPreventsInterference],
    rule: "Less risk of races is refuted if two processes lose an addition in every forced round, in shared memory and \
           in a file. It holds in part if in one of the two alone; it holds if in neither, while private memory stayed \
           right. Anything else is undecided. Synchronization prevents interference if every fix kept every addition; \
           one lost addition refutes it. It is undecided if nothing was lost without a fix either.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "race-demo/snippets/shared_counter.rs", text: include_str!("../snippets/shared_counter.rs") },
        Snippet { path: "race-demo/snippets/file_counter.rs", text: include_str!("../snippets/file_counter.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let path = stage.directory().join("counter");
    let done = experiment(stage, &path);
    let _ = fs::remove_file(&path); // There is none if the experiment ended before it came to that.
    match done.as_ref().err().and_then(refused) {
        Some(why) => stage.skip(why),
        None => return done,
    }
    Ok(())
}

fn experiment(stage: &mut Stage, path: &Path) -> Result<()> {
    let region = SharedRegion::new(size_of::<SharedCounter>())?;
    // SAFETY: zeroed, page-aligned, as long as a counter, mapped until this function ends, used as a counter only.
    let memory = InMemory(unsafe { SharedCounter::at(region.as_ptr()) });
    let file = InFile(path);

    stage.note(
        "Two processes add one each. A byte in each direction, over a socket, makes both read before either writes.",
    );
    let rounds = stage.by_effort(100, 1000, 10_000);
    let forced = Forced {
        rounds,
        in_memory: trials::force(stage, memory, rounds)?,
        in_file: trials::force(stage, file, rounds)?,
        in_private: trials::keep_private(stage, rounds)?,
    };
    stage.note("Now nothing makes them meet but luck. To yield between read and write widens the window.");
    let luck = trials::try_luck(stage, memory, file)?;
    stage.note("And now with a fix for each: four processes at once.");
    let kept = [trials::fix(stage, memory)?, trials::fix(stage, file)?];
    stage.note("What each costs: two processes add to one total, half of the additions each.");
    cost::compare(stage, memory)?;
    cost::compare(stage, file)?;
    stage.show(table(&forced, &luck, &kept));
    stage.rule(Claim::ProcessesSynchronizeEasier, easier(&forced))?;
    conclude(stage, &forced, &luck, &kept)
}

/// What the forced rounds lost.
struct Forced {
    rounds: u64,
    in_memory: Lost,
    in_file: Lost,
    in_private: u64,
}

fn table(forced: &Forced, luck: &[Luck; 4], kept: &[Kept; 2]) -> Table {
    let Forced { rounds, in_memory, in_file, in_private } = forced;
    let percent = |lost: u64| Cell::Number(100.0 * lost as f64 / (2 * rounds) as f64);
    let by_luck = |luck: &Luck| Cell::Number(luck.percent());
    let fixed = |kept: &Kept| Cell::Number(100.0 * kept.sent.abs_diff(kept.total) as f64 / kept.sent as f64);
    let row = |how: &str, memory, file, private| vec![Cell::Text(how.to_owned()), memory, file, private];
    let places = ["shared memory", "file", "own memory"].map(|name| Column::value(name, "%"));
    Table {
        title: "Share of the additions that vanish".to_owned(),
        columns: [Column::label("how two processes add")].into_iter().chain(places).collect(),
        rows: vec![
            row(
                "both read before either writes",
                percent(in_memory.forced),
                percent(in_file.forced),
                percent(*in_private),
            ),
            row("read, yield, write: by luck", by_luck(&luck[1]), by_luck(&luck[3]), Cell::Nothing),
            row("read, write: by luck", by_luck(&luck[0]), by_luck(&luck[2]), Cell::Nothing),
            row("one process after the other", percent(in_memory.in_turn), percent(in_file.in_turn), Cell::Nothing),
            row("fixed: fetch_add, flock (4 processes)", fixed(&kept[0]), fixed(&kept[1]), Cell::Nothing),
        ],
    }
}

/// The ruling on 'less risk of races'.
fn easier(forced: &Forced) -> Ruling {
    let Forced { rounds, in_memory: Lost { forced: memory, .. }, in_file: Lost { forced: file, .. }, .. } = *forced;
    let losses = format!(
        "Of {} forced rounds, {} lost an addition in shared memory and {} in a file",
        count(rounds),
        count(memory),
        count(file)
    );
    match (memory == rounds, file == rounds) {
        (true, true) => Ruling::refuted(format!(
            "All {} forced rounds lost an addition, in shared memory and in a file alike",
            count(rounds)
        )),
        (true, false) => Ruling::in_part("not in shared memory, where every forced round lost an addition", losses),
        (false, true) => Ruling::in_part("not in a file, where every forced round lost an addition", losses),
        _ if (memory, file, forced.in_private) == (0, 0, 0) => Ruling::holds(losses),
        _ => Ruling::undecided(format!("{losses}; memory of their own was wrong by {}", count(forced.in_private))),
    }
}

fn conclude(stage: &mut Stage, forced: &Forced, luck: &[Luck; 4], kept: &[Kept; 2]) -> Result<()> {
    let by_force = forced.in_memory.forced + forced.in_file.forced;
    let by_luck = luck.iter().map(|luck| luck.lost).sum();
    let (sent, total) = (kept.iter().map(|kept| kept.sent).sum(), kept.iter().map(|kept| kept.total).sum());
    let exact = kept.iter().all(|kept| kept.total == kept.sent);
    let of = if exact { format!("all {}", count(sent)) } else { format!("{} of {}", count(total), count(sent)) };
    let because = format!("The fixes, fetch_add in shared memory and flock around a file, kept {of} additions");
    let prevented = match (exact, by_force + by_luck) {
        (false, _) => Ruling::refuted(because),
        (true, 0) => Ruling::undecided("Nothing was lost without a fix either"),
        (true, _) => Ruling::holds(because),
    };
    stage.rule(Claim::SynchronizationPreventsInterference, prevented)?;
    let rounds = format!("{} of {}", count(by_force), count(2 * forced.rounds));
    stage.headline(format!("{rounds} rounds lost an update"));
    let answer = if by_force + by_luck > 0 { "Yes" } else { "It was not seen" };
    let luck = count(by_luck);
    stage.answer(format!(
        "{answer}: {rounds} forced rounds lost an addition, in shared memory or in a file. Luck lost {luck} more. The \
         fixes kept {of}."
    ));
    stage.advise("In shared memory copy `shared_counter`, around a file `file_counter`.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn the_forced_rounds_decide_each_outcome() {
        let rule = |memory, file, in_private| {
            let [in_memory, in_file] = [memory, file].map(|forced| Lost { forced, in_turn: 0 });
            easier(&Forced { rounds: 10, in_memory, in_file, in_private }).verdict
        };
        assert_eq!(rule(10, 10, 0), Verdict::Refuted);
        assert_eq!([rule(10, 9, 0), rule(0, 10, 0)], [Verdict::Qualified; 2]);
        assert_eq!(rule(0, 0, 0), Verdict::Holds);
        assert_eq!([rule(0, 0, 1), rule(9, 0, 0)], [Verdict::Undecided; 2]);
    }
}
