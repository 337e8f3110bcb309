//! Tells what is shared along with the memory: races, and half a record.

use anyhow::Result;
use ipc_demo::ring::Error;
use shared::Stage;
use shared::number::count;

use super::{additions, torn};

pub fn tell(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Why not everything that way? Two processes add to one shared word: first each at its own pace by fetch_add, \
         then by a load and a store, with a barrier between the two so that both read before either writes.",
    );
    let each = stage.by_effort(100_000, 1_000_000, 10_000_000);
    let sum = additions::in_one_step(each)?;
    let got = format!("{} of {}", count(sum.kept), count(sum.made));
    stage.fact("No addition by fetch_add is lost between two processes", sum.kept == sum.made, got);
    let rounds = stage.by_effort(100, 1000, 10_000);
    let sum = additions::in_two_steps(rounds)?;
    let got = format!("{} of {} lost", count(sum.made - sum.kept), count(sum.made));
    stage.fact("By load and store one of two is lost, in every round: as between threads", sum.kept == rounds, got);

    stage.note(
        "Then a writer crashes in the middle of a record of two pages: it has lost the permission to write the last \
         part, so the store that comes there ends it. The record lies in plain memory first, and then in the ring.",
    );
    let plain = torn::record()?;
    let got = format!("{} words new, {} old", count(plain.new as u64), count(plain.old as u64));
    let says = "In plain memory the reader finds half of the new record and half of the old, and nothing that says so";
    stage.fact(says, plain.new > 0 && plain.old > 0, got);
    let ring = torn::in_ring()?;
    let then = ring.then.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"));
    stage.fact(
        "In the ring there is a part too, but its reader gets only what is whole, and then the news of the death",
        ring.whole == 1 && ring.then == Err(Error::PeerGone) && (1..ring.words).contains(&ring.written),
        format!("{} of {} words, {} whole message, then '{then}'", ring.written, ring.words, ring.whole),
    );
    Ok(())
}
