//! Which way moves the most, by the size of the message, and where do they cross?

mod area;
mod ceiling;
mod kernel;
mod memory;
mod message;
mod moved;
mod stream;
mod way;

use std::cell::RefCell;

use anyhow::Result;
use shared::measure::{Contest, Timing, usable_cpus};
use shared::number::{chosen_with_unit, count};
use shared::{Demo, Extras, Placement, Snippet, Stage};

use area::Area;
use stream::Tally;
use way::{Scene, WAYS};

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which way moves the most, by the size of the message, and where do they cross?",
    claims: &[],
    rule: "It gives no verdict.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
    ],
    run,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = stage.by_effort(
        &[64, 8 * KIB, MIB],
        &[64, KIB, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
        &[64, KIB, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
    );
    let placement = if usable_cpus().len() > 1 { Placement::OtherCpu } else { Placement::SameCpu };
    let (directory, queue) = (stage.directory().to_owned(), format!("/{}", stage.name("throughput")));
    let scene = Scene {
        area: RefCell::new(Area::new(64 * MIB)?),
        tally: Tally::default(),
        directory: &directory,
        queue: &queue,
        placement,
    };
    for &bytes in sizes {
        let title = format!("Messages of {}", chosen_with_unit("bytes", bytes as f64));
        let mut contest = Contest::new(title, "the way that the messages go", Timing::Batches);
        for way in WAYS {
            match way.refusal(bytes, &scene)? {
                Some(why) => stage.say(format!("{}: {why}", way.name())),
                None => contest.add(way.rival(bytes, &scene)),
            }
        }
        stage.compare(contest)?;
    }
    let tally = &scene.tally;
    let got = format!("{} of {}", count(tally.whole.get()), count(tally.whole_sent.get()));
    stage.fact("whole", tally.whole.get() == tally.whole_sent.get(), got);
    let got = format!("{} of {}", count(tally.timed.get()), count(tally.timed_sent.get()));
    stage.fact("timed", tally.timed.get() == tally.timed_sent.get(), got);
    stage.answer("to come");
    Ok(())
}
