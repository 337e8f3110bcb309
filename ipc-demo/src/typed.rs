//! Can two programs send each other Rust values, channels and memory, and what does it cost?

mod blocking;
mod message;
mod peer;
mod talk;

use anyhow::Result;
use shared::number::{chosen_with_unit, count};
use shared::{Demo, Extras, Snippet, Stage};

use crate::version;

pub const DEMO: Demo = Demo {
    name: "typed",
    question: "Can two programs send each other Rust values, channels and memory, and what does it cost?",
    claims: &[],
    rule: "It gives no verdict. Two programs, this one and this one started again, meet by a name alone; what arrives is \
           compared with what was sent. Descriptors are counted in /proc/self/fd. A sender counts as blocked when it is \
           seen asleep twice in one and the same sleep, with one and the same count of messages, and nobody receives.",
    extras: Extras { roles: &[peer::ROLE], ..Extras::NONE },
    snippets: &[Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let version = version::of("ipc-channel");
    stage.note(format!(
        "With ipc-channel {version}, this program waits as a server for one client; then it is started again, as \
         that client, and gets nothing but the server's name."
    ));
    let talk = talk::show(stage)?;
    stage.note(
        "Its README says that its channels are unbounded and that send() never blocks. A child sends, nobody receives:",
    );
    let filled = blocking::show(stage)?;
    let blocked = filled.iter().filter(|filled| filled.asleep_in.is_some()).count();
    if blocked > 0 {
        stage.note(format!(
            "So here the channel is as long as a socket's buffer. This is ipc-channel {version} on Linux; \
             servo/ipc-channel#275 reported the same in 2021 for version 0.15, after 278 messages of 3 bytes. Two sides \
             that both send before they receive can wait for each other for ever."
        ));
    }
    let sizes: Vec<String> = filled
        .iter()
        .filter(|filled| filled.asleep_in.is_some())
        .map(|filled| format!("{} of {}", count(filled.sent), chosen_with_unit("bytes", filled.bytes as f64)))
        .collect();
    let waits = match blocked {
        0 => "send() never waited here".to_owned(),
        _ => format!("send() waits once the socket is full, here after {}", sizes.join(", ")),
    };
    stage.answer(format!(
        "Yes: values, channels and memory arrived as they were sent; but each copy of a sender costs its receiver a \
         descriptor ({} for {}), and {waits}.",
        talk.descriptors_of_copies, talk.copies,
    ));
    Ok(())
}
