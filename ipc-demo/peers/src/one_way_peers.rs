//! How many one-way messages per second go by our ring, and by other crates?

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
    question: "How many one-way messages per second go by our ring, and by other crates?",
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
    stage.note(
        "One side sends 64 bytes again and again, different each time; the other checks each. A batch is over when the \
         receiver has reported that all of it came whole and in order.",
    );
    let (tally, home) = (Tally::default(), Home::of(stage));
    let mut contest = Contest::new("64 bytes one-way, filled and checked", "the mechanism", Timing::Batches);
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
    let Some([headline, answer]) = told(&measured) else {
        stage.skip("this machine refused what the ring is to be set beside");
        return Ok(());
    };
    stage.headline(headline);
    stage.answer(answer);
    stage.advise("Copy `ring`; --full shows what other crates offer beyond it.");
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
        let time_ns = measured.figures(&row.name.label, row.placement)?.median().value;
        Some(vec![Cell::Text(row.name.label.clone()), Cell::Number(messages_per_second(time_ns))])
    });
    Table {
        title: "Messages per second".to_owned(),
        columns: vec![Column::label("mechanism"), Column::value("rate", "/s")],
        rows: rows.collect(),
    }
}

fn messages_per_second(time_ns: f64) -> f64 {
    1e9 / time_ns
}

/// The headline and the answer; none if a row was refused.
fn told(measured: &Measured) -> Option<[String; 2]> {
    let millions = |label: &str| {
        let time_ns = measured.figures(label, OtherCpu)?.median().value;
        Some(three_digits(messages_per_second(time_ns) / 1e6))
    };
    let [threads, processes] = targets();
    let (ring, rtrb) = (millions(&threads.ours)?, millions(&threads.theirs)?);
    let answer = format!(
        "Per second the ring carries {ring} million messages of 64 bytes between threads and {} million between processes; \
         rtrb {rtrb} million between threads.",
        millions(&processes.ours)?,
    );
    Some([format!("{ring} million/s by ring, {rtrb} by rtrb"), answer])
}
