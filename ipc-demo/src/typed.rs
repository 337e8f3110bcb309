//! Can programs send each other Rust values, channels and memory, and at what cost?

mod blocking;
mod message;
mod peer;
mod talk;

use anyhow::Result;
use shared::number::{chosen_with_unit, count};
use shared::{Demo, Extras, Snippet, Stage};

use crate::version;
use blocking::Filled;

pub const DEMO: Demo = Demo {
    name: "typed",
    question: "Can programs send each other Rust values, channels and memory? At what cost?",
    claims: &[],
    rule: "It gives no verdict. Two programs, this one and this one started again, meet by a name alone; what arrives is \
           compared with what was sent. Descriptors are counted in /proc/self/fd. A sender counts as blocked if nobody \
           receives and two looks find it in the same sleep, with the same count of messages.",
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
        "Its README says that its channels are unbounded and that send() never blocks. So a child sends, and nobody \
         receives.",
    );
    let filled = blocking::show(stage)?;
    let blocked: Vec<&Filled> = filled.iter().filter(|filled| filled.asleep_in.is_some()).collect();
    if !blocked.is_empty() {
        stage.note(format!(
            "So here the channel is as long as a socket's buffer. This is ipc-channel {version} on Linux; \
             servo/ipc-channel#275 reported the same in 2021 for version 0.15, after 278 messages of 3 bytes. Two sides \
             that both send before they receive can wait for each other for ever."
        ));
    }
    let (copies, descriptors) = (talk.copies, talk.descriptors_of_copies);
    stage.headline(format!("{descriptors} descriptors for {copies} copies of a sender"));
    let arrived =
        if talk.intact { "Yes, values, channels and memory arrive as sent" } else { "Not all arrives as sent" };
    let waits = match blocked.last() {
        Some(Filled { bytes, sent, .. }) => {
            let size = chosen_with_unit("bytes", *bytes as f64);
            format!("send() blocks while nobody receives: here after {} messages of {size}", count(*sent))
        }
        None => "send() never blocked here".to_owned(),
    };
    stage.answer(format!("{arrived}. But {copies} copies of a sender cost {descriptors} descriptors, and {waits}."));
    stage.advise(match blocked.as_slice() {
        [] => "Send Rust values between programs: copy `typed`.",
        _ => "Send Rust values between programs: copy `typed`; send() may block.",
    });
    Ok(())
}
