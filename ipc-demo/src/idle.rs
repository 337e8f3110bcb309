//! What does waiting cost: a late wake-up, or a busy CPU?

mod wire;

use anyhow::{Context, Result};
use process_demo::crew::Kind;
use shared::Placement::{OtherCpu, SameCpu};
use shared::measure::Pinning;
use shared::number::{count, ratio_in_words, three_digits, with_unit};
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table, stats, tried};

use wire::{ADAPTIVE, FUTEX, IN_FLIGHT, MECHANISMS, Mechanism, Pair, SLEEPING, SPINNING, Series};

pub const DEMO: Demo = Demo {
    name: "idle",
    question: "What does waiting cost: a late wake-up, or a busy CPU?",
    claims: &[],
    rule: "It gives no verdict. Each message carries the moment when it was due and the moment just before it was \
           sent; its receiver, on another CPU if there is one, reads the same clock as soon as it has it. One \
           series of each mechanism is not counted. A p99 is told of 100 messages or more. Sleeps are the receiver's voluntary context switches for each message. \
           Spinning pays where it takes less CPU time than it saves waiting, beside the same ring asleep.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
    ],
    run,
};

/// How much is sent.
struct Plan {
    rounds: usize,
    /// Messages per second, and how many make a series; slowest first.
    paces: &'static [(u64, u64)],
    /// So long nobody sends anything. No multiple of the 100 ms after which a sleeping ring looks for its peer: the end
    /// is not to meet a receiver that is awake by chance.
    silence_ns: u64,
}

const QUICK: Plan = Plan { rounds: 2, paces: &[(200, 2), (10_000, 60), (100_000, 300)], silence_ns: 150_000_000 };
const NORMAL: Plan = Plan {
    rounds: 12, // The fewest at which one disturbed round leaves a ratio's interval as it is.
    paces: &[(10, 1), (100, 2), (1_000, 10), (10_000, 100), (100_000, 600)],
    silence_ns: 1_150_000_000,
};
const THOROUGH: Plan = Plan {
    rounds: 20,
    paces: &[(10, 2), (100, 10), (1_000, 50), (10_000, 500), (100_000, 3_000)],
    silence_ns: 3_450_000_000,
};

/// A mechanism, and what was seen of it.
struct Row {
    mechanism: &'static Mechanism,
    pair: Pair,
    /// For each pace, its series.
    paces: Vec<Vec<Series>>,
    /// While nobody sent anything but one message at the end; nothing of one that never sleeps.
    silence: Vec<Series>,
}

/// The name of a mechanism, and why it could not be had.
type Refused = (&'static str, String);

fn run(stage: &mut Stage) -> Result<()> {
    let plan = stage.by_effort(QUICK, NORMAL, THOROUGH);
    let apart = Pinning::of(OtherCpu);
    let pinning = apart.or_else(|| Pinning::of(SameCpu)).context("no CPU to run on")?;
    say_what_happens(stage, apart.is_some());

    let (mut rows, mut refused) = (Vec::new(), Vec::new());
    for mechanism in &MECHANISMS {
        match tried(Pair::start(mechanism, pinning, stage.clock()))? {
            Ok(pair) => {
                rows.push(Row { mechanism, pair, paces: plan.paces.iter().map(|_| vec![]).collect(), silence: vec![] })
            }
            Err(why) => refused.push((mechanism.name, why)),
        }
    }
    measure(&mut rows, &plan)?;
    rows.sort_by(|one, other| median_ns(&one.paces[0]).total_cmp(&median_ns(&other.paces[0])));

    stage.show(in_short(&rows, &refused, &plan));
    stage.table(in_detail(&rows, &refused, &plan));
    stage.note(
        "A latency counted from sending hides how long a message had to wait for the ones before it to be sent; 'p99, \
         due', which counts from the moment when it was due, does not.",
    );
    if apart.is_some() {
        say_how_deep_a_cpu_sleeps(stage, &rows, &plan);
        tell_what_disturbed(stage, &rows);
    }
    tell_facts(stage, &rows, &plan);
    if answer(stage, &rows, &plan).is_none() {
        stage.skip("this machine refused the ring, beside which all else is set");
    }
    Ok(())
}

fn say_what_happens(stage: &mut Stage, two_cpus: bool) {
    let pacing = if two_cpus {
        "The sender has a CPU of its own: it sleeps until 100 us before the moment, and then spins."
    } else {
        "Both share the one CPU there is: the sender sleeps until the moment, and is as late as its timer."
    };
    stage.note(format!(
        "Messages of 64 bytes go to a receiver that has nothing else to do, each at its own fixed moment, whether or \
         not the one before it was late; only if {IN_FLIGHT} are in flight does the sender wait. {pacing} Both are \
         processes, but at crossbeam two threads of one. Three wait at one and the same ring: one spins, one sleeps \
         at once, and one spins as long as that has helped lately. The rings look every 100 ms whether their peer still \
         lives; who waits at a pipe is told so by the kernel."
    ));
}

/// Round after round, pace after pace, each mechanism has its series in turn, so that what disturbs one disturbs all.
fn measure(rows: &mut [Row], plan: &Plan) -> Result<()> {
    const WARM_UP: u64 = 300; // Every place of a message was used often, and every mechanism has run.
    let series = |row: &mut Row, (per_second, messages): (u64, u64)| {
        let gap_ns = 1_000_000_000 / per_second;
        row.pair.begin(gap_ns, messages);
        row.pair.end(messages).context(row.mechanism.name)
    };
    for row in &mut *rows {
        series(row, (plan.fastest(), WARM_UP))?; // Not counted.
    }
    for _ in 0..plan.rounds {
        for (index, &pace) in plan.paces.iter().enumerate() {
            for row in &mut *rows {
                let seen = series(row, pace)?;
                row.paces[index].push(seen);
            }
        }
        rows.reverse(); // A B, then B A: a drift in time hits all alike.
    }
    let mut sleepers: Vec<&mut Row> = rows.iter_mut().filter(|row| row.mechanism.sleeps()).collect();
    sleepers.iter_mut().for_each(|row| row.pair.begin(plan.silence_ns, 1)); // For all of them at once.
    for row in sleepers {
        let seen = row.pair.end(1).context(row.mechanism.name)?;
        row.silence.push(seen);
    }
    Ok(())
}

impl Plan {
    fn slowest(&self) -> u64 {
        self.paces[0].0
    }

    fn fastest(&self) -> u64 {
        self.paces[self.last()].0
    }

    fn last(&self) -> usize {
        self.paces.len() - 1
    }
}

fn samples(series: &[Series], of: fn(&Series) -> &Vec<f64>) -> Vec<f64> {
    series.iter().flat_map(of).copied().collect()
}

fn sum(series: &[Series], of: fn(&Series) -> u64) -> u64 {
    series.iter().map(of).sum()
}

fn median_ns(series: &[Series]) -> f64 {
    stats::median(&samples(series, |one| &one.from_sent_ns)).value
}

/// Of one CPU, in per cent: what the receiver took.
fn cpu(series: &[Series]) -> f64 {
    sum(series, |one| one.cpu_ns) as f64 / sum(series, |one| one.wall_ns) as f64 * 100.0
}

fn of<'r>(rows: &'r [Row], name: &str) -> Option<&'r Row> {
    rows.iter().find(|row| row.mechanism.name == name)
}

/// Of each mechanism at the slowest and the fastest pace: how late a message is, and the CPU that waiting takes; also
/// while nobody sends.
fn in_short(rows: &[Row], refused: &[Refused], plan: &Plan) -> Table {
    let cells = |row: &Row| {
        let at = |pace: usize| [median_ns(&row.paces[pace]).into(), cpu(&row.paces[pace]).into()];
        let silent = if row.silence.is_empty() { Cell::Nothing } else { cpu(&row.silence).into() };
        let threads = if row.mechanism.between == Kind::Threads { ", threads" } else { "" };
        let name = format!("{}{threads}", row.mechanism.name);
        [name.into()].into_iter().chain(at(0)).chain(at(plan.last())).chain([silent]).collect()
    };
    let refused = refused.iter().map(|(name, _)| vec![Cell::from(*name), "refused".into()]);
    let late = |pace| Column::value(format!("late at {}/s", count(pace)), "ns");
    let cpu = |name| Column::value(name, "%");
    let columns = [
        Column::label("waiting by"),
        late(plan.slowest()),
        cpu("CPU"),
        late(plan.fastest()),
        cpu("CPU"),
        cpu("idle CPU"),
    ];
    Table::new(
        "How late a message arrives, and the CPU that waiting takes",
        columns,
        rows.iter().map(cells).chain(refused),
    )
}

fn in_detail(rows: &[Row], refused: &[Refused], plan: &Plan) -> Table {
    const FEWEST: usize = 100; // Of fewer, a p99 is but the worst one.
    let p99 = |samples: &[f64]| if samples.len() < FEWEST { Cell::Nothing } else { stats::p99(samples).into() };
    let cells = |row: &Row, pace: usize| {
        let series = &row.paces[pace];
        let (from_sent, from_due) = (samples(series, |one| &one.from_sent_ns), samples(series, |one| &one.from_due_ns));
        vec![
            row.mechanism.name.into(),
            (plan.paces[pace].0 as f64).into(),
            stats::median(&from_sent).into(),
            p99(&from_sent),
            p99(&from_due),
            (sum(series, |one| one.sleeps) as f64 / from_sent.len() as f64).into(),
            cpu(series).into(),
        ]
    };
    let cells = &cells;
    let measured = (0..plan.paces.len()).flat_map(|pace| rows.iter().map(move |row| cells(row, pace)));
    let refused = refused.iter().map(|(name, why)| vec![Cell::from(*name), Cell::Skipped { skipped: why.clone() }]);
    let columns = [
        Column::label("waiting by"),
        Column::value("pace", "/s"),
        Column::value("median", "ns"),
        Column::value("p99", "ns"),
        Column::value("p99, due", "ns"),
        Column::value("sleeps", "each"),
        Column::value("CPU", "%"),
    ];
    Table::new("At each pace: from sending to having it", columns, measured.chain(refused))
}

/// A receiver that spins takes its whole CPU, if it can have it: the kernel itself takes far less than the rest.
const WHOLE_CPU: f64 = 95.0;

/// The least that the receiver that spins got of its CPU at any pace, in per cent.
fn least_cpu(rows: &[Row]) -> Option<f64> {
    of(rows, SPINNING)?.paces.iter().map(|series| cpu(series)).reduce(f64::min)
}

fn tell_what_disturbed(stage: &mut Stage, rows: &[Row]) {
    if cfg!(debug_assertions) {
        stage.spoiled("a debug build: its times say little; build with --release");
    }
    if let Some(least) = least_cpu(rows).filter(|least| *least < WHOLE_CPU) {
        let got = three_digits(least);
        stage.spoiled(format!("others needed its CPU: the receiver that spins got only {got} % of it"));
    }
}

/// Where others needed the CPU, nobody can tell their share in how late a message was, and nothing is said.
fn say_how_deep_a_cpu_sleeps(stage: &mut Stage, rows: &[Row], plan: &Plan) {
    let Some(row) = of(rows, FUTEX).filter(|_| least_cpu(rows).is_some_and(|least| least >= WHOLE_CPU)) else { return };
    let (rare_ns, frequent_ns) = (median_ns(&row.paces[0]), median_ns(&row.paces[plan.last()]));
    stage.note(format!(
        "An idle CPU sleeps too, and may sleep the deeper the longer nobody needs it. Asleep at the futex, a receiver \
         has its message after {} at {} per second and after {} at {}: {} where messages are rare.",
        with_unit("ns", rare_ns),
        count(plan.slowest()),
        with_unit("ns", frequent_ns),
        count(plan.fastest()),
        ratio_in_words(rare_ns / frequent_ns),
    ));
}

/// What must hold on every run.
fn tell_facts(stage: &mut Stage, rows: &[Row], plan: &Plan) {
    let every: Vec<&Series> = rows.iter().flat_map(|row| row.paces.iter().flatten()).collect();
    let total = |series: &[&Series], of: fn(&Series) -> u64| series.iter().map(|one| of(one)).sum::<u64>();
    let (sent, right) = (total(&every, |one| one.sent), total(&every, |one| one.right));
    let got = format!("{} of {}", count(right), count(sent));
    let says = "Every message arrives once, whole and in order, and not before it is sent";
    stage.check(says, right == sent && sent > 0, got);

    // Where there is time to look, no message is sent before its receiver was seen asleep.
    let at_pace = |row: &'_ Row, pace: usize| row.mechanism.is_seen_asleep(1_000_000_000 / plan.paces[pace].0);
    let paces = |row: &'_ Row| (0..plan.paces.len()).filter(|&pace| at_pace(row, pace)).collect::<Vec<_>>();
    let rare: Vec<&Series> =
        rows.iter().flat_map(|row| paces(row).into_iter().flat_map(|pace| &row.paces[pace])).collect();
    let (sent, asleep) = (total(&rare, |one| one.sent), total(&rare, |one| one.asleep));
    let sleeps = total(&rare, |one| one.sleeps);
    let got = format!("{} sleeps for {} messages", count(sleeps), count(sent));
    let says = "After a gap of more than 2 ms, each message finds its receiver asleep, unless it spins";
    stage.fact(says, asleep == sent && sleeps >= sent && sent > 0, got);

    if let Some(row) = of(rows, SPINNING) {
        let spun: Vec<&Series> = row.paces.iter().flatten().collect();
        let (sent, sleeps) = (total(&spun, |one| one.sent), total(&spun, |one| one.sleeps));
        let got = format!("{} sleeps in {} messages", count(sleeps), count(sent));
        stage.fact("The receiver that spins never sleeps", sleeps == 0, got);
    }
    let silent: Vec<&Series> = rows.iter().flat_map(|row| &row.silence).collect();
    let quiet = silent.iter().filter(|series| series.sleeps > 0 && series.asleep == 1).count();
    stage.all("Every receiver but the spinner sleeps while nobody sends", quiet, silent.len());
}

/// What spinning at the ring buys against sleeping at it, at each pace; then headline, answer and advice. None if there
/// was no ring.
fn answer(stage: &mut Stage, rows: &[Row], plan: &Plan) -> Option<()> {
    let [spinning, sleeping, adaptive] = [of(rows, SPINNING)?, of(rows, SLEEPING)?, of(rows, ADAPTIVE)?];
    let price = |(pace, &(per_second, _)): (usize, &(u64, u64))| Price {
        per_second,
        saved_ns: median_ns(&sleeping.paces[pace]) - median_ns(&spinning.paces[pace]),
        more_cpu: cpu(&spinning.paces[pace]) - cpu(&sleeping.paces[pace]),
    };
    // Without a CPU for itself at every pace, the spinner shows no border.
    let is_told = least_cpu(rows)? >= WHOLE_CPU;
    let prices: Vec<Price> = plan.paces.iter().enumerate().map(price).filter(|_| is_told).collect();
    if is_told {
        let cells = |price: &Price| {
            let saved = price.per_saved().map(|per_saved| [price.saved_ns.into(), per_saved.into()]);
            let [saved, per_saved] = saved.unwrap_or(["nothing".into(), Cell::Nothing]);
            vec![(price.per_second as f64).into(), saved, price.more_cpu.into(), per_saved]
        };
        let columns = [
            Column::x("messages", "per second"),
            Column::value("saved per message", "ns"),
            Column::value("CPU more", "%"),
            Column::value("CPU time per time saved", ""),
        ];
        let title = "What spinning at the ring buys, against sleeping at it";
        stage.table(Table::new(title, columns, prices.iter().map(cells)));
    }
    let at =
        |row: &Row, pace: usize| (with_unit("ns", median_ns(&row.paces[pace])), three_digits(cpu(&row.paces[pace])));
    let [(late, little), (early, busy)] = [sleeping, spinning].map(|row| at(row, 0));
    let (slowest, fastest) = (count(plan.slowest()), count(plan.fastest()));
    let both = |row: &Row| format!("{} and {}", at(row, 0).0, at(row, plan.last()).0);
    stage.note(format!(
        "At {slowest} and {fastest} per second, the adaptive ring is late by {}; the sleeping one by {}, the spinning one by \
         {}.",
        both(adaptive),
        both(sleeping),
        both(spinning),
    ));
    let (pays, advice) = match pays_from(&prices).map(count) {
        Some(from) => (
            format!("Spinning pays from {from} per second on"),
            format!("Spin from {from} messages per second on; below, sleep: copy `ring`."),
        ),
        None if is_told => (
            "Spinning pays at no pace here".to_owned(),
            "Let a receiver sleep, for spinning never paid here: copy `ring`.".to_owned(),
        ),
        None => (
            "Others used its CPU at some pace".to_owned(),
            "Let a receiver sleep where messages are rare: copy `ring`.".to_owned(),
        ),
    };
    stage.headline(format!("{late} late, or {busy} % of a CPU"));
    stage.answer(format!(
        "At {slowest} messages per second, a sleeping receiver is {late} late and takes {little} % of a CPU; a spinning one \
         {early} and {busy} %. {pays}.",
    ));
    stage.advise(advice);
    Some(())
}

/// What spinning takes and saves at one pace, beside the same ring asleep.
#[derive(Clone, Copy, Debug)]
struct Price {
    per_second: u64,
    /// By so much a message is earlier; below zero if it is later.
    saved_ns: f64,
    /// Of one CPU, in per cent: what spinning takes more.
    more_cpu: f64,
}

impl Price {
    /// CPU time that spinning takes for each second of waiting that it saves; none if it saves nothing. Below 1 a
    /// spinning CPU is cheaper than the waiting that it ends.
    fn per_saved(&self) -> Option<f64> {
        let saved_each_second_ns = self.saved_ns * self.per_second as f64;
        (self.saved_ns > 0.0).then(|| self.more_cpu / 100.0 * 1e9 / saved_each_second_ns)
    }
}

/// The slowest pace from which on, at every faster one too, spinning takes less CPU time than it saves waiting. The
/// slowest pace comes first.
fn pays_from(prices: &[Price]) -> Option<u64> {
    let pays = |price: &&Price| price.per_saved().is_some_and(|per_saved| per_saved < 1.0);
    prices.iter().rev().take_while(pays).last().map(|price| price.per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(per_second: u64, saved_ns: f64) -> Price {
        Price { per_second, saved_ns, more_cpu: 50.0 }
    }

    #[test]
    fn a_second_of_waiting_costs_what_spinning_takes_to_save_it() {
        // Half a CPU more, for a tenth of a second saved in each.
        assert_eq!(price(10_000, 10_000.0).per_saved(), Some(5.0));
        assert_eq!([0.0, -1.0].map(|saved_ns| price(10_000, saved_ns).per_saved()), [None; 2]);
    }

    #[test]
    fn spinning_pays_from_where_it_pays_ever_after() {
        let (cheap, dear, useless) = (price(100_000, 10_000.0), price(10, 10_000.0), price(10, -100.0));
        assert_eq!(pays_from(&[dear, cheap]), Some(100_000));
        assert_eq!(pays_from(&[cheap, dear]), None);
        assert_eq!(pays_from(&[cheap, useless]), None);
        assert_eq!(pays_from(&[cheap, cheap]), Some(100_000));
        assert_eq!(pays_from(&[]), None);
    }
}
