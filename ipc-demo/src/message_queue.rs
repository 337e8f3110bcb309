//! What does a POSIX message queue do that a pipe does not?

mod limits;
mod notices;
mod order;

use anyhow::Result;
use ipc_demo::message_queue::MessageQueue;
use nix::errno::Errno;
use shared::{Demo, Extras, Snippet, Stage, refused};

pub const DEMO: Demo = Demo {
    name: "message-queue",
    question: "What does a POSIX message queue do that a pipe does not?",
    claims: &[],
    rule: "A child sends, its parent receives, and what comes is compared with what was sent; each limit is tried by going \
           beyond it. Where queues are refused, as in many sandboxes, all of it is skipped.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "ipc-demo/snippets/message_queue.rs",
        text: include_str!("../snippets/message_queue.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let name = format!("/{}", stage.name("queue"));
    if let Err(error) = MessageQueue::create(&name, 1, 1) {
        let beyond_a_share = error.raw_os_error() == Some(Errno::EMFILE as i32);
        let says = if beyond_a_share { "beyond this user's share, RLIMIT_MSGQUEUE" } else { "mq_open" };
        let error = anyhow::Error::new(error).context(says);
        let why = refused(&error).ok_or(error)?;
        stage.skip(format!("this machine has no message queues for us: {why}"));
        return Ok(());
    }
    stage.note("A child sends five messages with priorities and ends. Only then its parent receives:");
    let (sent, received) = order::show(stage, &name)?;
    stage.note("A process may ask to be told when a message comes, by a signal, instead of waiting for it:");
    let told = notices::show(stage, &name)?;
    stage.note("Everything about a queue has a limit. What happens one beyond it?");
    let queues = limits::show(stage, &name)?;
    stage.answer(format!(
        "It keeps whole messages and gives out the most urgent first ('{sent}' came as '{received}'), tells of a message \
         once per request ({told} signals for 4 messages), and is small: {queues}.",
    ));
    Ok(())
}
