//! What does it cost to hand over something large: moved, mapped, copied or serialized?

mod growth;
mod hand_over;
mod payload;
mod ways;

use anyhow::Result;
use shared::measure::{Contest, Measured, Timing, usable_cpus};
use shared::number::{chosen_with_unit, count, with_unit};
use shared::{Demo, Extras, Placement, Snippet, Stage};

use crate::version;
use hand_over::Tally;
use ways::{WAYS, Way};

pub const DEMO: Demo = Demo {
    name: "copies",
    question: "What does it cost to hand over something large: moved, mapped, copied or serialized?",
    claims: &[],
    rule: "It gives no verdict. In each turn a payload gets a new stamp at both ends and is handed over; the other side \
           looks at the stamp and answers. The first turn of each row is not timed: there the whole payload is \
           compared. A way grows with the size if its largest payload takes clearly longer than its smallest; mapping \
           pays from the smallest size from which on it is clearly faster than a pipe.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/pass_fd.rs", text: include_str!("../snippets/pass_fd.rs") },
        Snippet { path: "ipc-demo/snippets/shared_region.rs", text: include_str!("../snippets/shared_region.rs") },
    ],
    run,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(stage: &mut Stage) -> Result<()> {
    let sizes: &[usize] = stage.by_effort(
        &[4 * KIB, 256 * KIB],
        &[64, 64 * KIB, MIB, 16 * MIB],
        &[64, 4 * KIB, 64 * KIB, MIB, 4 * MIB, 16 * MIB],
    );
    // Where there are two CPUs, each side has one: a copy may then run beside the other.
    let placement = if usable_cpus().len() > 1 { Placement::OtherCpu } else { Placement::SameCpu };
    stage.note(format!(
        "A thread gives another one its Box (crossbeam-channel {}, bounded(1)): an address goes, and comes back. A \
         process gives another one the descriptor of the memory in which the bytes lie (a memfd, mapped each time), or \
         all the bytes by a pipe, or a Vec<u64> by ipc-channel {}, which encodes and decodes it. A few bytes come back \
         as answer.",
        version::of("crossbeam-channel"),
        version::of("ipc-channel"),
    ));
    let tally = Tally::default();
    let measured = stage.compare(contest(sizes, placement, &tally))?;
    if tally.rows.get() == 0 {
        stage.skip("this machine refused every way: each row says why");
        return Ok(());
    }
    stage.table(growth::table(&measured, sizes, placement));
    let (whole, rows) = (tally.whole.get(), tally.rows.get());
    let says = "The first payload of each row was compared number by number, and arrived whole";
    stage.fact(says, whole == rows, format!("{whole} of {rows} rows"));
    let (stamped, turns) = (tally.stamped.get(), tally.turns.get());
    let says = "Each later one arrived with its own turn's stamp at both ends";
    stage.fact(says, stamped == turns && turns > 0, format!("{} of {} turns", count(stamped), count(turns)));
    growth::tell(stage, &measured, sizes, placement);
    match answer(&measured, sizes, placement) {
        Some(answer) => stage.answer(answer),
        None => stage.skip("this machine refused the Box or the pipe, beside which all else is set"),
    }
    Ok(())
}

fn contest<'a>(sizes: &[usize], placement: Placement, tally: &'a Tally) -> Contest<'a> {
    let mut contest = Contest::new("A payload handed over and answered", "size and way", Timing::Batches);
    for &bytes in sizes {
        WAYS.into_iter().for_each(|way| contest.add(way.rival(bytes, placement, tally)));
    }
    contest
}

fn answer(measured: &Measured, sizes: &[usize], placement: Placement) -> Option<String> {
    let (&small, &large) = sizes.first().zip(sizes.last())?;
    let named = |bytes: usize| chosen_with_unit("bytes", bytes as f64);
    let time = |way: Way, bytes: usize| {
        let median = measured.figures(&way.label(bytes), placement)?.median().value;
        Some(with_unit("ns", median))
    };
    let part = |way: Way| Some(format!("went from {} to {}", time(way, small)?, time(way, large)?));
    let of = |way: Way| part(way).unwrap_or_else(|| "was refused here".to_owned());
    let pays = match growth::mapping_pays_from(measured, sizes, placement) {
        Some(bytes) => format!("handing the memory over beats copying from {} on", named(bytes)),
        None => "handing the memory over beat copying clearly at no size here".to_owned(),
    };
    Some(format!(
        "From {} to {}, a moved Box {}, memory handed over {}, a copy through a pipe {}, and a value that ipc-channel \
         serializes {}; {pays}.",
        named(small),
        named(large),
        part(Way::Moved)?,
        of(Way::Mapped),
        part(Way::Copied)?,
        of(Way::Serialized),
    ))
}
