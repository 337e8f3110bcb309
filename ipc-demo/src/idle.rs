//! What does waiting cost: a late wake-up, or a busy CPU?

mod mechanisms;
mod price;
mod series;

use anyhow::{Context, Result};
use process_demo::crew::Kind;
use shared::Placement::{OtherCpu, SameCpu};
use shared::measure::Pinning;
use shared::number::{chosen_with_unit, count, ratio_in_words, three_digits, with_unit};
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table, stats};

use mechanisms::{WAYS, Way};
use series::{Figures, LATE_NS, Pacer, Plan, Receivers, Row, Silence, Usage, figures};

pub const DEMO: Demo = Demo {
    name: "idle",
    question: "What does waiting cost: a late wake-up, or a busy CPU?",
    claims: &[],
    rule: "It gives no verdict. Each message carries the moment when it was due and the moment just before it was \
           sent; its receiver, on another CPU if there is one, reads the same clock as soon as it has it. One series of \
           each mechanism is not counted, nor is the first message of a series after a pause longer than its gaps. A \
           p99 is told of 100 messages or more. Sleeps are the receiver's voluntary context switches for each message. \
           Spinning pays where it takes less CPU time than it saves waiting, beside the same ring asleep.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let clock = stage.clock();
    let plan = Plan::of(stage.effort());
    let apart = Pinning::of(OtherCpu);
    let pinning = apart.or_else(|| Pinning::of(SameCpu)).context("no CPU to run on")?;
    say_what_happens(stage, apart.is_some());

    let mut receivers = Receivers::start(pinning, clock)?;
    let _pinned = pinning.own.pin()?; // After the start: a child would inherit it.
    let pacer = Pacer::new(clock, if apart.is_some() { 100_000 } else { 0 })?;
    let rows = receivers.measure(&plan, pacer)?;
    let silences = receivers.keep_silent(&plan, pacer, clock)?;
    let ended = receivers.end()?;

    stage.show(brief(&rows, &silences, &plan));
    for &(per_second, _) in plan.paces {
        stage.table(pace(&rows, per_second));
    }
    if apart.is_some() {
        say_of_depth(stage, &rows, &plan);
        tell_what_disturbed(stage, &rows, &plan);
    }
    stage.table(pacing(&rows, &plan));
    say_of_pacing(stage);
    stage.table(silence(&silences, &plan));
    say_of_silence(stage, &silences);
    tell_facts(stage, &rows, &silences, ended);

    let prices = price::all(&rows, &plan);
    price::show(stage, &rows, &prices, &plan);
    let told = price::note(&rows, &prices, &silences, &plan).zip(price::answer(&rows, &prices, &plan));
    let Some((note, (headline, answer))) = told else {
        stage.skip("this machine refused the ring, beside which all else is set");
        return Ok(());
    };
    stage.note(note);
    stage.headline(headline);
    stage.answer(answer);
    stage.advise(price::advice(&prices, &plan));
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
         not the one before it was late. {pacing} The first six receivers are processes, the last two are threads; \
         the first three wait at one and the same ring: one spins, one sleeps at once, and one spins as long as that \
         has helped lately."
    ));
}

/// Of each mechanism at the slowest and the fastest pace: how late a message is, and the CPU that waiting takes; also
/// while nobody sends.
fn brief(rows: &[Row], silences: &[Silence], plan: &Plan) -> Table {
    let paces = [plan.slowest(), plan.fastest()];
    let row = |way: Way| {
        let name =
            if way.between() == Kind::Threads { format!("{}, threads", way.name()) } else { way.name().to_owned() };
        let of = |per_second| match figures(rows, way, per_second) {
            Some(figures) => [Cell::Number(figures.median_ns()), Cell::Number(figures.receiver.share())],
            None => [Cell::Text("refused".to_owned()), Cell::Nothing],
        };
        let silent = silences.iter().find(|silence| silence.0 == way);
        let silent = silent.map_or(Cell::Nothing, |(_, usage)| Cell::Number(usage.share()));
        [Cell::Text(name)].into_iter().chain(paces.into_iter().flat_map(of)).chain([silent]).collect()
    };
    let mut ways = WAYS; // The one that is earliest first.
    let late = |way: &Way| figures(rows, *way, plan.slowest()).map_or(f64::INFINITY, Figures::median_ns);
    ways.sort_by(|one, other| late(one).total_cmp(&late(other)));
    let heads = paces
        .into_iter()
        .flat_map(|pace| [Column::value(format!("late at {}/s", count(pace)), "ns"), Column::value("CPU", "%")]);
    let heads = [Column::label("waiting by")].into_iter().chain(heads);
    Table {
        title: "How late a message arrives, and the CPU that waiting takes".to_owned(),
        columns: heads.chain([Column::value("idle CPU", "%")]).collect(),
        rows: ways.into_iter().map(row).collect(),
    }
}

/// Of each way at this pace: how late a message is, and what waiting for it took; without columns that tell nothing.
fn pace(rows: &[Row], per_second: u64) -> Table {
    let columns = [
        Column::label("waiting by"),
        Column::value("median", "ns"),
        Column::value("p99", "ns"),
        Column::value("p99, due", "ns"),
        Column::value("sleeps", "each"),
        Column::value("CPU", "%"),
    ];
    let cells = |row: &Row| match &row.figures {
        Ok(figures) => measured(row.way, figures),
        Err(why) => {
            let skipped = Cell::Skipped { skipped: why.clone() };
            let rest = vec![Cell::Nothing; columns.len() - 2];
            [Cell::Text(row.way.name().to_owned()), skipped].into_iter().chain(rest).collect()
        }
    };
    let rows: Vec<Vec<Cell>> = rows.iter().filter(|row| row.per_second == per_second).map(cells).collect();
    let told: Vec<bool> = (0..columns.len()).map(|at| rows.iter().any(|row| row[at] != Cell::Nothing)).collect();
    let only_told =
        |row: Vec<Cell>| row.into_iter().zip(&told).filter_map(|(cell, &told)| told.then_some(cell)).collect();
    Table {
        title: format!("{} messages per second: from sending to having it", count(per_second)),
        rows: rows.into_iter().map(only_told).collect(),
        columns: columns.into_iter().zip(&told).filter_map(|(column, &told)| told.then_some(column)).collect(),
    }
}

fn measured(way: Way, figures: &Figures) -> Vec<Cell> {
    vec![
        Cell::Text(way.name().to_owned()),
        stats::median(&figures.from_sent_ns).into(),
        p99(&figures.from_sent_ns),
        p99(&figures.from_due_ns),
        Cell::Number(figures.receiver.sleeps as f64 / figures.from_sent_ns.len() as f64),
        Cell::Number(figures.receiver.share()),
    ]
}

fn p99(samples_ns: &[f64]) -> Cell {
    const FEWEST: usize = 100; // Of fewer, it is but the worst one.
    if samples_ns.len() < FEWEST { Cell::Nothing } else { Cell::Number(stats::p99(samples_ns)) }
}

/// What the sender paid, and how well it kept time.
fn pacing(rows: &[Row], plan: &Plan) -> Table {
    let row = |&(per_second, _): &(u64, u64)| {
        let all = || WAYS.iter().filter_map(|&way| Some((way, figures(rows, way, per_second)?)));
        let sender = all().fold(Usage::default(), |sum, (_, figures)| sum.and(figures.sender));
        let (late, sent) = all().fold((0, 0), |(late, sent), (_, row)| (late + row.late, sent + row.sent));
        let worst = all().max_by(|(_, a), (_, b)| (a.late * b.sent).cmp(&(b.late * a.sent)));
        let worst = worst.filter(|(_, figures)| figures.late > 0);
        vec![
            Cell::Number(per_second as f64),
            Cell::Number(sender.share()),
            Cell::Text(format!("{} of {}", count(late), count(sent))),
            worst.map_or(Cell::Nothing, |(way, _)| Cell::Text(way.name().to_owned())),
            worst.map_or(Cell::Nothing, |(_, row)| Cell::Text(format!("{} of {}", count(row.late), count(row.sent)))),
        ]
    };
    Table {
        title: "How well the sender kept time".to_owned(),
        columns: vec![
            Column::x("messages", "per second"),
            Column::value("its CPU", "%"),
            Column::value("sent late", ""),
            Column::value("most of them to", ""),
            Column::value("sent late to it", ""),
        ],
        rows: plan.paces.iter().map(row).collect(),
    }
}

fn say_of_pacing(stage: &mut Stage) {
    stage.note(format!(
        "Late is what was sent more than {} after it was due: the sender was not done with the message before it, or \
         was kept from running. A latency counted from sending would hide that wait; 'p99, due', which counts from \
         the due moment, does not.",
        chosen_with_unit("ns", LATE_NS as f64),
    ));
}

/// How the wait before a message decides how late it is: the pace, and the pause before the first. Where others needed
/// the CPU, nobody can tell their share in that, and nothing is said.
fn say_of_depth(stage: &mut Stage, rows: &[Row], plan: &Plan) {
    let (slowest, fastest) = (plan.slowest(), plan.fastest());
    let of = |per_second| figures(rows, Way::BareFutex, per_second);
    let Some((rare, frequent)) = of(slowest).zip(of(fastest)) else { return };
    if least_share(rows, plan) < price::WHOLE_CPU {
        return;
    }
    let first_ns =
        if frequent.first_ns.is_empty() { rare.median_ns() } else { stats::median(&frequent.first_ns).value };
    stage.note(format!(
        "An idle CPU sleeps too, and may sleep the deeper the longer nobody needs it. Asleep at the bare futex, a \
         receiver has its message after {} at {} per second and after {} at {}: {} where messages are rare. At the \
         faster pace the first one after a pause takes {}.",
        with_unit("ns", rare.median_ns()),
        count(slowest),
        with_unit("ns", frequent.median_ns()),
        count(fastest),
        ratio_in_words(rare.median_ns() / frequent.median_ns()),
        with_unit("ns", first_ns),
    ));
}

fn tell_what_disturbed(stage: &mut Stage, rows: &[Row], plan: &Plan) {
    if cfg!(debug_assertions) {
        stage.spoiled("a debug build: its times say little; build with --release");
    }
    let least = least_share(rows, plan);
    if least < price::WHOLE_CPU {
        stage.spoiled(format!(
            "others needed its CPU: the receiver that spins got only {} % of it",
            three_digits(least)
        ));
    }
}

/// The least that the receiver that spins got of its CPU at any pace, in per cent.
fn least_share(rows: &[Row], plan: &Plan) -> f64 {
    let shares = plan.paces.iter().filter_map(|pace| Some(figures(rows, Way::RingSpinning, pace.0)?.receiver.share()));
    shares.fold(f64::INFINITY, f64::min)
}

fn silence(silences: &[Silence], plan: &Plan) -> Table {
    let row = |(way, usage): &Silence| {
        let numbers = [usage.sleeps as f64, usage.cpu_ns as f64, usage.share()].map(Cell::Number);
        [Cell::Text(way.name().to_owned())].into_iter().chain(numbers).collect()
    };
    Table {
        title: format!("Nobody sends anything for {}", chosen_with_unit("ns", plan.silence_ns as f64)),
        columns: vec![
            Column::label("waiting by"),
            Column::value("went to sleep", "times"),
            Column::value("CPU time", "ns"),
            Column::value("CPU", "%"),
        ],
        rows: silences.iter().map(row).collect(),
    }
}

const LITTLE: f64 = 0.1; // Per cent of a CPU: a thousand such receivers would keep one CPU busy.

fn say_of_silence(stage: &mut Stage, silences: &[Silence]) {
    let more: Vec<&str> =
        silences.iter().filter(|(_, usage)| usage.share() >= LITTLE).map(|(way, _)| way.name()).collect();
    let who = if more.is_empty() { "None of them".to_owned() } else { format!("Of these, {}", more.join(", ")) };
    stage.note(format!(
        "{who} used {LITTLE} % of a CPU or more. The rings sleep more than once because they look every 100 ms whether \
         their peer still lives; who waits at a pipe is told so by the kernel.",
    ));
}

/// What was counted over all series, and must hold on every run.
fn tell_facts(stage: &mut Stage, rows: &[Row], silences: &[Silence], (ended, receivers): (usize, usize)) {
    let all: Vec<&Figures> = rows.iter().filter_map(|row| row.figures.as_ref().ok()).collect();
    let sum = |of: fn(&Figures) -> u64| all.iter().map(|figures| of(figures)).sum::<u64>();
    let (sent, right, series) = (sum(|row| row.sent), sum(|row| row.right), sum(|row| row.series));
    let got = format!("{} of {} in {} series", count(right), count(sent), count(series));
    stage.check("Every message arrives once, whole and in order", right == sent && sent > 0, got);
    let impossible = sum(|row| row.impossible);
    let says = "No message arrives before it is sent: sender and receiver read one clock";
    stage.check(says, impossible == 0, format!("{} did", count(impossible)));
    tell_who_slept(stage, rows);
    let quiet = silences.iter().filter(|silence| silence.1.sleeps > 0).count();
    let says = "Every receiver but the spinner sleeps while nobody sends";
    stage.fact(says, quiet == silences.len() && quiet > 0, format!("{quiet} of {}", silences.len()));
    let seated = sum(|row| row.seated);
    let got = format!("{} of {} series", count(seated), count(series));
    stage.check("Every receiver stays on its CPU", seated == series, got);
    stage.check("Every receiver ends by itself when told to", ended == receivers, format!("{ended} of {receivers}"));
}

/// Forced: where there is time to look, no message is sent before its receiver was seen asleep.
fn tell_who_slept(stage: &mut Stage, rows: &[Row]) {
    let of = |chosen: fn(&Row, &Figures) -> bool| -> Vec<&Figures> {
        let measured = rows.iter().filter_map(|row| Some((row, row.figures.as_ref().ok()?)));
        measured.filter(|(row, figures)| chosen(row, figures)).map(|(_, figures)| figures).collect()
    };
    let sleeps = |rows: &[&Figures]| rows.iter().map(|figures| figures.receiver.sleeps).sum::<u64>();
    let sent = |rows: &[&Figures]| rows.iter().map(|figures| figures.sent).sum::<u64>();

    let slow = of(|row, figures| row.way.sleeps() && figures.first_ns.is_empty());
    let slept = slow.iter().all(|row| row.asleep == row.sent && row.receiver.sleeps >= row.sent);
    let got = format!("{} sleeps for {} messages", count(sleeps(&slow)), count(sent(&slow)));
    let says = "After a gap of more than 2 ms, each message finds its receiver asleep, unless it spins";
    stage.fact(says, slept && !slow.is_empty(), got);

    let spinning = of(|row, _| !row.way.sleeps());
    if !spinning.is_empty() {
        let got = format!("{} sleeps in {} messages", count(sleeps(&spinning)), count(sent(&spinning)));
        stage.fact("The receiver that spins never sleeps", sleeps(&spinning) == 0, got);
    }
}
