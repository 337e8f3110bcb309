//! What does handing over a large payload cost: moved, mapped, copied, serialized?

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
    question: "What does handing over a large payload cost: moved, mapped, copied, serialized?",
    claims: &[],
    rule: "It gives no verdict. In each turn a payload gets a new stamp at both ends and is handed over; the other side \
           looks at the stamp and answers. The first turn of each row is not timed: there the whole payload is \
           compared. A mechanism grows with the size if its largest payload takes clearly longer than its smallest. \
           Passing memory pays from the smallest size from which on it is clearly faster than a pipe.",
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
        "Box: a thread moves it to another one and gets it back (crossbeam-channel {}, bounded(1)); only its address \
         travels. memfd: a process passes the descriptor of the memory in which the bytes lie, and the other one maps \
         it, each time. pipe: all bytes are copied. ipc-channel {}: a Vec<u64> is encoded, sent and decoded. A few \
         bytes come back as answer.",
        version::of("crossbeam-channel"),
        version::of("ipc-channel"),
    ));
    let tally = Tally::default();
    let measured = stage.compare(contest(sizes, placement, &tally))?;
    if tally.rows.get() == 0 {
        stage.skip("this machine refused every mechanism: each row says why");
        return Ok(());
    }
    stage.show(growth::table(&measured, sizes, placement));
    let (whole, rows) = (tally.whole.get(), tally.rows.get());
    stage.fact("The first payload of each row arrives whole", whole == rows, format!("{whole} of {rows} rows"));
    let (stamped, turns) = (tally.stamped.get(), tally.turns.get());
    let got = format!("{} of {} turns", count(stamped), count(turns));
    stage.check("Each later payload arrives with its own turn's stamp", stamped == turns && turns > 0, got);
    growth::tell(stage, &measured, sizes, placement);
    let Some((headline, answer)) = answer(&measured, sizes, placement) else {
        stage.skip("this machine refused the Box or the pipe, beside which all else is set");
        return Ok(());
    };
    stage.headline(headline);
    stage.answer(answer);
    stage.advise(match growth::mapping_pays_from(&measured, sizes, placement) {
        Some(bytes) => format!("From {} on, pass the memory itself: copy `pass_fd`.", named(bytes)),
        None => "Use a pipe: passing memory (`pass_fd`) is no clear gain here.".to_owned(),
    });
    Ok(())
}

fn contest<'a>(sizes: &[usize], placement: Placement, tally: &'a Tally) -> Contest<'a> {
    let mut contest = Contest::new("A payload handed over and answered", "size and mechanism", Timing::Batches);
    for &bytes in sizes {
        WAYS.into_iter().for_each(|way| contest.add(way.rival(bytes, placement, tally)));
    }
    contest
}

/// The headline and the answer: the largest size, by each mechanism.
fn answer(measured: &Measured, sizes: &[usize], placement: Placement) -> Option<(String, String)> {
    let &large = sizes.last()?;
    let time = |way: Way| {
        let median = measured.figures(&way.label(large), placement)?.median().value;
        Some(with_unit("ns", median))
    };
    let (moved, mapped, copied) = (time(Way::Moved)?, time(Way::Mapped), time(Way::Copied)?);
    let headline = match &mapped {
        Some(mapped) => format!("{}: memfd {mapped}, pipe {copied}", named(large)),
        None => format!("{}: Box {moved}, pipe {copied}", named(large)),
    };
    let pays = match growth::mapping_pays_from(measured, sizes, placement) {
        Some(bytes) => format!("The memfd beats the pipe from {} on", named(bytes)),
        None if mapped.is_none() => "A memfd was refused here".to_owned(),
        None => "The memfd clearly beats the pipe at no size here".to_owned(),
    };
    let mapped = mapped.map_or(String::new(), |time| format!(", {time} as a memfd"));
    let serialized = time(Way::Serialized).map_or(String::new(), |time| format!(", {time} serialized"));
    let size = named(large);
    let answer = format!("{size} take {moved} as a Box{mapped}, {copied} through a pipe{serialized}. {pays}.");
    Some((headline, answer))
}

fn named(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}
