//! What does a message there and back cost by our ring, and by other crates?

use anyhow::Result;
use shared::Placement::{self, OtherCpu, SameCpu};
use shared::measure::{Contest, Measured, Timing};
use shared::number::with_unit;
use shared::{Demo, Extras, Snippet, Stage};

use crate::exchange::{Course, Setting, in_processes, in_threads};
use crate::offers;
use crate::tally::{self, Tally};
use crate::targets::{self, Goal, Target};
use crate::ways::iceoryx::{self, Home, Waiting};
use crate::ways::ring::{self, Ends};
use crate::ways::{self, Polling, channels};

pub const DEMO: Demo = Demo {
    name: "round-trip-peers",
    question: "What does a message there and back cost by our ring, and by other crates?",
    claims: &[],
    rule: "No claim is judged here. A figure is reached if the median of the rounds' ratios reaches it; of fewer than 21 \
           rounds it is no more than a hint.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../../snippets/ring.rs") }],
    run,
};

/// Of everything that has a capacity. One message is on its way at a time; more slots only keep a ring from giving
/// each one back by itself.
const SLOTS: usize = 16;

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "64 bytes go to a peer and come back, different each time, checked by both sides. In every row the peer first \
         sleeps in a read, until it is told how many messages will come; then it waits as its mechanism can.",
    );
    let (tally, home) = (Tally::default(), Home::of(stage));
    let measured = stage.compare(contest(&tally, &home))?;
    tally::tell(stage, &tally);
    iceoryx::tell(stage, &home)?;
    targets::tell(stage, &measured, &targets(OtherCpu));
    stage.table(offers::table());
    let Some([headline, answer]) = told(&measured, OtherCpu).or_else(|| told(&measured, SameCpu)) else {
        stage.skip("this machine refused what the ring is to be set beside");
        return Ok(());
    };
    stage.headline(headline);
    stage.answer(answer);
    stage.advise("Copy `ring`; --full shows what other crates offer beyond it.");
    Ok(())
}

fn contest<'a>(tally: &'a Tally, home: &'a Home) -> Contest<'a> {
    let title = "64 bytes there and back, filled and checked by both sides";
    let mut contest = Contest::new(title, "the mechanism, and where the two sides run", Timing::Batches);
    let setting = Setting { course: Course::RoundTrip, untimed: SLOTS as u64, tally };
    ways::add_all(&mut contest, setting, home, SLOTS, OtherCpu);
    ways::add_all(&mut contest, setting, home, SLOTS, SameCpu);
    contest
}

/// The figures are set for two CPUs; the ring whose peer may do what it likes has to reach them.
fn targets(place: Placement) -> [Target; 2] {
    let ring = ring::name(SLOTS, Ends::Copying);
    let iceoryx = iceoryx::name(Waiting::Polling(Polling::at(place)));
    [
        Target {
            ours: in_processes(&ring),
            theirs: in_processes(&iceoryx),
            placement: place,
            goal: Goal::AtLeast(4.0),
        },
        Target {
            ours: in_threads(&ring),
            theirs: in_threads(&channels::bounded("crossbeam-channel", SLOTS)),
            placement: place,
            goal: Goal::MoreThan(1.0),
        },
    ]
}

/// The headline and the answer; none if a row was refused.
fn told(measured: &Measured, place: Placement) -> Option<[String; 2]> {
    let [iceoryx, crossbeam] = targets(place);
    let time = |label: &str| Some(with_unit("ns", measured.figures(label, place)?.median().value));
    let (ring, other) = (time(&iceoryx.ours)?, time(&iceoryx.theirs)?);
    let answer = format!(
        "On {} 64 bytes there and back take the ring {ring} between processes, iceoryx2 {other}; between threads the ring \
         {}, crossbeam-channel {}.",
        if place == SameCpu { "one CPU" } else { "two CPUs" },
        time(&crossbeam.ours)?,
        time(&crossbeam.theirs)?,
    );
    Some([format!("{ring} by ring, {other} by iceoryx2"), answer])
}
