//! How much does a queue take on this machine, and what does one more give?

use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result};
use ipc_demo::message_queue::MessageQueue;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use shared::number::{chosen_with_unit, count};
use shared::{Cell, Column, Mood, Stage, Table};

const PRIORITY: u32 = 32767; // MQ_PRIO_MAX on Linux is 32768, and below that is allowed.
const MESSAGE_BYTES: usize = 64;
const MESSAGES: usize = 4;
const ENOUGH: usize = 300; // Above the default number of queues for the whole system, 256.

/// The limits in words.
pub fn show(stage: &mut Stage, name: &str) -> Result<String> {
    let (most_messages, most_bytes) = (machine("msg_max")?, machine("msgsize_max")?);
    let create = |messages, bytes| MessageQueue::create(name, messages, bytes).map(drop);
    let (queue, guard) = MessageQueue::create(name, MESSAGES, MESSAGE_BYTES).context("mq_open")?;
    drop(guard);
    let too_urgent = queue.send(b"", PRIORITY + 1);
    let too_long = queue.send(&[0; MESSAGE_BYTES + 1], 0);
    let filled = (0..MESSAGES).filter(|_| queue.send_within(&[0; MESSAGE_BYTES], 0, Duration::ZERO).is_ok()).count();
    let one_more = queue.send_within(b"", 0, Duration::ZERO);
    let (queues, no_more) = as_many_as_possible(name, most_messages, most_bytes)?;
    let beyond = [
        ("highest priority", PRIORITY as usize, outcome(&too_urgent)),
        ("bytes of a message, in a queue made for 64", MESSAGE_BYTES, outcome(&too_long)),
        ("messages, in a queue made for 4", filled, outcome(&one_more)),
        ("messages of any queue (msg_max)", most_messages, outcome(&create(most_messages + 1, 1))),
        ("bytes of any message (msgsize_max)", most_bytes, outcome(&create(1, most_bytes + 1))),
        ("queues of that size, for this user", queues, no_more),
    ];
    let row = |(what, limit, outcome): &(&str, usize, String)| {
        let mood = if outcome == "allowed" { Mood::Neutral } else { Mood::Good };
        let word = Cell::Word { says: outcome.clone(), mood };
        vec![Cell::Text((*what).to_owned()), Cell::Number(*limit as f64), word]
    };
    stage.table(Table {
        title: "Limits, and one beyond".to_owned(),
        columns: vec![Column::label("limit of"), Column::value("is", ""), Column::value("one more", "")],
        rows: beyond.iter().map(row).collect(),
    });
    let outcomes = [&beyond[0].2, &beyond[1].2, &beyond[2].2].map(String::as_str);
    let says = "What is too urgent, too long or one too many is refused, never cut";
    stage.fact(says, outcomes == ["EINVAL", "EMSGSIZE", "timed out"], outcomes.join(", "));
    let in_bytes = |bytes: u64| chosen_with_unit("bytes", bytes as f64);
    let (share, _) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
    let share = if share == u64::MAX { "no limit".to_owned() } else { in_bytes(share) };
    stage.note(format!("All POSIX queues of a user together may take {share} (RLIMIT_MSGQUEUE)."));
    let [most_messages, queues] = [most_messages, queues].map(|number| count(number as u64));
    Ok(format!("{most_messages} messages of {}, and a user gets {queues} such queues", in_bytes(most_bytes as u64)))
}

/// How many of the largest queues there can be at once, and what the next one gives. None of them has a name for longer
/// than it takes to make it.
fn as_many_as_possible(name: &str, messages: usize, bytes: usize) -> Result<(usize, String)> {
    let mut queues = Vec::new();
    while queues.len() < ENOUGH {
        match MessageQueue::create(name, messages, bytes) {
            Ok((queue, _guard)) => queues.push(queue),
            Err(error) => return Ok((queues.len(), outcome(&Err(error)))),
        }
    }
    Ok((queues.len(), "not tried".to_owned()))
}

fn machine(limit: &str) -> Result<usize> {
    let path = format!("/proc/sys/fs/mqueue/{limit}");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    text.trim().parse().with_context(|| format!("{path} holds no number"))
}

fn outcome(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "allowed".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => "timed out".to_owned(),
        Err(error) => error.raw_os_error().map_or(error.to_string(), |code| format!("{:?}", Errno::from_raw(code))),
    }
}
