//! Do processes lose updates as threads do?

mod places;

use std::fs;
use std::mem::forget;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use ipc_demo::shared_region::SharedRegion;
use process_demo::crew::{Crew, Kind, NOTHING, Reply, Task};
use race_demo::shared_counter::SharedCounter;
use shared::measure::{Contest, Ready, Rival, Timing};
use shared::number::count;
use shared::{Cell, Claim, Demo, Extras, Placement, Ruling, Snippet, Stage, Table};

use crate::additions::{Additions, Control, RACY, control, kept, luck_table, prevented, proved, tell_ratios, try_luck};
use places::{Count, Place};

pub const DEMO: Demo = Demo {
    name: "between-processes",
    question: "Do processes lose updates as threads do?",
    claims: &[Claim::ProcessesSynchronizeEasier, Claim::SynchronizationPreventsInterference],
    rule: "Less risk of races is refuted if two processes lose an addition in every forced round, in shared memory and \
           in a file. It holds in part if in one of the two alone; it holds if in neither, while private memory stayed \
           right. Anything else is undecided. Synchronization prevents interference if every fix kept every addition of \
           a crowd; one lost addition refutes it. It is undecided if fewer than five of the same crowds lost some without a \
           fix.",
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
    done
}

fn experiment(stage: &mut Stage, path: &Path) -> Result<()> {
    let region = SharedRegion::new(size_of::<SharedCounter>())?;
    // SAFETY: zeroed, page-aligned, as long as a counter, mapped until this function ends, used as a counter only.
    let counter = unsafe { SharedCounter::at(region.as_ptr()) };
    let memory = Place { name: "shared memory", fix: "fetch_add", go: 300_000, count: Count::Memory(counter) };
    let file = Place { name: "a file", fix: "flock", go: 200, count: Count::File(path) };
    stage.note(
        "Two processes add one each. By force: one reads; then the other reads, adds and writes; then the first one \
         writes. So both read before either writes. By luck: nothing makes them meet; to yield between read and write \
         widens the window. With a fix: four processes at once. The costs: two processes, half of the additions each.",
    );
    let rounds = stage.by_effort(100, 1000, 10_000);
    let places = [add_in(stage, memory, rounds)?, add_in(stage, file, rounds)?];
    let private = keep_private(stage, rounds)?;
    let share = |additions: Additions| Cell::from(additions.percent_lost());
    let row = |(index, how): (usize, &str)| {
        let own = if index == 0 { share(private) } else { Cell::Nothing };
        vec![how.into(), share(places[0].0[index]), share(places[1].0[index]), own]
    };
    let columns = [("how two processes add", ""), ("shared memory", "%"), ("file", "%"), ("own memory", "%")];
    stage.show(Table::new("Share of the additions that vanish", columns, HOW.into_iter().enumerate().map(row)));
    conclude(stage, rounds, &places, private.lost)
}

const HOW: [&str; 6] = [
    "both read before either writes",
    "read, yield, write: by luck",
    "read, write: by luck",
    "one process after the other",
    "read, write: 4 processes",
    "fetch_add, flock: 4 processes",
];

/// What became of the additions in one place, in the order of `HOW`; and of the crowds without a fix.
type Seen = ([Additions; HOW.len()], Control);

fn add_in(stage: &mut Stage, place: Place<'_>, rounds: u64) -> Result<Seen> {
    let [forced, in_turn] = force(stage, place, rounds)?;
    let [by_luck, yielding] = leave_it_to_luck(stage, place)?;
    let (without, fixed) = fix(stage, place)?;
    compare_costs(stage, place)?;
    Ok(([forced, yielding, by_luck, in_turn, without.all, fixed], without))
}

/// Two additions, over and over: both processes read before either writes; then one after the other.
fn force(stage: &mut Stage, place: Place<'_>, rounds: u64) -> Result<[Additions; 2]> {
    let mut peer = Crew::of(Kind::Processes, 1, || Ok(place))?;
    let (mut lost, mut kept) = (0, 0);
    for _ in 0..rounds {
        place.set_to_zero()?;
        add_while_the_peer_adds(place, &mut peer)?;
        lost += u64::from(place.total()? == 1);

        place.set_to_zero()?;
        place.add_around(1, || ())?;
        peer.ask(0, Place::add_in_two_steps, [1, 0, 0])?.value()?;
        kept += u64::from(place.total()? == 2);
    }
    let says = format!("In {}: if both processes read before either writes, 1 + 1 makes 1", place.name);
    stage.all(says, lost as usize, rounds as usize);
    let says = format!("In {}: if one process adds after the other, the same code makes 2", place.name);
    stage.all(says, kept as usize, rounds as usize);
    Ok([lost, rounds - kept].map(|lost| Additions { made: 2 * rounds, lost }))
}

/// This process reads; then the other one reads, adds and writes; then this one writes.
fn add_while_the_peer_adds<'a>(place: Place<'a>, peer: &mut Crew<Place<'a>>) -> Result<()> {
    let mut reply = Ok(Reply::Left);
    place.add_around(1, || reply = peer.ask(0, Place::add_in_two_steps, [1, 0, 0]))?;
    reply?.value().map(drop)
}

/// The forced order again, on a counter that fork has copied: each process has its own, so each counts only its own.
fn keep_private(stage: &mut Stage, rounds: u64) -> Result<Additions> {
    let own = SharedCounter::new();
    let place = Place { name: "memory of its own", fix: "none", go: 1, count: Count::Memory(&own) };
    let mut peer = Crew::of(Kind::Processes, 1, || Ok(place))?;
    (0..rounds).try_for_each(|_| add_while_the_peer_adds(place, &mut peer))?;
    let [ours, theirs] = [place.total()?, peer.ask(0, |place, _| place.total(), NOTHING)?.value()?];
    let lost = rounds.abs_diff(ours) + rounds.abs_diff(theirs);
    let says = format!("In memory of its own, each process counts its own {} additions", count(rounds));
    stage.fact(says, lost == 0, format!("{} and {}", count(ours), count(theirs)));
    Ok(Additions { made: 2 * rounds, lost })
}

/// With nothing between the read and the write, and with a yield there.
fn leave_it_to_luck(stage: &mut Stage, place: Place<'_>) -> Result<[Additions; 2]> {
    let tries = stage.by_effort(10, 100, 1000);
    let mut pair = Crew::of(Kind::Processes, 2, || Ok(place))?;
    let mut add = |add, each| add_at_once(&mut pair, place, add, each);
    let (by_luck, row) = try_luck("read, write", tries, || add(Place::add_in_two_steps, place.go))?;
    let yielding: Task<Place<'_>> = |place, [times, ..]| place.add_around(times, thread::yield_now);
    let (yielding, yielding_row) = try_luck("read, yield, write", tries, || add(yielding, place.go.min(3_000)))?;
    stage.table(luck_table(format!("Two processes, by luck, in {}", place.name), vec![row, yielding_row]));
    Ok([by_luck, yielding])
}

/// Crowds without the fix, and as many with it.
fn fix(stage: &mut Stage, place: Place<'_>) -> Result<(Control, Additions)> {
    const PROCESSES: usize = 4; // More than two CPUs hold, so that some are switched out.
    let mut crew = Crew::of(Kind::Processes, PROCESSES, || Ok(place))?;
    let each = place.go / 4 * stage.by_effort(1, 2, 20);
    let without = control(|| add_at_once(&mut crew, place, Place::add_in_two_steps, each))?;
    let mut fixed = Additions::default();
    for _ in 0..without.crowds {
        fixed = fixed.and(add_at_once(&mut crew, place, Place::add_by_the_fix, each)?);
    }
    stage.note(format!("In {}, {PROCESSES} processes add at once. {}", place.name, without.in_words(each)));
    Ok((without, fixed))
}

/// From zero: every process of the crew adds so often.
fn add_at_once<'a>(crew: &mut Crew<Place<'a>>, place: Place<'a>, add: Task<Place<'a>>, each: u64) -> Result<Additions> {
    place.set_to_zero()?;
    let made = crew.ask_all(add, [each, 0, 0])?.into_iter().map(Reply::value).sum::<Result<u64>>()?;
    Ok(Additions::that_make(made, place.total()?))
}

/// Only the full report shows it.
fn compare_costs(stage: &mut Stage, place: Place<'_>) -> Result<()> {
    let title = format!("One addition in {}, while another process adds too", place.name);
    let mut contest = Contest::new(title, "how it is added", Timing::Batches);
    for placement in [Placement::OtherCpu, Placement::SameCpu] {
        contest.add(pair(RACY, place, Place::add_in_two_steps, placement));
        contest.add(pair(place.fix, place, Place::add_by_the_fix, placement));
    }
    let measured = stage.compare(contest)?;
    tell_ratios(stage, &measured, &[(place.fix, RACY)]);
    Ok(())
}

/// This process and another, which sleeps between the turns, each add half.
fn pair<'a>(label: &'static str, mut place: Place<'a>, add: Task<Place<'a>>, placement: Placement) -> Rival<'a> {
    Rival::of_processes(label, placement, move |pinning| {
        let mut peer = Crew::of(Kind::Processes, 1, || {
            forget(pinning.peer.pin()?); // For all its life.
            Ok(place)
        })?;
        let pid = peer.pid(0).context("the other process has ended")?;
        let turn = move |steps: u64| {
            place.set_to_zero()?;
            peer.tell(0, add, [steps / 2, 0, 0]);
            let made = add(&mut place, [steps - steps / 2, 0, 0])? + peer.hear(0)?.value()?;
            Ok(proved(label, Additions::that_make(made, place.total()?)))
        };
        Ok(Ready::with_children(turn, vec![pid]))
    })
}

/// The ruling on 'less risk of races', by how many additions the forced rounds lost; of private memory, by how many it
/// was wrong.
fn easier(rounds: u64, [memory, file, private]: [u64; 3]) -> Ruling {
    let [all, in_memory, in_file] = [rounds, memory, file].map(count);
    let losses =
        format!("Of {all} forced rounds, {in_memory} lost an addition in shared memory and {in_file} in a file");
    match (memory == rounds, file == rounds) {
        (true, true) => {
            Ruling::refuted(format!("All {all} forced rounds lost an addition, in shared memory and in a file alike"))
        }
        (true, false) => Ruling::in_part("not in shared memory, where every forced round lost an addition", losses),
        (false, true) => Ruling::in_part("not in a file, where every forced round lost an addition", losses),
        _ if (memory, file, private) == (0, 0, 0) => Ruling::holds(losses),
        _ => Ruling::undecided(format!("{losses}; memory of their own was wrong by {}", count(private))),
    }
}

fn conclude(stage: &mut Stage, rounds: u64, places: &[Seen; 2], private: u64) -> Result<()> {
    let [memory, file] = places.map(|([forced, ..], _)| forced.lost);
    stage.rule(Claim::ProcessesSynchronizeEasier, easier(rounds, [memory, file, private]))?;
    let by_force = memory + file;
    let by_luck = places.map(|([_, yielding, plain, ..], _)| yielding.lost + plain.lost).iter().sum();
    let fixed = places.map(|([.., fixed], _)| fixed);
    let kept = kept(&fixed);
    let because = format!("The fixes, fetch_add in shared memory and flock around a file, kept {kept} additions");
    let prevents = prevented(&fixed, &places.map(|(_, control)| control), because);
    stage.rule(Claim::SynchronizationPreventsInterference, prevents)?;
    let forced = format!("{} of {}", count(by_force), count(2 * rounds));
    stage.headline(format!("{forced} rounds lost an update"));
    let answer = if by_force + by_luck > 0 { "Yes" } else { "It was not seen" };
    stage.answer(format!(
        "{answer}: {forced} forced rounds lost an addition. Luck lost {} more. The fixes kept {kept}.",
        count(by_luck)
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
        let rule = |memory, file, private| easier(10, [memory, file, private]).verdict;
        assert_eq!(rule(10, 10, 0), Verdict::Refuted);
        assert_eq!([rule(10, 9, 0), rule(0, 10, 0)], [Verdict::Qualified; 2]);
        assert_eq!(rule(0, 0, 0), Verdict::Holds);
        assert_eq!([rule(0, 0, 1), rule(9, 0, 0)], [Verdict::Undecided; 2]);
    }
}
