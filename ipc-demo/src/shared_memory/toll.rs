//! Tells what the kernel still does once memory is shared: at the first touch, for a sleeper, and else nothing.

use anyhow::Result;
use shared::Stage;
use shared::number::{chosen_with_unit, count, counted};

use super::exchange::Tally;
use super::told::Calls;
use super::{series, told, touch};

pub fn tell(stage: &mut Stage, tally: &Tally) -> Result<()> {
    const MIB: usize = 1 << 20;
    let bytes = stage.by_effort(4 * MIB, 64 * MIB, 256 * MIB);
    let size = chosen_with_unit("bytes", bytes as f64);
    stage.note(format!(
        "Is such a mapping free? {size} are there already; five parties write a word into each page, or read it, twice."
    ));
    first_touch(stage, bytes)?;
    system_calls(stage)?;
    let round_trips = stage.by_effort(2000, 20_000, 1_000_000);
    stage.table(series::table(&series::observe(round_trips, tally)?, round_trips));
    Ok(())
}

fn first_touch(stage: &mut Stage, bytes: usize) -> Result<()> {
    let rows = touch::observe(bytes)?;
    stage.table(touch::table(&rows, bytes));
    let faults = |name: &str| touch::counted(&rows, name).map(|counted| counted.faults);
    let (Some([thread, _]), Some([first, again])) = (faults(touch::THREAD), faults(touch::WRITER)) else {
        return Ok(());
    };
    stage.fact(
        "A second process must map the pages at its first touch; a second thread finds them mapped",
        first > thread && first > again,
        format!("{} and {} page faults", count(first), count(thread)),
    );
    Ok(())
}

fn system_calls(stage: &mut Stage) -> Result<()> {
    stage.note(
        "Does the kernel hear of a message? One process writes, and when it has ended another one reads: nobody waits. \
         The calls to claim an end of the ring, made once, are counted by themselves and taken off.",
    );
    let calls = told::by_each_way()?;
    stage.table(told::table(&calls));
    let [Ok(ring), Ok(pipe)] = calls else { return Ok(()) };
    let came = |calls: Calls| calls.right == told::MESSAGES;
    stage.fact(
        format!("{} messages through shared memory arrive without one system call", told::MESSAGES),
        ring.both() == 0 && came(ring) && came(pipe),
        format!("{} calls; by a pipe {}", ring.both(), pipe.both()),
    );
    let calls = told::to_a_sleeper(stage.clock())?;
    let says = "If the reader sleeps, its writer makes one system call, which wakes it";
    stage.fact(says, calls == 1, counted(calls as usize, "call"));
    Ok(())
}
