//! What does a POSIX queue do that a pipe does not?

mod limits;
mod notices;
mod order;

use anyhow::Result;
use ipc_demo::message_queue::MessageQueue;
use nix::errno::Errno;
use shared::{Demo, Extras, Snippet, Stage, refused};

pub const DEMO: Demo = Demo {
    name: "message-queue",
    question: "What does a POSIX queue do that a pipe does not?",
    claims: &[],
    rule: "It gives no verdict. A child sends, its parent receives, and what comes is compared with what was sent. Each \
           limit is tried by going one beyond it. Where POSIX queues are refused, as in many sandboxes, all is skipped.",
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
        stage.skip(format!("this machine has no POSIX queues for us: {why}"));
        return Ok(());
    }
    stage.note("A child sends five messages with priorities and ends. Only then its parent receives.");
    let order = order::show(stage, &name)?;
    stage.note("A process may ask for a signal when a message comes, instead of waiting for it.");
    let told = notices::show(stage, &name)?;
    stage.note("Everything about a POSIX queue has a limit. What happens one beyond it?");
    let holds = limits::show(stage, &name)?;
    stage.headline(format!("{} of {} messages come in priority order", order.in_place, order.sent));
    let gives = if order.in_place == order.sent {
        "It gives whole messages, the most urgent first"
    } else {
        "It gives messages, not all by their priority here"
    };
    let signals = if told > 0 { "can signal" } else { "does not signal here" };
    stage.answer(format!("{gives}, and {signals} that one came. It takes at most {holds}."));
    stage.advise("Use one where urgent messages must overtake: copy `message_queue`.");
    Ok(())
}
