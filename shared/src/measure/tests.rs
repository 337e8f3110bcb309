//! Does the engine do what it says, exactly? A fake clock, advanced by the rivals alone, shows it without waiting.

use std::cell::{Cell, RefCell};
use std::io;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::entry::prepare_all;
use super::spoilers::{Counters, Ticks};
use super::*;
use crate::report::ComparisonRow;
use crate::stats;

/// Each read costs the same; work is whatever a rival adds.
#[derive(Default)]
struct FakeClock {
    now_ns: Cell<u64>,
    /// What one read takes.
    cost_ns: u64,
    /// Readings are whole multiples of it, if it is not zero.
    step_ns: u64,
    cpu_ns: Cell<u64>,
    /// Whose CPU time was asked for.
    asked: RefCell<Vec<Vec<Pid>>>,
}

impl FakeClock {
    fn of_cost(cost_ns: u64) -> FakeClock {
        FakeClock { cost_ns, ..FakeClock::default() }
    }

    fn work(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
        self.cpu_ns.set(self.cpu_ns.get() + ns);
    }
}

impl Clock for FakeClock {
    fn now_ns(&self) -> u64 {
        let now_ns = self.now_ns.get();
        self.now_ns.set(now_ns + self.cost_ns);
        now_ns - now_ns % self.step_ns.max(1)
    }

    fn cpu_ns(&self, children: &[Pid]) -> Option<u64> {
        self.asked.borrow_mut().push(children.to_vec());
        (!children.contains(&UNREADABLE)).then(|| self.cpu_ns.get() + self.now_ns.get() * children.len() as u64)
    }
}

const UNREADABLE: Pid = Pid::from_raw(-7);

/// Enough for everything; each test narrows what it looks at.
const AMPLE: Budget = Budget { rounds: 20, time_ns: u64::MAX, sample_ns: 1000, events: 10, warm_up_ns: 1_000_000 };

fn contest<'a>(timing: Timing, rivals: impl IntoIterator<Item = Rival<'a>>) -> Contest<'a> {
    let mut contest = Contest::new("title", "rival", timing);
    rivals.into_iter().for_each(|rival| contest.add(rival));
    contest
}

/// A rival in threads whose turn is this.
fn rival<'a>(label: &str, turn: impl FnMut(u64) -> Result<u64> + 'a) -> Rival<'a> {
    Rival::of_threads(label, Placement::Free, move |_| Ok(Ready::new(turn)))
}

/// A rival whose operations take so long each.
fn steady<'a>(label: &str, clock: &'a FakeClock, operation_ns: u64) -> Rival<'a> {
    rival(label, move |steps| {
        clock.work(operation_ns * steps);
        Ok(steps)
    })
}

fn row<'a>(measured: &'a Measured, label: &str) -> &'a Figures {
    measured.figures(label, Placement::Free).expect("the row was measured")
}

fn error_of(result: Result<Measured>) -> String {
    format!("{:#}", result.err().expect("the contest ends with an error"))
}

#[test]
fn the_clocks_own_cost_and_step_are_found() {
    assert_eq!(Calibration::of(&FakeClock::of_cost(7)), Calibration { cost_ns: 7, resolution_ns: 7 });
    let coarse = FakeClock { step_ns: 100_000, ..FakeClock::of_cost(4) };
    assert_eq!(Calibration::of(&coarse).resolution_ns, 100_000);
    assert_eq!(Calibration::of(&FakeClock::of_cost(0)), Calibration { cost_ns: 0, resolution_ns: 0 });
}

#[test]
fn a_batch_doubles_until_it_lasts_for_the_budget_and_for_fifty_reads_of_the_clock() {
    for (cost_ns, step_ns, sample_ns, expected) in
        [(10, 0, 1000, 16), (10, 0, 0, 8), (40, 0, 1000, 32), (1, 0, 99, 1), (1, 0, 102, 2), (1, 100, 0, 64)]
    {
        let clock = FakeClock { step_ns, ..FakeClock::of_cost(cost_ns) };
        let asked = RefCell::new(Vec::new());
        let turn = |steps| {
            asked.borrow_mut().push(steps);
            clock.work(100 * steps);
            Ok(steps)
        };
        let budget = Budget { rounds: 2, sample_ns, ..AMPLE };
        let measured = contest(Timing::Batches, [rival("hundred", turn)]).measure_with(&clock, &budget).unwrap();
        let figures = row(&measured, "hundred");
        assert_eq!(figures.steps, expected, "a clock of {cost_ns} and {step_ns} ns, samples of {sample_ns}");
        let doubling = (0..).map(|power| 1u64 << power).take_while(|&steps| steps < expected);
        // Three windows that agree, then two rounds.
        assert_eq!(*asked.borrow(), doubling.chain([expected; 5]).collect::<Vec<_>>());
        if step_ns == 0 {
            assert_eq!(figures.samples(), [(100 * expected + cost_ns) as f64 / expected as f64; 2]);
        }
    }
}

#[test]
fn what_takes_no_time_is_no_work_and_does_not_double_for_ever() {
    for cost_ns in [0, 10] {
        let clock = FakeClock::of_cost(cost_ns);
        let error = error_of(contest(Timing::Batches, [rival("nothing", Ok)]).measure_with(&clock, &AMPLE));
        assert!(error.contains("'nothing'") && error.contains("cannot be real work"), "{error}");
    }
}

#[test]
fn the_order_is_reversed_every_round() {
    let clock = FakeClock::of_cost(1);
    let order = RefCell::new(String::new());
    let logged = |label: &'static str| {
        let (order, clock) = (&order, &clock);
        rival(label, move |steps| {
            order.borrow_mut().push_str(label);
            clock.work(2000);
            Ok(steps)
        })
    };
    let budget = Budget { rounds: 4, ..AMPLE };
    contest(Timing::Batches, ["a", "b", "c"].map(logged)).measure_with(&clock, &budget).unwrap();
    assert_eq!(*order.borrow(), "aaabbbccc".to_owned() + "abc" + "cba" + "abc" + "cba");
}

#[test]
fn a_drift_in_time_favours_no_one() {
    let clock = FakeClock::of_cost(0);
    let turns = Cell::new(0);
    let drifting = |label| {
        let (clock, turns) = (&clock, &turns);
        rival(label, move |steps| {
            turns.set(turns.get() + 1);
            clock.work(10_000 + 500 * turns.get());
            Ok(steps)
        })
    };
    let measured = contest(Timing::Batches, ["a", "b"].map(drifting)).measure_with(&clock, &AMPLE).unwrap();
    let ratio = measured.ratio("b", "a", Placement::Free).unwrap();
    assert!(!ratio.clear && ratio.low < Some(1.0) && Some(1.0) < ratio.high, "{ratio:?}");
}

#[test]
fn those_that_fork_are_prepared_first_and_rows_keep_their_order() {
    let clock = FakeClock::of_cost(1);
    let prepared = RefCell::new(Vec::new());
    let prepare = |label: &'static str| {
        let (clock, prepared) = (&clock, &prepared);
        move |_: Pinning| {
            prepared.borrow_mut().push(label);
            Ok(Ready::new(move |steps| {
                clock.work(steps);
                Ok(steps)
            }))
        }
    };
    let threads = |label| Rival::of_threads(label, Placement::Free, prepare(label));
    let processes = |label| Rival::of_processes(label, Placement::Free, prepare(label));
    let rivals = [threads("t1"), processes("p1"), threads("t2"), processes("p2")];
    let measured = contest(Timing::Batches, rivals).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(*prepared.borrow(), ["p1", "p2", "t1", "t2"]);
    assert_eq!(measured.rows.iter().map(|row| row.name.label.as_str()).collect::<Vec<_>>(), ["t1", "p1", "t2", "p2"]);
}

/// In how many windows a rival warms up whose calls take so long, the last for ever; the calls of one round follow.
fn warm_up_calls(calls_ns: &[u64], warm_up_ns: u64) -> usize {
    let clock = FakeClock::of_cost(1);
    let calls = Cell::new(0);
    let turn = |steps| {
        clock.work(calls_ns[calls.get().min(calls_ns.len() - 1)]);
        calls.set(calls.get() + 1);
        Ok(steps)
    };
    let budget = Budget { rounds: 1, warm_up_ns, ..AMPLE };
    contest(Timing::Batches, [rival("warming", turn)]).measure_with(&clock, &budget).unwrap();
    calls.get() - 1
}

#[test]
fn warming_up_ends_when_three_windows_agree_or_its_time_is_up() {
    assert_eq!(warm_up_calls(&[5000], 1_000_000), 3);
    assert_eq!(warm_up_calls(&[9000, 8000, 7000, 5000, 5100, 5200], 1_000_000), 6);
    assert_eq!(warm_up_calls(&[9000, 8000, 7000, 5000, 5100, 5400, 5400, 5400], 1_000_000), 8);
    let restless: Vec<u64> = (0..100).map(|call| if call % 2 == 0 { 5000 } else { 7000 }).collect();
    // 5 + 7 + 5 + 7 + 5 microseconds are 29, and the clock's reads.
    assert_eq!(warm_up_calls(&restless, 29_000), 5);
    assert_eq!(warm_up_calls(&restless, 30_000), 6);
    assert_eq!(warm_up_calls(&restless, 0), 2);
}

#[test]
fn a_slow_first_call_does_not_size_the_batches() {
    let clock = FakeClock::of_cost(1);
    let first = Cell::new(true);
    let turn = |steps| {
        clock.work(if first.replace(false) { 50_000_000 } else { 10 * steps });
        Ok(steps)
    };
    let measured = contest(Timing::Batches, [rival("cold", turn)]).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(row(&measured, "cold").steps, 128);
}

#[test]
fn a_machine_that_stalls_throughout_the_warm_up_does_not_size_the_batches() {
    let clock = FakeClock::of_cost(1);
    let stalls = Cell::new(3);
    let turn = |steps| {
        stalls.set(stalls.get() - i32::from(stalls.get() > 0));
        clock.work(if stalls.get() > 0 { 50_000_000 } else { 10 * steps });
        Ok(steps)
    };
    let measured = contest(Timing::Batches, [rival("stalled", turn)]).measure_with(&clock, &AMPLE).unwrap();
    let figures = row(&measured, "stalled");
    assert_eq!(figures.steps, 64, "at least half as long as a batch should be");
    assert_eq!(figures.samples(), [10.0156; 20], "641 ns by 64, to six digits");
}

#[test]
fn rounds_end_with_the_time_but_not_before_a_ratio_has_an_interval() {
    for (time_ns, rounds) in [(4_001, FEWEST_ROUNDS), (12_500, FEWEST_ROUNDS), (25_500, 13), (u64::MAX, 20)] {
        let clock = FakeClock::of_cost(0);
        let rivals = [steady("a", &clock, 1000), steady("b", &clock, 1000)];
        let budget = Budget { time_ns, ..AMPLE };
        let measured = contest(Timing::Batches, rivals).measure_with(&clock, &budget).unwrap();
        assert_eq!(row(&measured, "a").samples().len(), rounds, "two microseconds a round, {time_ns} ns");
        assert_eq!(row(&measured, "b").samples().len(), rounds);
        assert!(measured.ratio("a", "b", Placement::Free).unwrap().low.is_some());
    }
}

#[test]
fn a_contest_whose_time_is_long_up_ends_once_each_has_a_round_and_its_ratio_is_unclear() {
    for (time_ns, rounds) in [(0, (1, 1)), (250, (1, 1)), (650, (2, 1)), (751, (2, 2)), (1_250, (2, 3))] {
        let clock = FakeClock::of_cost(0);
        let rivals = [steady("a", &clock, 1000), steady("b", &clock, 1000)];
        let budget = Budget { time_ns, sample_ns: 0, ..AMPLE };
        let measured = contest(Timing::Batches, rivals).measure_with(&clock, &budget).unwrap();
        let taken = |label| row(&measured, label).samples().len();
        assert_eq!((taken("b"), taken("a")), rounds, "a microsecond each, {time_ns} ns");
        assert!(!measured.ratio("a", "b", Placement::Free).unwrap().clear);
    }
}

#[test]
fn events_are_timed_one_by_one_and_they_alone_have_a_99th_percentile() {
    let clock = FakeClock::of_cost(5);
    let calls = Cell::new(0);
    let turn = |steps| {
        calls.set(calls.get() + 1);
        clock.work(100);
        assert_eq!(steps, 1);
        Ok(steps)
    };
    let measured = contest(Timing::Events, [rival("event", turn)]).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(row(&measured, "event").samples(), [105.0; 200]);
    assert_eq!(row(&measured, "event").by_round(), [105.0; 20]);
    // Three windows of ten, then twenty rounds of ten after one that is not timed.
    assert_eq!(calls.get(), 30 + 20 * 11);
    let p99_of = |measured: &Measured| match &measured.comparison().rows[0] {
        ComparisonRow::Measured(row) => row.p99,
        ComparisonRow::Skipped { .. } => panic!("the row was measured"),
    };
    assert_eq!(p99_of(&measured), Some(105.0));
    assert!(measured.comparison().differs_in.contains("the clock's 5 ns included"));
    let batches = contest(Timing::Batches, [steady("batch", &clock, 100)]).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(p99_of(&batches), None);
    assert_eq!(batches.comparison().title, "title");
}

#[test]
fn a_slow_rival_gets_fewer_events_and_never_fewer_rounds() {
    let clock = FakeClock::of_cost(0);
    let budget = Budget { rounds: 20, time_ns: 16 * 3_000, events: 10, ..AMPLE };
    let rivals = [steady("slow", &clock, 1_000), steady("fast", &clock, 1)];
    let measured = contest(Timing::Events, rivals).measure_with(&clock, &budget).unwrap();
    let rounds = |label| row(&measured, label).by_round().len();
    assert!(rounds("slow") >= FEWEST_ROUNDS && rounds("fast") >= FEWEST_ROUNDS);
    assert_eq!(row(&measured, "slow").samples().len(), 3 * rounds("slow")); // What is its share of the time.
    assert_eq!(row(&measured, "fast").samples().len(), 10 * rounds("fast"));
    assert!(measured.ratio("slow", "fast", Placement::Free).unwrap().clear);
}

#[test]
fn events_of_one_round_count_as_one() {
    let clock = FakeClock::of_cost(0);
    let calls = Cell::new(0_u64);
    // Whole rounds are disturbed: most events take 100 ns, those of every third turn 300.
    let turn = |steps| {
        calls.set(calls.get() + 1);
        clock.work(if (calls.get() / 11).is_multiple_of(3) { 300 } else { 100 });
        Ok(steps)
    };
    let measured = contest(Timing::Events, [rival("it", turn)]).measure_with(&clock, &AMPLE).unwrap();
    let figures = row(&measured, "it");
    let pooled = stats::median(figures.samples());
    assert_eq!((pooled.low, pooled.high), (Some(100.0), Some(100.0)));
    let over_rounds = figures.median();
    assert_eq!((over_rounds.value, over_rounds.low, over_rounds.high), (100.0, Some(100.0), Some(300.0)));
}

#[test]
fn an_event_that_the_clock_cannot_see_still_has_a_ratio() {
    let clock = FakeClock::of_cost(0);
    let rivals = [rival("blink", Ok), steady("work", &clock, 50)];
    let measured = contest(Timing::Events, rivals).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(measured.ratio("work", "blink", Placement::Free).unwrap().ratio, 50.0);
}

#[test]
fn an_operation_that_does_not_prove_right_ends_the_contest() {
    let clock = FakeClock::of_cost(1);
    for (timing, lost) in [(Timing::Batches, 20), (Timing::Events, 2), (Timing::Events, 100)] {
        let calls = Cell::new(0);
        let cheat = |steps: u64| {
            clock.work(100 * steps);
            calls.set(calls.get() + 1);
            Ok(if calls.get() == lost { steps - 1 } else { steps })
        };
        let error = error_of(
            contest(timing, [steady("honest", &clock, 100), rival("cheat", cheat)]).measure_with(&clock, &AMPLE),
        );
        let expected = if timing == Timing::Batches { "'cheat': 15 of 16" } else { "'cheat': 0 of 1" };
        assert!(error.contains(expected) && error.contains("proved right"), "{error}");
        assert_eq!(calls.get(), lost, "nothing was asked of it afterwards");
    }
}

#[test]
fn what_the_machine_refuses_is_a_skipped_row_and_the_others_are_measured() {
    let clock = FakeClock::of_cost(1);
    let at_once = Rival::of_processes("at once", Placement::Free, |_| Err(Errno::EPERM.into()));
    let at_first_use = rival("at first use", |_| Err(io::Error::from_raw_os_error(Errno::ENOSPC as i32).into()));
    let rivals = [at_once, steady("measured", &clock, 100), at_first_use];
    let measured = contest(Timing::Batches, rivals).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(row(&measured, "measured").samples().len(), 20);
    let why = |index: usize| match &measured.comparison().rows[index] {
        ComparisonRow::Skipped { skipped, .. } => skipped.clone(),
        ComparisonRow::Measured(row) => panic!("'{}' was measured", row.label),
    };
    assert!(why(0).contains("EPERM"), "{}", why(0));
    assert!(why(2).contains("No space left"), "{}", why(2));
    assert!(measured.ratio("at once", "measured", Placement::Free).is_none());
}

#[test]
fn any_other_error_names_the_rival_and_ends_the_contest() {
    let clock = FakeClock::of_cost(1);
    let broken = Rival::of_threads("broken", Placement::Free, |_| bail!("no such word"));
    let error = error_of(contest(Timing::Batches, [broken]).measure_with(&clock, &AMPLE));
    assert_eq!(error, "preparing 'broken': no such word");
    // A refusal after the first rounds is no property of the machine.
    let calls = Cell::new(0);
    let late = rival("late", |steps| {
        calls.set(calls.get() + 1);
        clock.work(100 * steps);
        if calls.get() < 20 { Ok(steps) } else { Err(Errno::EAGAIN.into()) }
    });
    let error = error_of(contest(Timing::Batches, [late]).measure_with(&clock, &AMPLE));
    assert!(error.starts_with("in 'late': EAGAIN"), "{error}");
    let nothing = Budget { events: 0, ..AMPLE };
    assert!(contest(Timing::Batches, []).measure_with(&clock, &nothing).is_err());
}

#[test]
fn cpu_time_is_of_all_parties_and_per_operation() {
    let clock = FakeClock::of_cost(3);
    let with = |label: &str, children: Vec<Pid>| {
        let clock = &clock;
        let turn = move |steps| {
            clock.work(40 * steps);
            Ok(steps)
        };
        Rival::of_processes(label, Placement::Free, move |_| Ok(Ready::with_children(turn, children)))
    };
    let (one, two) = (Pid::from_raw(1_000_001), Pid::from_raw(1_000_002));
    let rivals = [with("alone", vec![]), with("two children", vec![one, two]), with("ended", vec![UNREADABLE])];
    let measured = contest(Timing::Events, rivals).measure_with(&clock, &AMPLE).unwrap();
    // The process computes 40; each fake child as long as the clock says, reads of it included: 3 + 40 + 3.
    assert_eq!(row(&measured, "alone").cpu_ns, Some(40.0));
    assert_eq!(row(&measured, "two children").cpu_ns, Some(40.0 + 2.0 * 46.0));
    assert_eq!(row(&measured, "ended").cpu_ns, None);
    let mut elsewhere_ns = 0;
    let told = Rival::of_processes("told", Placement::Free, |_| {
        let turn = |steps| {
            clock.work(40 * steps);
            Ok(steps)
        };
        Ok(Ready::new(turn).and_cpu(move || {
            elsewhere_ns += 500; // So much between two questions: of one event, and of the one that is not timed.
            Some(elsewhere_ns)
        }))
    });
    let one_event = Budget { events: 1, ..AMPLE };
    let measured = contest(Timing::Events, [told]).measure_with(&clock, &one_event).unwrap();
    assert_eq!(row(&measured, "told").cpu_ns, Some(40.0 + 500.0));
    // At the start and the end of the rounds the children of all are asked for, so that they are not 'other programs'.
    let of_all = |asked: &&Vec<Pid>| **asked == [one, two, UNREADABLE];
    assert_eq!(clock.asked.borrow().iter().filter(of_all).count(), 2);
}

#[test]
fn what_others_compute_is_told_from_what_is_ours() {
    let at = |busy, stolen, switches, throttled| Counters {
        ticks: Some(Ticks { busy, stolen }),
        switched_out: Some(switches),
        throttled: Some(throttled),
    };
    let tick = 1.0 / procfs::ticks_per_second() as f64;
    let second = procfs::ticks_per_second();
    let (start, later) = (at(1000, 50, 10, 3), at(1000 + 2 * second, 50, 10, 3));
    // Two seconds were computed within two: by us and our children, or half of it by somebody else.
    assert_eq!(start.disturbances(&later, Some(2.0), 2.0, false), [""; 0]);
    assert_eq!(start.disturbances(&later, Some(2.0 + 3.0 * tick), 2.0, false), [""; 0]);
    assert_eq!(start.disturbances(&later, Some(1.0), 2.0, false), ["other programs used 50 % of a CPU"]);
    assert_eq!(start.disturbances(&later, None, 2.0, false), [""; 0], "unknown is not nothing");
    assert_eq!(start.disturbances(&later, Some(1.0), 0.05, false), [""; 0], "too short to judge");
    assert_eq!(start.disturbances(&later, Some(1.0), 0.0, false), [""; 0]);
    let spoiled = at(1000, 50 + second, 5010, 5);
    let stolen = "the hypervisor took 50.0 % of a CPU away";
    let (switched, throttled) = ("switched out 5000 times against its will", "throttled 2 times by the CPU quota");
    assert_eq!(start.disturbances(&spoiled, Some(0.0), 2.0, false), [stolen, switched, throttled]);
    assert_eq!(start.disturbances(&spoiled, Some(0.0), 2.0, true), [stolen, throttled]);
    let unreadable = Counters { ticks: None, switched_out: None, throttled: None };
    assert_eq!(start.disturbances(&unreadable, Some(0.0), 2.0, false), [""; 0]);
}

#[test]
fn the_buffer_of_samples_never_moves() {
    let clock = FakeClock::of_cost(1);
    for (timing, room) in [(Timing::Batches, 20), (Timing::Events, 200)] {
        let mut entries = prepare_all(vec![steady("kept", &clock, 100)], &AMPLE, timing).unwrap();
        let buffer = |entries: &mut [Entry]| {
            let samples = &entries[0].running().expect("it runs").samples;
            (samples.as_ptr(), samples.capacity())
        };
        let before = buffer(&mut entries);
        assert_eq!(before.1, room);
        take_rounds(&mut entries, &clock, &AMPLE, timing).unwrap();
        assert_eq!(buffer(&mut entries), before);
        assert_eq!(entries.remove(0).into_row().figures.unwrap().samples.len(), room);
    }
}

#[test]
fn two_modes_are_told_unless_the_clock_made_them() {
    let clock = FakeClock::of_cost(0);
    let calls = Cell::new(0);
    let wandering = |steps| {
        calls.set(calls.get() + 1);
        clock.work(steps * if calls.get() % 3 == 0 { 2900 } else { 10_100 });
        Ok(steps)
    };
    let budget = Budget { rounds: 101, warm_up_ns: 0, ..AMPLE };
    let rivals = [steady("steady", &clock, 5000), rival("pipe", wandering)];
    let measured = contest(Timing::Batches, rivals).measure_with(&clock, &budget).unwrap();
    let told = |measured: &Measured| -> Vec<String> {
        measured.spoiled.iter().filter(|told| told.contains("two modes")).cloned().collect()
    };
    assert_eq!(told(&measured), ["'pipe' (free) shows two modes, about 2.90 and 10.1 us"]);

    let coarse = FakeClock { step_ns: 41, ..FakeClock::of_cost(1) };
    let measured = contest(Timing::Events, [steady("even", &coarse, 60)]).measure_with(&coarse, &AMPLE).unwrap();
    let mut readings = row(&measured, "even").samples().to_vec();
    readings.sort_by(f64::total_cmp);
    readings.dedup();
    assert_eq!(readings, [41.0, 82.0]);
    assert_eq!(told(&measured), [""; 0]);
}

fn cpus_of_this_thread() -> CpuSet {
    sched_getaffinity(Pid::from_raw(0)).unwrap()
}

#[test]
fn a_turn_sits_where_it_should_and_gives_the_cpus_back_even_after_an_error() {
    let before = cpus_of_this_thread();
    let clock = FakeClock::of_cost(1);
    let on_one_cpu = Cell::new(true);
    let calls = Cell::new(0);
    let prepare = |pinning: Pinning| {
        assert_eq!(pinning.own, pinning.peer);
        Ok(Ready::new(|steps| {
            on_one_cpu.set(on_one_cpu.get() && usable_cpus().len() == 1);
            calls.set(calls.get() + 1);
            clock.work(100 * steps);
            if calls.get() < 20 { Ok(steps) } else { bail!("enough") }
        }))
    };
    let seated = Rival::of_threads("seated", Placement::SameCpu, prepare);
    assert_eq!(error_of(contest(Timing::Batches, [seated]).measure_with(&clock, &AMPLE)), "in 'seated': enough");
    assert!(on_one_cpu.get());
    assert_eq!(cpus_of_this_thread(), before);
}

#[test]
fn a_second_cpu_is_taken_if_there_is_one_and_the_row_skipped_if_not() {
    let clock = FakeClock::of_cost(1);
    let apart = Rival::of_threads("apart", Placement::OtherCpu, |pinning| {
        assert_ne!(pinning.own, pinning.peer);
        Ok(Ready::new(|steps| {
            clock.work(100 * steps);
            Ok(steps)
        }))
    });
    let measured = contest(Timing::Batches, [apart]).measure_with(&clock, &AMPLE).unwrap();
    assert_eq!(measured.figures("apart", Placement::OtherCpu).is_some(), usable_cpus().len() > 1);
    assert_eq!(Pinning::of(Placement::Free), Some(Pinning { own: PinTo::Anywhere, peer: PinTo::Anywhere }));
}

#[test]
fn the_real_clock_reads_living_children_and_no_others() {
    let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    assert!(SystemClock.cpu_ns(&[pid]).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(SystemClock.cpu_ns(&[pid]), None);
}
