//! What did dividing gain, and what did it cost to get the text there?

use anyhow::Result;
use shared::measure::usable_cpus;
use shared::number::{three_digits, with_unit};
use shared::stats::{Median, Ratio, median};
use shared::{Cell, Claim, Column, Placement, Stage, Table, Verdict};

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

/// Each way's speed-up by size, and its CPU time for the largest.
pub fn speed_up(stage: &mut Stage, results: &[Times]) {
    let mut columns = vec![Column::label("way".to_owned())];
    columns.extend(results.iter().map(|times| Column::value(with_unit("bytes", times.bytes as f64), "")));
    columns.push(Column::value("its CPU time".to_owned(), ""));
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
    let title =
        "Speed-up over one thread by size, and CPU time for the largest as a multiple of one thread's".to_owned();
    stage.table(Table { title, columns, rows: DIVIDED.iter().map(|way| row(way)).collect() });
}

/// Nanoseconds per byte of getting the largest text to the workers.
#[derive(Clone, Copy)]
pub struct Price {
    copied_ns: Median,
    sent_ns: Median,
}

/// What it costs to get the text to the workers, beside workers who have it already.
pub fn price(stage: &mut Stage, results: &[Times], workers: usize) -> Option<Price> {
    let largest = results.last()?;
    let price = Price { copied_ns: more_per_byte(largest, COPIED)?, sent_ns: more_per_byte(largest, PIPES)? };
    let task = three_digits(largest.median_ns(ONE)? / largest.bytes as f64);
    let [copied, sent] = [price.copied_ns, price.sent_ns].map(per_byte_in_words);
    let pays = if is_positive(price.sent_ns) {
        // One thread takes T, each of n workers T / n, and what is sent comes on top.
        let pays_ns = price.sent_ns.value * workers as f64 / (workers - 1) as f64;
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
    Some(price)
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
    let faster = |times: &Times| JUDGED.iter().any(|way| is_faster(against_one(times, way)));
    let sparing = |times: &Times| {
        let good = |way: &str| is_faster(against_one(times, way)) && cpu_against_one(times, way) <= Some(CPU_ALLOWED);
        JUDGED.iter().any(|way| good(way))
    };
    let ratios: Vec<Ratio> = JUDGED.iter().filter_map(|way| against_one(largest, way)).collect();
    let verdict = match (faster(largest), results.iter().all(sparing)) {
        _ if ratios.is_empty() => Verdict::Skipped,
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::Qualified,
        (false, _) if ratios.iter().all(saves_nothing) && were_given_cpus(largest) => Verdict::Refuted,
        (false, _) => Verdict::Undecided,
    };
    let each = results.iter().filter_map(|times| {
        let (way, ratio) = best(times)?;
        let cpu = cpu_against_one(times, way)?;
        let [faster, cpu, at_once] = [1.0 / ratio, cpu, cpus_at_once(times, way)?].map(three_digits);
        let size = with_unit("bytes", times.bytes as f64);
        Some(format!("{size}: {faster} times as fast by {way}, with {cpu} times the CPU time, {at_once} CPUs at once"))
    });
    let each: Vec<String> = each.collect();
    let because = if each.is_empty() { "no way to divide could be measured".to_owned() } else { each.join("; ") };
    stage.verdict(Claim::DividingIsMoreEfficient, verdict, because)
}

/// The fastest way to divide.
fn best(times: &Times) -> Option<(&'static str, f64)> {
    let ratios = JUDGED.iter().filter_map(|way| Some((*way, against_one(times, way)?.ratio)));
    ratios.min_by(|one, other| one.1.total_cmp(&other.1))
}

pub fn answer(results: &[Times], price: Option<Price>) -> String {
    let Some((largest, price)) = results.last().zip(price) else {
        return "The ways could not all be measured here.".to_owned();
    };
    let speed = |way| against_one(largest, way).map_or("unknown".to_owned(), |ratio| three_digits(1.0 / ratio.ratio));
    let count_ns = largest.median_ns(ONE).unwrap_or(f64::NAN) / largest.bytes as f64;
    format!(
        "For {}, threads are {} times as fast as one thread, forked processes {}, processes that share the text {}, and \
         processes that are sent it through pipes {}; to send it costs {}, beside the {} ns of counting it.",
        with_unit("bytes", largest.bytes as f64),
        speed(THREADS),
        speed(FORKED),
        speed(THERE),
        speed(PIPES),
        per_byte_in_words(price.sent_ns),
        three_digits(count_ns),
    )
}
