//! Which way moves the most, by the size of the message, and where do they cross?

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

use figures::Figure;
use lead::{GROUPS, Group, Lead};
use scene::{KIB, MIB, Scene};
use way::Way;

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which way moves the most, by the size of the message, and where do they cross?",
    claims: &[],
    rule: "It gives no verdict. A way leads at a size if it is clearly faster there than every other of its group; the lead \
           changes between two sizes if another leads at each, and about where the two would take equally long if their \
           ratio grew as a power of the size. A way that copies and is clearly faster than its ceiling, or takes less than half \
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
    stage.table(lead::table(&groups, sizes));
    for (group, leads) in &groups {
        if matches!(group, Group::Processes | Group::Threads) {
            leads.iter().filter_map(Lead::ahead).for_each(|(says, ratio)| stage.trend(says, &ratio));
        }
    }
    for (group, leads) in &groups {
        let crossings = lead::crossings(&found.figures, leads);
        crossings.iter().for_each(|crossing| stage.note(crossing.sentence(*group)));
        if let (Group::Kernel | Group::IpcChannel, Some(decision)) = (group, lead::decision(leads)) {
            stage.note(format!("{}: {decision}.", lead::capital(group.name())));
        }
    }
    match answer(&groups, &found.figures) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused every way between processes, or every way between threads"),
    }
    Ok(())
}

fn answer(groups: &[(Group, Vec<Lead<'_>>)], figures: &[Figure]) -> Option<String> {
    let of = |group: Group| {
        let (_, leads) = groups.iter().find(|(one, _)| *one == group)?;
        Some(format!("{}: {}", group.name(), lead::decision(leads)?))
    };
    let (between_processes, between_threads) = (of(Group::Processes)?, of(Group::Threads)?);
    let ceiling = figures.iter().filter(|figure| figure.way == Way::Memcpy).map(Figure::gb_per_s);
    let (least, most) = ceiling.fold((f64::INFINITY, 0.0f64), |(least, most), one| (least.min(one), most.max(one)));
    let (least, most) = (three_digits(least), three_digits(most));
    Some(format!(
        "What moves the most {between_processes}; {between_threads}. One memcpy moves {least} to {most} GB/s."
    ))
}
