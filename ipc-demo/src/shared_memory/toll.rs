//! Tells what the kernel still does once memory is shared: at the first touch, for a sleeper, and else nothing.

use anyhow::Result;
use shared::Stage;
use shared::number::{chosen_with_unit, count};

use super::exchange::Tally;
use super::told::Calls;
use super::{series, told, touch};

/// What the answer needs of it.
pub struct Toll {
    /// Page faults of the second process, and how many pages it touched.
    pub faults: Option<u64>,
    pub pages: usize,
    /// System calls of both sides by the ring and by a pipe; none where they cannot be counted.
    pub calls: Option<[u64; 2]>,
}

pub fn tell(stage: &mut Stage, tally: &Tally) -> Result<Toll> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "Is such a mapping free? {size} are there already; five parties write a word into each page, or read it, twice."
    ));
    let faults = first_touch(stage, bytes)?;
    let calls = system_calls(stage)?;
    let round_trips = stage.by_effort(2000, 20_000, 1_000_000);
    stage.table(series::table(&series::observe(round_trips, tally)?, round_trips));
    Ok(Toll { faults, pages: bytes / touch::PAGE_BYTES, calls })
}

fn first_touch(stage: &mut Stage, bytes: usize) -> Result<Option<u64>> {
    let rows = touch::observe(bytes)?;
    stage.table(touch::table(&rows, bytes));
    let faults = |name: &str| touch::counted(&rows, name).map(|counted| counted.faults);
    let (Some([thread, _]), Some([first, again])) = (faults(touch::THREAD), faults(touch::WRITER)) else {
        return Ok(None);
    };
    stage.fact(
        "A second process has the pages mapped at its first touch; a second thread finds them mapped",
        first > thread && first > again,
        format!("{} and {} page faults", count(first), count(thread)),
    );
    Ok(Some(first))
}

fn system_calls(stage: &mut Stage) -> Result<Option<[u64; 2]>> {
    stage.note(
        "Does the kernel hear of a message? One process writes, and when it has ended another one reads: nobody waits. \
         The calls to claim an end of the ring, made once, are counted by themselves and taken off.",
    );
    let counted = told::by_each_way()?;
    stage.table(told::table(&counted));
    let [Ok(ring), Ok(pipe)] = counted else { return Ok(None) };
    let came = |calls: Calls| calls.right == told::MESSAGES;
    stage.fact(
        "Through shared memory all of them arrived, and neither side made one system call for them",
        ring.both() == 0 && came(ring) && came(pipe),
        format!("{} calls; by the pipe {}", ring.both(), pipe.both()),
    );
    let calls = told::to_a_sleeper(stage.clock())?;
    let says = "If the reader sleeps, its writer makes one call: to wake it";
    stage.fact(says, calls == 1, format!("calls: {calls}"));
    Ok(Some([ring.both(), pipe.both()]))
}
