//! What did dividing gain, and what did it cost to get the text there?

use anyhow::Result;
use shared::measure::usable_cpus;
use shared::number::{chosen_with_unit, ratio_in_words, three_digits};
use shared::stats::{Median, Ratio, median};
use shared::{Cell, Claim, Column, Placement, Ruling, Stage, Table};

use super::ways::{COPIED, DIVIDED, FORKED, ONE, PIPES, RAYON, THERE, THREADS, Times};

/// Those whose worker counts a text that it need not be sent: the claim is on dividing, not on sending.
const JUDGED: [&str; 4] = [THREADS, RAYON, FORKED, THERE];

const CPU_ALLOWED: f64 = 1.1; // As much CPU time as one thread needs, and a tenth.

/// How many times as long as one thread; less than 1 is faster.
fn against_one(times: &Times, way: &str) -> Option<Ratio> {
    times.measured.ratio(way, ONE, Placement::Free)
}

fn cpu_against_one(times: &Times, way: &str) -> Option<f64> {
    Some(times.cpu_ns(way)? / times.cpu_ns(ONE)?)
}

fn is_faster(ratio: Option<Ratio>) -> bool {
    ratio.is_some_and(|ratio| ratio.is_faster())
}

/// Faster, and for hardly more CPU time.
fn is_sparing(times: &Times, way: &str) -> bool {
    is_faster(against_one(times, way)) && cpu_against_one(times, way) <= Some(CPU_ALLOWED)
}

/// Not even a tenth of the time, by the lower end of the interval.
fn saves_nothing(ratio: &Ratio) -> bool {
    const WORTH_IT: f64 = 0.9;
    ratio.low.is_some_and(|low| low > WORTH_IT)
}

/// How many CPUs its pieces were given, on average.
fn cpus_at_once(times: &Times, way: &str) -> Option<f64> {
    Some(times.cpu_ns(way)? / times.median_ns(way)?)
}

/// If other programs have them, what was seen says nothing of dividing.
fn were_given_cpus(times: &Times) -> bool {
    const MOST: f64 = 0.75;
    let usable = usable_cpus().len() as f64;
    JUDGED.iter().filter_map(|way| cpus_at_once(times, way)).any(|cpus| cpus >= MOST * usable)
}

/// The speed-up by size, and the CPU time for the largest.
pub fn speed_up(stage: &mut Stage, results: &[Times]) {
    let mut columns = vec![Column::label("divided among".to_owned())];
    columns.extend(results.iter().map(|times| Column::value(size(times), "")));
    columns.push(Column::value("CPU time".to_owned(), ""));
    let speed = |times: &Times, way: &str| {
        against_one(times, way).map_or(Cell::Nothing, |ratio| Cell::Number(1.0 / ratio.ratio))
    };
    let row = |way: &str| {
        let mut row = vec![Cell::Text(way.to_owned())];
        row.extend(results.iter().map(|times| speed(times, way)));
        let cpu = results.last().and_then(|times| cpu_against_one(times, way));
        row.push(cpu.map_or(Cell::Nothing, Cell::Number));
        row
    };
    let title = "Speed-up over one thread by size, and CPU time for the largest, one thread's being 1".to_owned();
    stage.table(Table { title, columns, rows: DIVIDED.iter().map(|way| row(way)).collect() });
}

fn size(times: &Times) -> String {
    chosen_with_unit("bytes", times.bytes as f64)
}

/// What it costs to get the text to the workers, beside workers who have it already.
pub fn price(stage: &mut Stage, results: &[Times], workers: usize) {
    let Some(largest) = results.last() else { return };
    let prices = more_per_byte(largest, COPIED).zip(more_per_byte(largest, PIPES)).zip(largest.median_ns(ONE));
    let Some(((copied_ns, sent_ns), one_ns)) = prices else { return };
    let task = three_digits(one_ns / largest.bytes as f64);
    let [copied, sent] = [copied_ns, sent_ns].map(per_byte_in_words);
    let pays = if is_positive(sent_ns) {
        // One thread takes T, each of n workers T / n, and what is sent comes on top.
        let pays_ns = sent_ns.value * workers as f64 / (workers - 1) as f64;
        format!(
            " With a CPU for each of {workers} workers, a task would gain from being sent through pipes if it took over {} \
             ns per byte.",
            three_digits(pays_ns)
        )
    } else {
        String::new()
    };
    stage.note(format!(
        "Counting takes one thread {task} ns per byte. To get the text to workers in other processes adds {copied} by a \
         copy into shared memory, and {sent} by pipes.{pays}"
    ));
}

/// What a way takes longer than the workers who have the text; both sides of a round were measured next to each other.
fn more_per_byte(times: &Times, way: &str) -> Option<Median> {
    let rounds = |way| Some(times.measured.figures(way, Placement::Free)?.by_round());
    let (ways, others): (Vec<f64>, Vec<f64>) = (rounds(way)?, rounds(THERE)?);
    let more: Vec<f64> = ways.iter().zip(&others).map(|(one, other)| (one - other) / times.bytes as f64).collect();
    (!more.is_empty()).then(|| median(&more))
}

fn is_positive(more: Median) -> bool {
    more.low.is_some_and(|low| low > 0.0)
}

fn per_byte_in_words(more: Median) -> String {
    if is_positive(more) {
        format!("{} ns per byte", three_digits(more.value))
    } else {
        "nothing measurable".to_owned()
    }
}

pub fn give(stage: &mut Stage, results: &[Times]) -> Result<()> {
    let Some(largest) = results.last() else { return Ok(()) };
    for way in [THREADS, FORKED, THERE] {
        if let Some(ratio) = against_one(largest, way) {
            stage.trend(format!("{way} against {ONE}, for the largest text"), &ratio);
        }
    }
    let each: Vec<String> = results.iter().filter_map(Best::of).map(|best| best.in_words()).collect();
    stage.note(format!("The best of each size. {}.", each.join("; ")));
    stage.rule(Claim::DividingIsMoreEfficient, judge(results, largest))
}

fn judge(results: &[Times], largest: &Times) -> Ruling {
    let Some(best) = Best::of(largest) else {
        return Ruling::skipped("Nothing that divides the task could be measured");
    };
    let faster = |times: &Times| JUDGED.iter().any(|way| is_faster(against_one(times, way)));
    let sparing = |times: &Times| JUDGED.iter().any(|way| is_sparing(times, way));
    let ratios: Vec<Ratio> = JUDGED.iter().filter_map(|way| against_one(largest, way)).collect();
    // The largest text that was not counted clearly faster, and the smallest beyond it.
    let from = results.iter().rposition(|times| !faster(times)).map(|last| (last, last + 1));
    match (faster(largest), results.iter().all(sparing), from) {
        (true, true, _) => Ruling::holds(best.with_cpu_time()),
        (true, false, None) => {
            Ruling::in_part("true of the time, not of the CPU time for every size", best.with_cpu_time())
        }
        (true, false, Some((no, yes))) => {
            let price = if results[yes..].iter().all(sparing) { "" } else { ", and CPU time does not matter" };
            let condition =
                format!("the task is large: {} of text, not {}{price}", size(&results[yes]), size(&results[no]));
            Ruling::only_if(condition, best.with_cpu_time())
        }
        (false, ..) if ratios.iter().all(saves_nothing) && were_given_cpus(largest) => {
            Ruling::refuted(best.with_cpus())
        }
        (false, ..) => Ruling::undecided(best.with_cpus()),
    }
}

/// The fastest that divides; one that is clearly faster than one thread before one that is not, and first one that spares
/// CPU time.
struct Best<'a> {
    times: &'a Times,
    way: &'static str,
    ratio: Ratio,
    cpu: f64,
    cpus_at_once: f64,
}

impl Best<'_> {
    fn of(times: &Times) -> Option<Best<'_>> {
        let ratios = JUDGED.iter().filter_map(|way| Some((*way, against_one(times, way)?)));
        let rank = |(way, ratio): &(&str, Ratio)| (!is_sparing(times, way), !ratio.is_faster());
        let by_rank = |one: &(&str, Ratio), other: &(&str, Ratio)| rank(one).cmp(&rank(other));
        let (way, ratio) = ratios.min_by(|a, b| by_rank(a, b).then(a.1.ratio.total_cmp(&b.1.ratio)))?;
        let (cpu, cpus_at_once) = (cpu_against_one(times, way)?, cpus_at_once(times, way)?);
        Some(Best { times, way, ratio, cpu, cpus_at_once })
    }

    /// Threads or processes.
    fn who(&self) -> &'static str {
        if [THREADS, RAYON].contains(&self.way) { "threads" } else { "processes" }
    }

    fn speed(&self) -> String {
        let doubt = if self.ratio.clear { "" } else { " (too close to call)" };
        format!("{}{doubt}", ratio_in_words(self.ratio.ratio))
    }

    fn with_cpu_time(&self) -> String {
        let percent = (self.cpu - 1.0) * 100.0;
        let more = if percent < 0.0 { "less" } else { "more" };
        format!(
            "By {}, {} are counted {} than by one thread, for {} % {more} CPU time",
            self.way,
            size(self.times),
            self.speed(),
            three_digits(percent.abs())
        )
    }

    fn with_cpus(&self) -> String {
        format!(
            "By {}, {} are counted {} than by one thread, on {} CPUs at once",
            self.way,
            size(self.times),
            self.speed(),
            three_digits(self.cpus_at_once)
        )
    }

    fn in_words(&self) -> String {
        let [cpu, at_once] = [self.cpu * 100.0, self.cpus_at_once].map(three_digits);
        let (size, speed) = (size(self.times), self.speed());
        format!("{size} by {}: {speed}, {cpu} % of one thread's CPU time, {at_once} CPUs at once", self.way)
    }
}

pub fn tell(stage: &mut Stage, results: &[Times]) {
    let Some((largest, best)) = results.last().and_then(|times| Some((times, Best::of(times)?))) else {
        stage.headline("0 ways to divide could be measured");
        stage.answer("Nothing that divides the task could be measured here.");
        stage.advise("Where a piece may crash, count it in a process: copy `child`.");
        return;
    };
    let speed = |way| match against_one(largest, way) {
        Some(ratio) if ratio.clear => ratio_in_words(ratio.ratio),
        Some(_) => "not clearly faster".to_owned(),
        None => "not measured".to_owned(),
    };
    stage.headline(match best.ratio.is_faster() {
        true => format!("{}, by {}", ratio_in_words(best.ratio.ratio), best.who()),
        false => format!("0 of {} faster than one thread", JUDGED.len()),
    });
    stage.answer(format!(
        "For {}, threads are {} than one thread; processes are {} if they share the text, {} if it is sent by pipes.",
        size(largest),
        speed(THREADS),
        speed(THERE),
        speed(PIPES),
    ));
    let processes_win = largest.measured.ratio(THERE, THREADS, Placement::Free).is_some_and(|ratio| ratio.is_faster());
    stage.advise(if !best.ratio.is_faster() {
        "Dividing saved no time here. Where a piece may crash: copy `child`."
    } else if processes_win {
        "Divide among processes that share the text: copy `child`."
    } else {
        "Divide among threads; among processes if one may crash: copy `child`."
    });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use nix::unistd::Pid;
    use shared::Verdict;
    use shared::measure::{Budget, Clock, Contest, Ready, Rival, Timing};

    use super::*;

    /// Time and CPU time, moved on by the rivals alone.
    #[derive(Default)]
    struct FakeClock {
        now_ns: Cell<u64>,
        cpu_ns: Cell<u64>,
    }

    impl Clock for FakeClock {
        fn now_ns(&self) -> u64 {
            self.now_ns.update(|now_ns| now_ns + 1);
            self.now_ns.get()
        }

        fn cpu_ns(&self, _children: &[Pid]) -> Option<u64> {
            Some(self.cpu_ns.get())
        }
    }

    /// One thread takes a millisecond, threads so many times as long, with so many times the CPU time.
    fn times(bytes: usize, longer: f64, cpu: f64) -> Times {
        let clock = FakeClock::default();
        let mut contest = Contest::new("", "", Timing::Batches);
        for (way, longer, cpu) in [(ONE, 1.0, 1.0), (THREADS, longer, cpu)] {
            let clock = &clock;
            let turn = move |steps: u64| {
                clock.now_ns.update(|ns| ns + (longer * 1e6) as u64 * steps);
                clock.cpu_ns.update(|ns| ns + (cpu * 1e6) as u64 * steps);
                Ok(steps)
            };
            contest.add(Rival::of_threads(way, Placement::Free, move |_| Ok(Ready::new(turn))));
        }
        let budget = Budget { rounds: 8, time_ns: 1 << 40, sample_ns: 1, events: 1, warm_up_ns: 1 };
        Times { bytes, measured: contest.measure_with(&clock, &budget).unwrap() }
    }

    #[test]
    fn every_verdict_can_come_out() {
        let cpus = usable_cpus().len() as f64;
        for (small, large, verdict, condition) in [
            ((0.5, 1.0), (0.5, 1.0), Verdict::Holds, None),
            ((2.0, 1.0), (0.5, 1.0), Verdict::Qualified, Some("the task is large: 1 MiB of text, not 16 KiB")),
            (
                (2.0, 1.0),
                (0.5, 1.5),
                Verdict::Qualified,
                Some("the task is large: 1 MiB of text, not 16 KiB, and CPU time does not matter"),
            ),
            ((0.5, 1.5), (0.5, 1.0), Verdict::Qualified, Some("true of the time, not of the CPU time for every size")),
            ((2.0, 1.0), (1.0, cpus), Verdict::Refuted, None),
            ((2.0, 1.0), (1.0, 0.1), Verdict::Undecided, None),
        ] {
            let results = [times(16 << 10, small.0, small.1), times(1 << 20, large.0, large.1)];
            let ruling = judge(&results, &results[1]);
            assert_eq!(ruling.verdict, verdict, "{ruling:?}");
            assert_eq!(ruling.condition.as_ref().map(|condition| condition.says.as_str()), condition, "{ruling:?}");
            assert!(ruling.because.starts_with("By threads, 1 MiB are counted "), "{ruling:?}");
        }
    }
}
