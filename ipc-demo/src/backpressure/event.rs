//! How much does an eventfd take? Numbers that it adds up, until the sum is too large.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipc_demo::event::Event;
use nix::errno::Errno;
use nix::unistd::write;
use process_demo::child::{Exit, fork};
use shared::Stage;

use super::row::{Row, Then};
use crate::asleep::wait_until_asleep;

const SINGLE: u64 = 1_000; // Added one by one, to be seen in one sum.

pub fn measure(stage: &Stage) -> Result<Row> {
    let event = Event::counter().context("eventfd")?;
    (0..SINGLE).try_for_each(|_| event.add(1))?;
    event.add(u64::MAX - 1 - SINGLE)?; // Nobody lives to add so many one by one.
    let error = write(&event, &1u64.to_ne_bytes()).err(); // The snippet's `add` would wait here.
    // SAFETY: the child only adds; nothing here is in shared memory.
    let writer = unsafe { fork(|| u8::from(event.add(1).is_err())) }.context("starting a process")?;
    ensure!(wait_until_asleep(writer.pid(), stage.clock())?, "an eventfd took more than fits");
    let sum = event.wait()?;
    ensure!(writer.wait()? == Exit::Code(0), "the writer failed");
    let rest = event.wait_within(Duration::ZERO)?;
    ensure!(sum == u64::MAX - 1 && rest == Some(1), "the sum was {sum}, and then {rest:?}");
    let arrived = sum + rest.unwrap_or(0);
    let or_error = error.map(|errno: Errno| format!("{errno:?}"));
    let bytes = size_of::<u64>() as u64;
    Ok(Row {
        name: "eventfd, adding 1".to_owned(),
        messages: Some(sum),
        bytes,
        then: Then::Waits { or_error },
        arrived,
    })
}
