//! Tells what is shared along with the memory: races, and half a record.

use anyhow::Result;
use ipc_demo::ring::Error;
use shared::Stage;
use shared::number::count;

use super::{additions, torn};

pub fn tell(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Why not share everything? Two processes add to one shared word: first each at its own pace by fetch_add, \
         then by a load and a store, with a barrier between the two so that both read before either writes.",
    );
    let each = stage.by_effort(100_000, 1_000_000, 10_000_000);
    let at_once = additions::in_one_step(each)?;
    let rounds = stage.by_effort(100, 1000, 10_000);
    let in_two = additions::in_two_steps(rounds)?;
    let lost = |sum: &additions::Sum| format!("{} of {}", count(sum.made - sum.kept), count(sum.made));
    stage.fact(
        "Two processes lose no addition by fetch_add, and one of two by load and store",
        at_once.kept == at_once.made && in_two.kept == rounds,
        format!("{} and {} lost", lost(&at_once), lost(&in_two)),
    );

    stage.note(
        "Then a writer crashes in the middle of a record of two pages: it has lost the permission to write the last \
         part, so the store that comes there ends it. The record lies in plain memory first, and then in the ring.",
    );
    let plain = torn::record()?;
    let got = format!("{} words new, {} old", count(plain.new as u64), count(plain.old as u64));
    let says = "In plain memory a writer's crash leaves part of the new record and part of the old";
    stage.fact(says, plain.new > 0 && plain.old > 0, got);
    let ring = torn::in_ring()?;
    let then = ring.then.map_or_else(|error| error.to_string(), |bytes| format!("{bytes} bytes"));
    stage.fact(
        "From a ring the reader gets only whole messages, then the news of its writer's death",
        ring.whole == 1 && ring.then == Err(Error::PeerGone) && (1..ring.words).contains(&ring.written),
        format!("{} of {} words, {} whole message, then '{then}'", ring.written, ring.words, ring.whole),
    );
    Ok(())
}
