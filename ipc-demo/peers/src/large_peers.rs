//! How fast do large messages go, with and without copies?

use anyhow::Result;
use shared::Placement::OtherCpu;
use shared::measure::{Contest, Measured, Timing, usable_cpus};
use shared::number::three_digits;
use shared::{Cell, Column, Demo, Extras, Snippet, Stage, Table};

use crate::block::{BYTES, FILLED};
use crate::exchange::{Course, Setting, in_processes, in_threads, processes, threads};
use crate::offers::version;
use crate::tally::{self, Tally};
use crate::targets::{self, Goal, Target};
use crate::ways::iceoryx::{self, Home, Waiting};
use crate::ways::ring::Ends;
use crate::ways::{Polling, blocks, sockets};

pub const DEMO: Demo = Demo {
    name: "large-peers",
    question: "How fast do messages of 64 KiB go, with and without copies?",
    claims: &[],
    rule: "No claim is judged here. Pairs of rows are compared by the median of the rounds' ratios; a figure is reached \
           if that reaches it, and of fewer than 21 rounds it is no more than a hint.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../../snippets/ring.rs") }],
    run,
};

/// Of everything that has a capacity: 4 MiB in all, as in `beside_handoff`, so that both set the ring beside the same memcpy.
const SLOTS: usize = 64;
const POLLING: Polling = Polling::Spinning;

fn run(stage: &mut Stage) -> Result<()> {
    if usable_cpus().len() < 2 {
        stage.skip("one usable CPU: sender and receiver could only take turns");
        return Ok(());
    }
    stage.note(format!(
        "A block of 64 KiB lies ready in the sender's memory and has to get to the receiver. Some mechanisms copy it twice, in \
         and out; others once, and the receiver reads it where it is. The first {FILLED} blocks of each row are not \
         timed, and are compared byte by byte; of the others the length and both ends are. The memcpy is one thread's, \
         once for each block, from buffers as large as the whole ring into others as large.",
    ));
    let (tally, home) = (Tally::default(), Home::of(stage));
    let measured = stage.compare(contest(&tally, &home))?;
    stage.table(rates(&measured));
    tally::tell(stage, &tally);
    iceoryx::tell(stage, &home)?;
    targets::tell(stage, &measured, &[target()]);
    let names = names();
    for [one, other] in [[&names.in_place, &names.iceoryx], [&names.copying, &names.in_place]] {
        if let Some(ratio) = measured.ratio(one, other, OtherCpu) {
            stage.trend(format!("'{one}' against '{other}'"), &ratio);
        }
    }
    let Some([headline, answer]) = told(&measured) else {
        stage.skip("this machine refused what the ring is to be set beside");
        return Ok(());
    };
    stage.headline(headline);
    stage.answer(answer);
    stage.advise("Copy `ring`; peers that trust each other may work in place.");
    Ok(())
}

fn ring(ends: Ends) -> String {
    format!("ring Ring::new({SLOTS}, {BYTES}), {}", ends.says())
}

fn contest<'a>(tally: &'a Tally, home: &'a Home) -> Contest<'a> {
    let mut contest = Contest::new("64 KiB one-way", "the mechanism, and how often it copies", Timing::Batches);
    let setting = Setting { course: Course::OneWay, untimed: FILLED, tally };
    let (copied, in_place) = (ring(Ends::Copying), ring(Ends::InPlace));
    let iceoryx = iceoryx::name(Waiting::Polling(POLLING));
    contest.add(processes(&copied, OtherCpu, setting, || blocks::copying(SLOTS)));
    contest.add(processes(&in_place, OtherCpu, setting, || blocks::in_place(SLOTS)));
    contest.add(processes(&iceoryx, OtherCpu, setting, || iceoryx::blocks(home, SLOTS, POLLING)));
    contest.add(processes(sockets::STREAM, OtherCpu, setting, blocks::stream));
    contest.add(threads(&copied, OtherCpu, setting, || blocks::copying(SLOTS)));
    contest.add(threads(&in_place, OtherCpu, setting, || blocks::in_place(SLOTS)));
    let rtrb = format!("rtrb {} RingBuffer::new({}), {}", version("rtrb"), SLOTS * BYTES, POLLING.says());
    contest.add(threads(&rtrb, OtherCpu, setting, || blocks::slices(SLOTS, POLLING)));
    let channel = format!("crossbeam-channel {} bounded({SLOTS}) of Vec", version("crossbeam-channel"));
    contest.add(threads(&channel, OtherCpu, setting, || blocks::vectors(SLOTS)));
    contest.add(blocks::memcpy(SLOTS, OtherCpu));
    contest
}

/// What the ring has to reach that trusts nobody.
fn target() -> Target {
    let theirs = blocks::MEMCPY.to_owned();
    Target { ours: in_processes(&ring(Ends::Copying)), theirs, placement: OtherCpu, goal: Goal::AtLeast(0.7) }
}

struct Names {
    copying: String,
    in_place: String,
    iceoryx: String,
    in_place_threads: String,
}

fn names() -> Names {
    Names {
        copying: in_processes(&ring(Ends::Copying)),
        in_place: in_processes(&ring(Ends::InPlace)),
        iceoryx: in_processes(&iceoryx::name(Waiting::Polling(POLLING))),
        in_place_threads: in_threads(&ring(Ends::InPlace)),
    }
}

/// A byte per nanosecond is a gigabyte per second.
fn rate(measured: &Measured, label: &str) -> Option<f64> {
    Some(BYTES as f64 / measured.figures(label, OtherCpu)?.median().value)
}

fn rates(measured: &Measured) -> Table {
    let row = |label: &String| Some(vec![Cell::Text(label.clone()), Cell::Number(rate(measured, label)?)]);
    Table {
        title: "Gigabytes per second".to_owned(),
        columns: vec![Column::label("mechanism"), Column::value("rate", "GB/s")],
        rows: measured.rows.iter().filter_map(|measured| row(&measured.name.label)).collect(),
    }
}

/// The headline and the answer; none if a row was refused.
fn told(measured: &Measured) -> Option<[String; 2]> {
    let names = names();
    let rate = |label: &str| Some(three_digits(rate(measured, label)?));
    let (in_place, iceoryx) = (rate(&names.in_place)?, rate(&names.iceoryx)?);
    let answer = format!(
        "In messages of 64 KiB the ring carries {} GB/s between processes if both sides copy, {in_place} in place ({} between \
         threads); iceoryx2, in place, carries {iceoryx}.",
        rate(&names.copying)?,
        rate(&names.in_place_threads)?,
    );
    Some([format!("{in_place} GB/s by ring, {iceoryx} by iceoryx2"), answer])
}
