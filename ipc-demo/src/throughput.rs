//! Which mechanism moves the most, by the size of the message?

mod mechanisms;
mod message;
mod stream;

use std::cell::{Cell as Count, RefCell};

use anyhow::Result;
use shared::measure::{Contest, Figures, Measured, Timing, usable_cpus};
use shared::number::{chosen_with_unit, ratio_in_words, three_digits, with_unit};
use shared::{Cell, Column, Demo, Extras, Placement, Snippet, Stage, Table};

use crate::version;
use mechanisms::{AT_QUICK_EFFORT, How, MECHANISMS, Mechanism, RING, RING_OF_THREADS};
use message::Area;
use stream::{Bench, PIECE_BYTES, Row, memcpy};

pub const DEMO: Demo = Demo {
    name: "throughput",
    question: "Which mechanism moves the most, by the size of the message?",
    claims: &[],
    rule: "It gives no verdict. A mechanism is fastest at a size if it is clearly faster there than all others that copy \
           between processes; passing memory is, from a size on, if it clearly beats all of these there and at each larger \
           size. What copies and is clearly faster than its ceiling, a memcpy of the same messages, or takes less than \
           half of its CPU time, is impossible: it is flagged and left out.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/socket_pair.rs", text: include_str!("../snippets/socket_pair.rs") },
        Snippet { path: "ipc-demo/snippets/message_queue.rs", text: include_str!("../snippets/message_queue.rs") },
        Snippet { path: "ipc-demo/snippets/pass_fd.rs", text: include_str!("../snippets/pass_fd.rs") },
    ],
    run,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn run(stage: &mut Stage) -> Result<()> {
    const ALL: &[usize] = &[64, 8 * KIB, 64 * KIB, MIB, 16 * MIB];
    let sizes = stage.by_effort(&[64, 256 * KIB][..], ALL, ALL);
    let mechanisms = stage.by_effort(&MECHANISMS[..AT_QUICK_EFFORT], &MECHANISMS, &MECHANISMS);
    // Refused one in the middle, ipc-channel panics, and the sender of a ring waits for a receiver that never comes.
    let enough: std::io::Result<Vec<_>> = (0..64).map(|_| std::fs::File::open("/dev/null")).collect();
    if let Err(why) = enough.map(drop) {
        stage.skip(format!("fewer than 64 descriptors are free: {why}"));
        return Ok(());
    }
    let bench = set_up(stage)?;
    let mut by_size = Vec::new();
    for &bytes in sizes {
        const BUFFERS: usize = 24; // Slots, buffers in flight and receivers' buffers, in all rows together.
        if bytes >= MIB && bytes * BUFFERS > shared::spare_bytes() as usize {
            stage.note(format!("{} is left out: too little memory is free here.", size(bytes)));
            continue;
        }
        by_size.push(measure(stage, bytes, mechanisms, &bench)?);
    }
    let [sent, arrived] = bench.filled.get();
    stage.all("In a pass that is not timed, every byte of every message arrives as it was sent", arrived, sent);
    stage.show(table_of_times(&by_size, mechanisms));
    stage.say(format!("Fastest copy between processes: {}.", fastest_by_size(&by_size)));
    tell_ratios(stage, &by_size);
    if conclude(stage, &by_size).is_none() {
        stage.skip("this machine refused every mechanism that copies between processes, or all that do not copy");
    }
    Ok(())
}

/// What all rows use; and tells what they do.
fn set_up(stage: &mut Stage) -> Result<Bench> {
    // Where there are two CPUs, each side has one: one copy may then run beside the other.
    let (placement, pinning) = match usable_cpus().len() {
        ..=1 => (Placement::SameCpu, "both on the one CPU that may be used here, so that each waits for the other"),
        _ => (Placement::OtherCpu, "each on a CPU of its own"),
    };
    stage.note(format!(
        "One side sends messages of one size, the other receives them, {pinning}. A turn is a batch: the receiver is \
         told how many will come, takes them all, and answers once. Every message carries its number and its length at \
         both ends, and the receiver checks both; in a pass that is not timed it compares every byte."
    ));
    stage.note(format!(
        "Moved: a thread gives another its buffer (crossbeam-channel {}), and gets an empty one back. Passed: a message is \
         written to a memfd, whose descriptor is sent; the other process maps it. Serialized: a Vec<u8>, as ipc-channel {} \
         encodes it. UDP is left out: it drops what finds no room.",
        version::of("crossbeam-channel"),
        version::of("ipc-channel"),
    ));
    let area_bytes = stage.by_effort(16 * MIB, 256 * MIB, 256 * MIB).min(shared::spare_bytes() as usize).max(16 * MIB);
    stage.note(format!(
        "What is copied comes from {}. Its ceiling is a memcpy of these messages in pieces of {} to one place, which stays \
         in the cache: whoever copies does that at least. Rings and channels hold a mebibyte, or two messages.",
        size(area_bytes),
        size(PIECE_BYTES),
    ));
    let (directory, queue) = (stage.directory().to_owned(), stage.queue("throughput")?);
    Ok(Bench { area: RefCell::new(Area::new(area_bytes)?), placement, directory, queue, filled: Count::new([0; 2]) })
}

/// All mechanisms at one size.
struct OneSize {
    bytes: usize,
    placement: Placement,
    measured: Measured,
    impossible: Vec<&'static str>,
}

const MEMCPY: &str = "memcpy";

fn measure(stage: &mut Stage, bytes: usize, mechanisms: &'static [Mechanism], bench: &Bench) -> Result<OneSize> {
    let mut contest = Contest::new(format!("Messages of {}", size(bytes)), "the mechanism", Timing::Batches);
    let row = |name| Row { name, bytes, bench };
    contest.add(memcpy(row(MEMCPY)));
    mechanisms.iter().for_each(|one| contest.add((one.rival)(row(one.name))));
    let measured = stage.compare(contest)?;
    let mut found = OneSize { bytes, placement: bench.placement, measured, impossible: Vec::new() };
    for one in mechanisms.iter().filter(|one| matches!(one.how, How::Copied | How::Serialized)) {
        let Some(why) = found.figures(one.name).zip(found.figures(MEMCPY)).and_then(impossible) else { continue };
        stage.spoiled(format!("'{}' at {} was {why}: impossible, so it is not counted", one.name, size(bytes)));
        found.impossible.push(one.name);
    }
    Ok(found)
}

/// How a figure compares with its ceiling, if it is clearly above it: then one of the two is wrong.
///
/// Copying takes CPU time, whoever does it and however long he waits: with less than half of a memcpy's nobody copied.
fn impossible((figures, ceiling): (&Figures, &Figures)) -> Option<String> {
    const HALF: f64 = 0.5; // A memcpy of its own may be this much luckier with its caches, and no more.
    let time = figures.against(ceiling);
    let cpu = figures.cpu_ns.zip(ceiling.cpu_ns).map(|(ours, least)| ours / least);
    let faster = time.is_faster().then(|| format!("{} than a memcpy", ratio_in_words(time.ratio)));
    let too_little = cpu.filter(|share| *share < HALF).map(|share| three_digits(share * 100.0));
    faster.or(too_little.map(|share| format!("done with {share} % of a memcpy's CPU time")))
}

impl OneSize {
    /// None of what was not measured, or is impossible.
    fn figures(&self, name: &str) -> Option<&Figures> {
        let figures = self.measured.figures(name, self.placement)?;
        (!self.impossible.contains(&name)).then_some(figures)
    }

    /// Those whose bytes are handled like this, fastest first; of what copies, between processes.
    fn ranking(&self, how: How) -> Vec<(&'static Mechanism, &Figures)> {
        let those = MECHANISMS.iter().filter(|one| one.how == how && one.name != RING_OF_THREADS);
        let mut those: Vec<_> = those.filter_map(|one| Some((one, self.figures(one.name)?))).collect();
        those.sort_by(|(_, one), (_, other)| one.median().value.total_cmp(&other.median().value));
        those
    }

    fn fastest(&self, how: How) -> Option<&Figures> {
        self.ranking(how).first().map(|(_, figures)| *figures)
    }

    /// The fastest of what copies between processes, and who is not clearly slower.
    fn leaders(&self) -> Vec<&'static str> {
        let (ranking, fastest) = (self.ranking(How::Copied), self.fastest(How::Copied));
        let is_level = |(_, theirs): &&(_, &Figures)| fastest.is_some_and(|first| !first.against(theirs).is_faster());
        ranking.iter().filter(is_level).map(|(one, _)| one.name).collect()
    }

    fn passing_pays(&self) -> bool {
        let (passed, copied) = (self.fastest(How::Passed), self.fastest(How::Copied));
        passed.zip(copied).is_some_and(|(passed, copied)| passed.against(copied).is_faster())
    }
}

/// One mechanism below the other, one size beside the other; why one is missing, its row of the comparison says.
fn table_of_times(by_size: &[OneSize], mechanisms: &[Mechanism]) -> Table {
    let cell = |name: &str, one: &OneSize| match one.figures(name) {
        Some(found) => found.median().value.into(),
        None if one.impossible.contains(&name) => Cell::bad("impossible"),
        None => Cell::Nothing,
    };
    let row = |(name, how): (&str, String)| {
        [name.into(), how.into()].into_iter().chain(by_size.iter().map(|one| cell(name, one))).collect()
    };
    let names =
        mechanisms.iter().map(|one| (one.name, one.how.to_string())).chain([(MEMCPY, "copied once".to_owned())]);
    let sizes = by_size.iter().map(|one| Column::value(size(one.bytes), "ns"));
    let columns = ["mechanism", "bytes are"].map(Column::from).into_iter().chain(sizes);
    Table::new("Time per message, by its size", columns, names.map(row))
}

/// "64 B ring, 0.172 GB/s".
fn fastest_by_size(by_size: &[OneSize]) -> String {
    let told = by_size.iter().filter_map(|one| {
        let gb_per_s = one.bytes as f64 / one.fastest(How::Copied)?.median().value; // Bytes per nanosecond.
        let leaders = one.leaders();
        let names = match leaders[..] {
            [first, _, _, ..] => format!("{first} or {} others", leaders.len() - 1),
            _ => leaders.join(" or "),
        };
        Some(format!("{} {names}, {} GB/s", size(one.bytes), three_digits(gb_per_s)))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// How each kind grows with the size; the leader against the next and against passing; the ring in processes and threads.
fn tell_ratios(stage: &mut Stage, by_size: &[OneSize]) {
    let mut trend = |says: String, one: Option<&Figures>, other: Option<&Figures>| {
        let ratio = one?.against(other?);
        stage.trend(says, &ratio);
        Some(ratio)
    };
    if let [small, .., large] = by_size {
        for name in ["crossbeam", "memfd", "pipe", "ipc-channel"] {
            let says = format!("{name}: {} against {}", size(large.bytes), size(small.bytes));
            trend(says, large.figures(name), small.figures(name));
        }
    }
    let mut slower_rings = Vec::new();
    for one in by_size {
        let (bytes, ranking) = (size(one.bytes), one.ranking(How::Copied));
        if let [(first, figures), (next, others), ..] = ranking[..] {
            trend(format!("{bytes}: {} against {}", first.name, next.name), Some(figures), Some(others));
            trend(format!("{bytes}: {} against memfd", first.name), Some(figures), one.fastest(How::Passed));
        }
        let says = format!("{bytes}: {RING} against {RING_OF_THREADS}");
        slower_rings
            .extend(trend(says, one.figures(RING), one.figures(RING_OF_THREADS)).map(|ratio| ratio.is_slower()));
    }
    let slower = slower_rings.iter().filter(|is_slower| **is_slower).count();
    let says = "The same ring is clearly slower between two processes than between two threads at";
    stage.note(format!("{says} {slower} of {} sizes.", slower_rings.len()));
}

/// Headline, answer and advice; none if nothing copies, or nothing does without.
fn conclude(stage: &mut Stage, by_size: &[OneSize]) -> Option<()> {
    let large = by_size.last()?;
    let time = |how| Some((how, with_unit("ns", large.fastest(how)?.median().value)));
    let times: Vec<_> = [How::Moved, How::Passed, How::Copied, How::Serialized].into_iter().filter_map(time).collect();
    let copied = times.iter().position(|(how, _)| *how == How::Copied)?;
    let times: Vec<String> = times.into_iter().map(|(how, time)| format!("{time} {how}")).collect();
    let bytes = size(large.bytes);
    stage.headline(format!("{bytes}: {}, {}", times.get(copied.checked_sub(1)?)?, times[copied]));

    let leads = |one: &&Mechanism| by_size.iter().filter(|size| size.leaders() == [one.name]).count();
    let leader = MECHANISMS.iter().rev().max_by_key(leads).filter(|one| leads(one) > 0);
    let copying = match leader {
        Some(leader) => format!("{} is fastest at {} of {} sizes", leader.name, leads(&leader), by_size.len()),
        None => "none is clearly fastest".to_owned(),
    };
    let pays_from = by_size.iter().rev().take_while(|one| one.passing_pays()).last().map(|one| size(one.bytes));
    let passing = match &pays_from {
        Some(from) => format!("passing memory is faster from {from} on"),
        None => "passing memory is faster at no size".to_owned(),
    };
    stage.answer(format!("Of copies between processes, {copying}; {passing}. {bytes} take {}.", times.join(", ")));
    let snippet = match leader.map_or("", |leader| leader.name) {
        RING => "ring",
        "Unix stream" | "seqpacket" => "socket_pair",
        "POSIX queue" => "message_queue",
        _ => "pipe_pair",
    };
    stage.advise(match pays_from {
        Some(from) => format!("From {from} on, pass memory: `pass_fd`. Below, copy `{snippet}`."),
        None => format!("Much data between two processes? Copy `{snippet}`."),
    });
    Some(())
}

fn size(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;
    use shared::Effort;
    use shared::measure::{Budget, Clock, Ready, Rival};

    use super::*;

    /// A rival's turn moves the time and the CPU time on.
    #[derive(Default)]
    struct MadeUp {
        now_ns: Count<u64>,
        cpu_ns: Count<u64>,
    }

    impl Clock for MadeUp {
        fn now_ns(&self) -> u64 {
            self.now_ns.update(|now| now + 1);
            self.now_ns.get()
        }

        fn cpu_ns(&self, _: &[Pid]) -> Option<u64> {
            Some(self.cpu_ns.get())
        }
    }

    /// What takes so long, and so much CPU time, a message.
    fn one_size(bytes: usize, rows: &[(&'static str, [u64; 2])]) -> OneSize {
        let (clock, placement) = (MadeUp::default(), Placement::SameCpu);
        let mut contest = Contest::new("", "", Timing::Batches);
        for &(name, [ns, cpu_ns]) in rows {
            let clock = &clock;
            contest.add(Rival::of_threads(name, placement, move |_| {
                Ok(Ready::new(move |steps| {
                    clock.now_ns.update(|now| now + ns * steps);
                    clock.cpu_ns.update(|used| used + cpu_ns * steps);
                    Ok(steps)
                }))
            }));
        }
        let measured = contest.measure_with(&clock, &Budget::of(Effort::Quick)).unwrap();
        OneSize { bytes, placement, measured, impossible: Vec::new() }
    }

    #[test]
    fn what_is_faster_than_a_memcpy_or_does_not_compute_as_much_is_impossible() {
        let found = one_size(
            MIB,
            &[
                (MEMCPY, [1000, 1000]),
                ("level", [1010, 600]),
                ("faster", [900, 1000]),
                ("waits long", [5000, 400]),
                ("slow", [5000, 2000]),
            ],
        );
        let why = |name| impossible((found.figures(name).unwrap(), found.figures(MEMCPY).unwrap()));
        assert_eq!([why("level"), why("slow")], [None, None]);
        assert!(why("faster").unwrap().contains("times faster than a memcpy"));
        assert_eq!(why("waits long").unwrap(), "done with 40.0 % of a memcpy's CPU time");
    }

    #[test]
    fn what_is_impossible_leads_nowhere() {
        let rows = [(RING, [100; 2]), ("pipe", [300; 2]), ("TCP", [400; 2])];
        assert_eq!(one_size(64, &rows).leaders(), [RING]);
        assert_eq!(OneSize { impossible: vec![RING], ..one_size(64, &rows) }.leaders(), ["pipe"]);
    }

    #[test]
    fn level_rivals_lead_together_and_threads_do_not_lead_among_processes() {
        let found =
            one_size(64, &[(RING_OF_THREADS, [10; 2]), ("pipe", [1005; 2]), ("TCP", [1000; 2]), (RING, [2000; 2])]);
        assert_eq!(found.leaders(), ["TCP", "pipe"]);
        assert_eq!(fastest_by_size(&[found]), "64 B TCP or pipe, 0.0640 GB/s");
        assert!(one_size(64, &[("memfd", [10; 2])]).leaders().is_empty());
    }

    #[test]
    fn passing_pays_where_it_beats_every_copy() {
        let pays = |memfd| one_size(MIB, &[("memfd", [memfd; 2]), ("pipe", [900; 2]), (RING, [500; 2])]).passing_pays();
        assert_eq!([400, 500, 700].map(pays), [true, false, false]);
        assert!(!one_size(MIB, &[("pipe", [900; 2])]).passing_pays());
    }
}
