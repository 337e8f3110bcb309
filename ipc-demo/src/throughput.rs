//! Which mechanism moves the most, by the size of the message?

mod area;
mod ceiling;
mod figures;
mod kernel;
mod lead;
mod memory;
mod message;
mod moved;
mod scene;
mod stream;
mod way;

use anyhow::Result;
use shared::number::three_digits;
use shared::{Demo, Extras, Snippet, Stage};

use lead::{GROUPS, Group, Lead};
use scene::{KIB, MIB, Scene};
use way::Way;

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which mechanism moves the most, by the size of the message?",
    claims: &[],
    rule: "It gives no verdict. A mechanism leads at a size if it is clearly faster there than every other of its group; the lead \
           changes between two sizes if another leads at each, and about where the two would take equally long if their \
           ratio grew as a power of the size. A mechanism that copies and is clearly faster than its ceiling, or takes less than half \
           of its CPU time, is impossible: it is flagged and does not lead.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = stage.by_effort(
        &[64, 8 * KIB, MIB],
        &[64, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
        &[64, KIB, 8 * KIB, 64 * KIB, MIB, 16 * MIB],
    );
    let scene = Scene::new(stage)?;
    scene.introduce(stage, sizes);
    stage.table(figures::ways());
    let found = scene.measure(stage, sizes)?;
    scene.tell(stage);
    stage.table(figures::in_bytes(&found, sizes));
    stage.table(figures::in_messages(&found.figures, sizes));

    let groups = GROUPS.map(|group| (group, lead::leads(&found.figures, group, sizes)));
    stage.show(lead::table(&groups, &found.figures, sizes));
    for (group, leads) in &groups {
        if matches!(group, Group::Processes | Group::Threads) {
            leads.iter().filter_map(Lead::ahead).for_each(|(says, ratio)| stage.trend(says, &ratio));
        }
    }
    for (group, leads) in &groups {
        let crossings = lead::crossings(&found.figures, leads);
        crossings.iter().for_each(|crossing| stage.note(crossing.sentence(*group)));
        if let Some(decision) = lead::decision(leads) {
            stage.note(format!("{}: {decision}.", lead::capital(group.name())));
        }
    }
    if conclude(stage, &groups).is_none() {
        stage.skip("this machine refused every mechanism between processes, or every one between threads");
    }
    Ok(())
}

/// Headline, answer and advice; none if a group has no figures.
fn conclude(stage: &mut Stage, groups: &[(Group, Vec<Lead<'_>>)]) -> Option<()> {
    let of = |group: Group| groups.iter().find(|(one, leads)| *one == group && !leads.is_empty());
    let ((_, processes), (_, threads)) = (of(Group::Processes)?, of(Group::Threads)?);
    let firsts = processes.iter().map(|lead| lead.first);
    let most = firsts.max_by(|one, other| one.gb_per_s().total_cmp(&other.gb_per_s()))?;
    stage.headline(format!("{} GB/s at most, by {}", three_digits(most.gb_per_s()), most.way.name()));
    let (first, second) =
        (lead::champion_told(Group::Processes, processes), lead::champion_told(Group::Threads, threads));
    let copies =
        lead::champion(threads).map_or("", |(way, _)| if way.copies() == 0 { ", copying nothing" } else { "" });
    stage.answer(format!("{}; {second}{copies}.", lead::capital(&first)));
    stage.advise(match lead::champion(processes).map(|(way, _)| way) {
        Some(Way::Ring) => "Much data between two processes? Copy `ring`.".to_owned(),
        Some(Way::Pipe | Way::LargePipe) => "Much data between two processes? Copy `pipe_pair`.".to_owned(),
        Some(Way::UnixStream) => "Much data between two processes? Copy `socket_pair`.".to_owned(),
        Some(Way::Queue) => "Much data between two processes? Copy `message_queue`.".to_owned(),
        Some(other) => format!("{} was the fastest here; it has no snippet, `ring` has.", other.name()),
        None => "Nothing is clearly the fastest: copy `pipe_pair` or `ring`.".to_owned(),
    });
    Some(())
}
