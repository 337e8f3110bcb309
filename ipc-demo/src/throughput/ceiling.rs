//! What can no mechanism that copies exceed? One memcpy of the same messages, from the same memory.

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::{Result, ensure};
use shared::Placement;
use shared::number::{ratio_in_words, three_digits};
use shared::stats::ratio;

use super::area::Area;
use super::figures::Figure;
use super::message::Stamp;
use super::way::Way;

/// Fits into the first cache of any CPU, beside what else is there.
pub const PIECE_BYTES: usize = 16 << 10;

/// Each message copied, in pieces as large as the place, which each piece finds as the one before it left it.
pub fn memcpy(bytes: usize, place_bytes: usize, area: &RefCell<Area>) -> impl FnMut(Stamp) -> Result<()> {
    let mut place = vec![1; place_bytes];
    move |stamp| {
        for piece in area.borrow_mut().next(bytes, stamp).chunks(place_bytes) {
            black_box(&mut place)[..piece.len()].copy_from_slice(piece);
            let looked_at = if stamp.is_whole() { 0 } else { piece.len().saturating_sub(ENDING_BYTES) };
            ensure!(black_box(&place)[looked_at..piece.len()] == piece[looked_at..], "a piece was not copied");
        }
        Ok(())
    }
}

const ENDING_BYTES: usize = 16; // Of each piece, where it is timed: a stamp's length.

/// The ceiling of a way. Who copies nothing has none. Who copies once, or twice on one CPU, must at least fill a place
/// of the message's size from where it lay. Where each of two CPUs makes one of the two copies, the sender's must at
/// least bring the message to where the other can fetch it, which may be a place in the cache.
pub fn of(way: Way, bytes: usize, placement: Placement) -> Option<Way> {
    match way.copies() {
        _ if way.is_ceiling() => None,
        0 => None,
        1 => Some(Way::Memcpy),
        _ if placement == Placement::OtherCpu && Way::MemcpyToCache.has(bytes) => Some(Way::MemcpyToCache),
        _ => Some(Way::Memcpy),
    }
}

/// How a figure compares with its ceiling's time and CPU time, if it is clearly above it: then one of the two is wrong.
///
/// Copying takes CPU time, whoever does it and however long he waits: with less than half of the ceiling's nobody copied.
pub fn impossible(figure: &Figure, all: &[Figure], placement: Placement) -> Option<String> {
    const HALF: f64 = 0.5; // A memcpy of its own may be this much luckier with its caches, and no more.
    let ceiling = of(figure.way, figure.bytes, placement)?;
    let ceiling = all.iter().find(|one| one.way == ceiling && one.bytes == figure.bytes)?;
    let time = ratio(&figure.by_round, &ceiling.by_round);
    let cpu = figure.cpu_ns.zip(ceiling.cpu_ns).map(|(ours, least)| ours / least);
    let is_impossible = time.is_faster() || cpu.is_some_and(|cpu| cpu < HALF);
    is_impossible.then(|| {
        let cpu = cpu.map_or("an unknown share".to_owned(), |cpu| format!("{} %", three_digits(cpu * 100.0)));
        format!("{} than '{}', with {cpu} of its CPU time", ratio_in_words(time.ratio), ceiling.way.name())
    })
}

#[cfg(test)]
mod tests {
    use shared::Placement::{OtherCpu, SameCpu};

    use super::*;

    const MIB: usize = 1 << 20;

    fn figure(way: Way, ns: f64) -> Figure {
        Figure { way, bytes: MIB, by_round: vec![ns; 20], cpu_ns: None }
    }

    #[test]
    fn who_waits_long_but_computes_less_than_a_copy_is_flagged_too() {
        let cpu = |way, cpu_ns| Figure { cpu_ns: Some(cpu_ns), ..figure(way, 500_000.0) };
        let all = [cpu(Way::Memcpy, 100_000.0), cpu(Way::Pipe, 90_000.0), cpu(Way::Tcp, 40_000.0)];
        let flagged = all.each_ref().map(|figure| impossible(figure, &all, SameCpu));
        assert_eq!(
            flagged,
            [None, None, Some("1.00 times slower than 'memcpy', with 40.0 % of its CPU time".to_owned())]
        );
    }

    /// Which of these, made up, are flagged beside a memcpy of 100 us, and of 80 us to the cache.
    fn flagged(ways: &[Way], ns: f64, placement: Placement) -> Vec<Way> {
        let mut all = vec![figure(Way::Memcpy, 100_000.0), figure(Way::MemcpyToCache, 80_000.0)];
        all.extend(ways.iter().map(|&way| figure(way, ns)));
        all.iter().filter(|figure| impossible(figure, &all, placement).is_some()).map(|figure| figure.way).collect()
    }

    #[test]
    fn a_copying_way_above_its_ceiling_is_flagged_and_a_moving_one_is_not() {
        let ways = [Way::Pipe, Way::ChannelRegions, Way::Crossbeam];
        assert_eq!(flagged(&ways, 120_000.0, OtherCpu), []);
        assert_eq!(flagged(&ways, 50_000.0, OtherCpu), [Way::Pipe, Way::ChannelRegions]);
        assert_eq!(flagged(&ways, 99_900.0, SameCpu), []); // Not clearly: no more than two builds of one program differ.
    }

    #[test]
    fn copies_are_counted() {
        // Two CPUs may share two copies; one CPU must make both, and who copies once has nobody to share it with.
        let ways = [Way::Pipe, Way::ChannelRegions];
        assert_eq!(flagged(&ways, 90_000.0, OtherCpu), [Way::ChannelRegions]);
        assert_eq!(flagged(&ways, 90_000.0, SameCpu), ways);
    }

    #[test]
    fn a_memcpy_is_checked_and_every_message_is_copied() {
        let area = RefCell::new(Area::new(1 << 16).unwrap());
        for place_bytes in [64, 1024] {
            let mut send = memcpy(1024, place_bytes, &area);
            (0..100).for_each(|number| send(Stamp::numbered(number)).unwrap());
            send(Stamp::numbered(100).whole()).unwrap();
        }
    }
}
