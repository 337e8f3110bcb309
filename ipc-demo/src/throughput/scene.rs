//! What do the rows use together, how are they measured, and did every message arrive?

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Result;
use shared::measure::{Contest, Timing, usable_cpus};
use shared::number::{chosen_with_unit, count};
use shared::{Placement, Stage, refused};

use super::area::{self, Area};
use super::figures::{Figure, Refusal, figures};
use super::stream::Tally;
use super::way::WAYS;
use super::{ceiling, memory};
use crate::link::{self, Link, Names};

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

pub struct Scene {
    pub area: RefCell<Area>,
    area_bytes: usize,
    cache_bytes: Option<usize>,
    pub tally: Tally,
    pub placement: Placement,
    directory: PathBuf,
    pub queue: String,
}

/// What was measured, what of it cannot be, and what was refused.
#[derive(Default)]
pub struct Found {
    pub figures: Vec<Figure>,
    pub impossible: Vec<Figure>,
    pub refusals: Vec<Refusal>,
}

impl Scene {
    pub fn new(stage: &Stage) -> Result<Scene> {
        let cache_bytes = area::largest_cache_bytes();
        let most = stage.by_effort(0, 256 * MIB, 256 * MIB); // Filling more would take most of the quick effort's time.
        let area_bytes = area::size_bytes(cache_bytes, most.min(shared::spare_bytes() as usize));
        Ok(Scene {
            area: RefCell::new(Area::new(area_bytes)?),
            area_bytes,
            cache_bytes,
            tally: Tally::default(),
            // Where there are two CPUs, each side has one: one copy may then run beside the other.
            placement: if usable_cpus().len() > 1 { Placement::OtherCpu } else { Placement::SameCpu },
            directory: stage.directory().to_owned(),
            queue: format!("/{}", stage.name("throughput")),
        })
    }

    pub fn introduce(&self, stage: &mut Stage, sizes: &[usize]) {
        let pinning = match self.placement {
            Placement::OtherCpu => "each on a CPU of its own",
            Placement::SameCpu | Placement::Free => {
                "both on the one CPU that may be used here, so that each waits for the other"
            }
        };
        stage.note(format!(
            "One side sends messages of one size, the other receives them, {pinning}. A turn is a batch: the receiver is \
             woken, takes them all, and answers once, at the end. Every message carries its number and its length at \
             both ends, and the receiver checks both; in a pass that is not timed it compares every byte."
        ));
        let cache = match self.cache_bytes {
            Some(bytes) if bytes < self.area_bytes => {
                format!("more than the largest cache, which has {}", words(bytes))
            }
            Some(bytes) => format!("less than the largest cache, which has {}", words(bytes)),
            None => "whatever the size of the caches, which is unknown here".to_owned(),
        };
        stage.note(format!(
            "Messages are taken one after the other from {}, {cache}. The ceiling is a memcpy of the same messages from \
             the same memory; 'to cache' is the part that is left for the sender's CPU if the receiver's makes a second \
             copy. What copies and is faster must be an error.",
            words(self.area_bytes),
        ));
        let under_way: Vec<String> = sizes
            .iter()
            .map(|&bytes| format!("{} of {}", count(memory::under_way(bytes) as u64), words(bytes)))
            .collect();
        stage.note(format!(
            "So many messages may be in flight in the ring, as in the channels of threads: {}; in ipc-channel's regions \
             {} at most. A message that is moved stays where it is: its sender gives it up, and gets an empty buffer back. \
             UDP is left out: it drops what finds no room, and never holds its sender up.",
            under_way.join(", "),
            memory::regions_under_way(1)
        ));
    }

    /// One contest for each size. A size for which there is too little memory is left out, and said so.
    pub fn measure(&self, stage: &mut Stage, sizes: &[usize]) -> Result<Found> {
        const BUFFERS: usize = 24; // Slots, buffers under way and receivers' buffers, in all rows together.
        let mut found = Found::default();
        for &bytes in sizes {
            if bytes >= MIB && bytes * BUFFERS > shared::spare_bytes() as usize {
                stage.note(format!("{} is left out: too little memory is free here.", words(bytes)));
                continue;
            }
            self.measure_size(stage, bytes, &mut found)?;
        }
        Ok(found)
    }

    fn measure_size(&self, stage: &mut Stage, bytes: usize, found: &mut Found) -> Result<()> {
        self.area.borrow_mut().rewind();
        let title = format!("Messages of {}", words(bytes));
        let mut contest = Contest::new(title, "the mechanism", Timing::Batches);
        for way in WAYS.into_iter().filter(|way| way.has(bytes)) {
            let refusal = way.refusal(bytes, self).or_else(|error| match refused(&error) {
                Some(why) => Ok(Some(why)),
                None => Err(error.context(format!("trying '{}'", way.name()))),
            });
            match refusal? {
                Some(why) => found.refusals.push(Refusal { way, bytes, why }),
                None => contest.add(way.rival(bytes, self)),
            }
        }
        let measured = stage.compare(contest)?;
        let all = figures(&measured, bytes, self.placement);
        let findings: Vec<_> = all.iter().map(|figure| ceiling::impossible(figure, &all, self.placement)).collect();
        for (figure, finding) in all.into_iter().zip(findings) {
            match finding {
                None => found.figures.push(figure),
                Some(took) => {
                    let name = figure.way.name();
                    stage.spoiled(format!(
                        "'{name}' at {} was {took}: impossible for what copies, so it is not counted",
                        words(bytes)
                    ));
                    found.impossible.push(figure);
                }
            }
        }
        Ok(())
    }

    pub fn tell(&self, stage: &mut Stage) {
        let Tally { rows, whole, whole_sent, timed, timed_sent } = &self.tally;
        let got = format!("{} of {} in {} rows", count(whole.get()), count(whole_sent.get()), rows.get());
        let says = "In the pass that was not timed, every message arrived with every byte as it was sent";
        stage.check(says, whole.get() == whole_sent.get() && whole.get() > 0, got);
        let got = format!("{} of {}", count(timed.get()), count(timed_sent.get()));
        let says = "Every timed message arrived once, in order, with its number and length at both ends";
        stage.check(says, timed.get() == timed_sent.get() && timed.get() > 0, got);
    }

    pub fn link(&self, way: link::Way) -> Result<Link> {
        way.link(&Names { directory: &self.directory, queue: &self.queue })
    }
}

pub fn words(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}
