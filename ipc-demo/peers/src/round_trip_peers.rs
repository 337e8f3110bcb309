//! What does a message there and back cost by our ring, and by other people's ways?

use anyhow::Result;
use shared::Placement::{self, OtherCpu, SameCpu};
use shared::measure::{Contest, Measured, Timing};
use shared::number::{three_digits, with_unit};
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
    question: "What does a message there and back cost by our ring, and by other people's ways?",
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
    stage.say(
        "64 bytes go to a peer and come back, different each time, checked by both sides. In every row the peer first \
         sleeps in a read, until it is told how many messages will come; then it waits as its way can.",
    );
    let (tally, home) = (Tally::default(), Home::of(stage));
    let measured = stage.compare(contest(&tally, &home))?;
    tally::tell(stage, &tally);
    iceoryx::tell(stage, &home)?;
    targets::tell(stage, &measured, &targets(OtherCpu));
    stage.table(offers::table());
    match answer(&measured, OtherCpu).or_else(|| answer(&measured, SameCpu)) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused what the ring is to be set beside"),
    }
    Ok(())
}

fn contest<'a>(tally: &'a Tally, home: &'a Home) -> Contest<'a> {
    let title = "64 bytes there and back, filled and checked by both sides";
    let mut contest = Contest::new(title, "the way, and where the two sides run", Timing::Batches);
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

fn answer(measured: &Measured, place: Placement) -> Option<String> {
    let [iceoryx, crossbeam] = targets(place);
    let time = |label: &str| Some(with_unit("ns", measured.figures(label, place)?.median().value));
    let times = |target: &Target| Some(three_digits(target.ratio(measured)?.ratio));
    Some(format!(
        "On {} 64 bytes there and back take the ring {} between processes and {} between threads; that is {} times as \
         fast as iceoryx2 between processes ({}), and {} times as fast as crossbeam-channel between threads ({}).",
        if place == SameCpu { "one CPU" } else { "two CPUs" },
        time(&iceoryx.ours)?,
        time(&crossbeam.ours)?,
        times(&iceoryx)?,
        time(&iceoryx.theirs)?,
        times(&crossbeam)?,
        time(&crossbeam.theirs)?,
    ))
}
