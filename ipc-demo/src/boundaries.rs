//! Does a message arrive as one piece, and can two writers' messages mix?

mod luck;
mod messages;
mod pieces;
mod torn;

use anyhow::Result;
use shared::number::count;
use shared::{Demo, Extras, Snippet, Stage};

pub const DEMO: Demo = Demo {
    name: "boundaries",
    question: "Does a message arrive as one piece, and can two writers' messages mix?",
    claims: &[],
    rule: "It gives no verdict. A child sends, and its parent reads; every cell is what was read. A record is torn by \
           force: its writer is stopped while it waits in a nearly full pipe, and another one writes meanwhile. How \
           often it happens by itself is counted.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/fifo.rs", text: include_str!("../snippets/fifo.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A child sends four messages, 'one', 'three', an empty one and 'last', and ends. Only then its parent reads: how \
         many pieces does it get?",
    );
    let (merging, keeping, seen) = messages::show(stage)?;
    stage.note("A stream also cuts: one write of 1 MiB, and a reader that asks for 1 MiB each time.");
    let most_pieces = pieces::show(stage)?;
    stage.note(
        "Two processes write records into one pipe. Each record is a single write; the first writer is stopped while it \
         waits for room, the second one writes, and the first goes on:",
    );
    let torn = torn::show(stage)?;
    stage.note("And without any stopping: three writers as fast as they can, in one pipe, every byte checked.");
    let (by_luck, of) = luck::show(stage)?;
    stage.note(format!(
        "One write of 1 MiB came in up to {} reads. Left to luck, {} of {} records above {} bytes were torn.",
        count(most_pieces as u64),
        count(by_luck as u64),
        count(of as u64),
        count(luck::ATOMIC_BYTES as u64),
    ));
    let mixed = match torn {
        Some(bytes) => format!("two writers can mix: the smallest torn record had {} bytes", count(bytes as u64)),
        None => "no two writers' records could be made to mix".to_owned(),
    };
    stage.headline(format!("{keeping} of {seen} mechanisms keep messages apart"));
    stage.answer(format!(
        "{keeping} of {seen} mechanisms keep messages apart, {merging} merge them. In one pipe, {mixed}."
    ));
    stage.advise("On a stream, send each message's length first: copy `framed`.");
    Ok(())
}
