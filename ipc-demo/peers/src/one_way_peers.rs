//! How many messages per second go one way by our ring, and by other people's ways?

use anyhow::Result;
use shared::Placement::OtherCpu;
use shared::measure::{Contest, Measured, Timing, usable_cpus};
use shared::number::three_digits;
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table};

use crate::exchange::{Course, Setting, in_processes, in_threads};
use crate::offers;
use crate::tally::{self, Tally};
use crate::targets::{self, Goal, Target};
use crate::ways::iceoryx::{self, Home};
use crate::ways::ring::{self, Ends};
use crate::ways::{self, Polling, rtrb};

pub const DEMO: Demo = Demo {
    name: "one-way-peers",
    question: "How many messages per second go one way by our ring, and by other people's ways?",
    claims: &[],
    rule: "No claim is judged here. A figure is reached if the median of the rounds' ratios reaches it; of fewer than 21 \
           rounds it is no more than a hint.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../../snippets/ring.rs") }],
    run,
};

/// Of everything that has a capacity: so many that neither side often waits for the other.
const SLOTS: usize = 2048;

fn run(stage: &mut Stage) -> Result<()> {
    if usable_cpus().len() < 2 {
        stage.skip("one usable CPU: sender and receiver could only take turns");
        return Ok(());
    }
    stage.say(
        "One side sends 64 bytes again and again, different each time; the other checks each. A batch is over when the \
         receiver has reported that all of it came whole and in order.",
    );
    let (tally, home) = (Tally::default(), Home::of(stage));
    let mut contest = Contest::new("64 bytes one way, filled and checked", "the way", Timing::Batches);
    ways::add_all(
        &mut contest,
        Setting { course: Course::OneWay, untimed: SLOTS as u64, tally: &tally },
        &home,
        SLOTS,
        OtherCpu,
    );
    let measured = stage.compare(contest)?;
    stage.table(rates(&measured));
    tally::tell(stage, &tally);
    iceoryx::tell(stage, &home)?;
    targets::tell(stage, &measured, &targets());
    stage.table(offers::table());
    match answer(&measured) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused what the ring is to be set beside"),
    }
    Ok(())
}

fn targets() -> [Target; 2] {
    let (ring, rtrb) = (ring::name(SLOTS, Ends::Copying), in_threads(&rtrb::name(SLOTS, Polling::Spinning)));
    let target = |ours, goal| Target { ours, theirs: rtrb.clone(), placement: OtherCpu, goal };
    [target(in_threads(&ring), Goal::AtLeast(1.0)), target(in_processes(&ring), Goal::AtLeast(1.0))]
}

/// The same figures as people ask for them.
fn rates(measured: &Measured) -> Table {
    let rows = measured.rows.iter().filter_map(|row| {
        let time_ns = measured.figures(&row.label, row.placement)?.median().value;
        Some(vec![Cell::Text(row.label.clone()), Cell::Number(messages_per_second(time_ns))])
    });
    Table {
        title: "Messages per second".to_owned(),
        columns: vec![Column::label("way"), Column::value("rate", "/s")],
        rows: rows.collect(),
    }
}

fn messages_per_second(time_ns: f64) -> f64 {
    1e9 / time_ns
}

fn answer(measured: &Measured) -> Option<String> {
    let millions = |label: &str| {
        let time_ns = measured.figures(label, OtherCpu)?.median().value;
        Some(format!("{} million", three_digits(messages_per_second(time_ns) / 1e6)))
    };
    let [threads, processes] = targets();
    let times = |target: &Target| Some(three_digits(target.ratio(measured)?.ratio));
    Some(format!(
        "Per second the ring carries {} messages of 64 bytes between threads and {} between processes, and rtrb {} \
         between threads: the ring is {} and {} times as fast.",
        millions(&threads.ours)?,
        millions(&processes.ours)?,
        millions(&threads.theirs)?,
        times(&threads)?,
        times(&processes)?,
    ))
}
