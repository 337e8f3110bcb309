//! What is the fastest at each size, of those whose figures are possible?

use process_demo::crew::Kind;
use shared::Placement;
use shared::number::{chosen_with_unit, ratio_in_words, three_digits};
use shared::stats::{Ratio, median, ratio};
use shared::{Cell, Column, Mood, Table};

use super::mechanisms::{IPC_CHANNEL, RING};

/// One mechanism at one size.
#[derive(Clone)]
pub struct Figure {
    pub name: &'static str,
    /// None of a memcpy, the ceiling of what copies.
    pub between: Option<Kind>,
    pub copies: u32,
    pub bytes: usize,
    /// Nanoseconds per message.
    pub by_round: Vec<f64>,
    /// Of both sides, per message.
    pub cpu_ns: Option<f64>,
}

impl Figure {
    pub fn ns(&self) -> f64 {
        median(&self.by_round).value
    }

    /// Bytes per nanosecond are gigabytes per second.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes as f64 / self.ns()
    }
}

pub const MEMCPY: &str = "memcpy";
pub const MEMCPY_TO_CACHE: &str = "memcpy to cache";

/// Fits into the first cache of any CPU, beside what else is there. What fits into one piece is one memcpy, like the other.
pub const PIECE_BYTES: usize = 16 << 10;

/// How a figure compares with its ceiling's time and CPU time, if it is clearly above it: then one of the two is wrong.
///
/// Who copies nothing has no ceiling. Who copies once, or twice on one CPU, must at least fill a place of the message's
/// size from where it lay. Where each of two CPUs makes one of the two copies, the sender's must at least bring the message
/// to where the other can fetch it, which may be a place in the cache. Copying takes CPU time, whoever does it and however
/// long he waits: with less than half of the ceiling's nobody copied.
pub fn impossible(figure: &Figure, ceilings: &[Figure], placement: Placement) -> Option<String> {
    const HALF: f64 = 0.5; // A memcpy of its own may be this much luckier with its caches, and no more.
    let shares_two_copies = figure.copies == 2 && placement == Placement::OtherCpu && figure.bytes > PIECE_BYTES;
    let name = if shares_two_copies { MEMCPY_TO_CACHE } else { MEMCPY };
    let ceiling = ceilings.iter().find(|one| (one.name, one.bytes) == (name, figure.bytes) && figure.copies > 0)?;
    let time = ratio(&figure.by_round, &ceiling.by_round);
    let cpu = figure.cpu_ns.zip(ceiling.cpu_ns).map(|(ours, least)| ours / least);
    let is_impossible = time.is_faster() || cpu.is_some_and(|cpu| cpu < HALF);
    is_impossible.then(|| {
        let cpu = cpu.map_or("an unknown share".to_owned(), |cpu| format!("{} %", three_digits(cpu * 100.0)));
        format!("{} than '{name}', with {cpu} of its CPU time", ratio_in_words(time.ratio))
    })
}

/// Mechanisms among which somebody may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Processes,
    /// The same without the ring.
    Kernel,
    Threads,
    IpcChannel,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Processes => "between processes",
            Group::Kernel => "through the kernel",
            Group::Threads => "between threads",
            Group::IpcChannel => "by ipc-channel",
        }
    }

    fn has(self, figure: &Figure) -> bool {
        let is_between = |kind| figure.between == Some(kind);
        match self {
            Group::Processes => is_between(Kind::Processes),
            Group::Kernel => is_between(Kind::Processes) && figure.name != RING,
            Group::Threads => is_between(Kind::Threads),
            Group::IpcChannel => IPC_CHANNEL.contains(&figure.name),
        }
    }
}

/// The fastest of a group at one size.
pub struct Fastest<'a> {
    pub first: &'a Figure,
    /// The next; none if there is no other.
    pub second: Option<&'a Figure>,
    /// Who is not clearly slower than the first.
    pub level: Vec<&'static str>,
}

impl Fastest<'_> {
    /// How much longer the next one takes: which two, and their ratio.
    pub fn ahead(&self, group: Group) -> Option<(String, Ratio)> {
        let (first, second, size) = (self.first, self.second?, size(self.first.bytes));
        let says = format!("{size} {}: {} against {}", group.name(), first.name, second.name);
        Some((says, ratio(&first.by_round, &second.by_round)))
    }
}

/// By size, smallest first; sizes at which nothing of the group was measured are left out.
pub fn fastest<'a>(figures: &'a [Figure], group: Group, sizes: &[usize]) -> Vec<Fastest<'a>> {
    let at_size = |&bytes: &usize| {
        let mut those: Vec<&Figure> =
            figures.iter().filter(|figure| figure.bytes == bytes && group.has(figure)).collect();
        those.sort_by(|one, other| one.ns().total_cmp(&other.ns()));
        let (&first, others) = those.split_first()?;
        let is_level = |other: &&&Figure| !ratio(&first.by_round, &other.by_round).is_faster();
        let level = others.iter().filter(is_level).map(|other| other.name).collect();
        Some(Fastest { first, second: others.first().copied(), level })
    };
    sizes.iter().filter_map(at_size).collect()
}

/// The one that is clearly the fastest at the most sizes, and at how many; none if nothing is anywhere.
pub fn champion(by_size: &[Fastest<'_>]) -> Option<(&'static str, usize)> {
    let clear = || by_size.iter().filter(|fastest| fastest.level.is_empty()).map(|fastest| fastest.first.name);
    let counted = clear().map(|name| (name, clear().filter(|other| *other == name).count()));
    counted.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// One size below the other: the fastest between processes and between threads, and the ceiling.
pub fn table(figures: &[Figure], sizes: &[usize]) -> Table {
    let name = |fastest: Option<&Fastest<'_>>| match fastest {
        Some(Fastest { first, level, .. }) => match level.len() {
            0 => Cell::Word { says: first.name.to_owned(), mood: Mood::Good },
            1 => Cell::Text(format!("{} or {}", first.name, level[0])),
            more => Cell::Text(format!("{} or {more} others", first.name)),
        },
        None => Cell::Nothing,
    };
    let number = |figure: Option<&Figure>, of: fn(&Figure) -> f64| {
        figure.map_or(Cell::Nothing, |figure| Cell::Number(of(figure)))
    };
    let row = |&bytes: &usize| {
        let found = [Group::Processes, Group::Kernel, Group::Threads].map(|group| fastest(figures, group, &[bytes]));
        let [processes, kernel, threads] = found.each_ref().map(|found| found.first());
        let memcpy = figures.iter().find(|figure| (figure.name, figure.bytes) == (MEMCPY, bytes));
        vec![
            Cell::Text(size(bytes)),
            name(processes),
            number(processes.map(|fastest| fastest.first), Figure::gb_per_s),
            number(kernel.map(|fastest| fastest.first), Figure::gb_per_s),
            number(memcpy, Figure::gb_per_s),
            name(threads),
            number(threads.map(|fastest| fastest.first), Figure::ns),
        ]
    };
    Table {
        title: "Fastest by message size ('or': too close to call; kernel: without ring)".to_owned(),
        columns: vec![
            Column::label("size"),
            Column::value("between processes", ""),
            Column::value("speed", "GB/s"),
            Column::value("kernel", "GB/s"),
            Column::value("memcpy", "GB/s"),
            Column::value("between threads", ""),
            Column::value("a message", "ns"),
        ],
        rows: sizes.iter().map(row).collect(),
    }
}

pub fn size(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}

#[cfg(test)]
mod tests {
    use shared::Placement::{OtherCpu, SameCpu};

    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    const SIZES: [usize; 3] = [64, KIB, 16 * KIB];

    /// Made up: so many nanoseconds in each of twenty rounds.
    fn figure(name: &'static str, copies: u32, ns: f64) -> Figure {
        let between = match name {
            MEMCPY | MEMCPY_TO_CACHE => None,
            "crossbeam" => Some(Kind::Threads),
            _ => Some(Kind::Processes),
        };
        Figure { name, between, copies, bytes: MIB, by_round: vec![ns; 20], cpu_ns: None }
    }

    fn board(rows: &[(&'static str, [f64; 3])]) -> Vec<Figure> {
        let by_size = |&(name, ns): &(_, [f64; 3])| {
            SIZES.into_iter().zip(ns).map(move |(bytes, ns)| Figure { bytes, ..figure(name, 2, ns) })
        };
        rows.iter().flat_map(by_size).collect()
    }

    #[test]
    fn what_is_level_leads_nowhere() {
        let figures = board(&[("pipe", [100.0, 401.0, 4001.0]), ("Unix stream", [400.0, 400.0, 4000.0])]);
        let by_size = fastest(&figures, Group::Kernel, &SIZES);
        assert_eq!(champion(&by_size), Some(("pipe", 1)));
        assert_eq!(
            by_size.iter().map(|fastest| &fastest.level[..]).collect::<Vec<_>>(),
            [&[][..], &["pipe"], &["pipe"]]
        );
        assert_eq!(by_size[0].ahead(Group::Kernel).unwrap().0, "64 B through the kernel: pipe against Unix stream");
    }

    #[test]
    fn the_champion_leads_at_the_most_sizes_and_nobody_does_among_three_that_are_level() {
        let figures = board(&[("TCP", [100.0, 500.0, 5000.0]), ("pipe", [300.0, 400.0, 4000.0])]);
        assert_eq!(champion(&fastest(&figures, Group::Kernel, &SIZES)), Some(("pipe", 2)));
        let figures = board(&[("pipe", [100.0; 3]), ("Unix stream", [101.0; 3]), ("TCP", [100.5; 3])]);
        let by_size = fastest(&figures, Group::Kernel, &SIZES);
        assert_eq!((champion(&by_size), by_size[0].level.len()), (None, 2));
    }

    #[test]
    fn a_group_has_its_own_mechanisms_and_no_ceiling() {
        let figures = board(&[(MEMCPY, [1.0; 3]), (RING, [50.0; 3]), ("pipe", [100.0; 3]), ("crossbeam", [20.0; 3])]);
        let first = |group| fastest(&figures, group, &SIZES).first().map(|fastest| fastest.first.name);
        let groups = [Group::Processes, Group::Kernel, Group::Threads, Group::IpcChannel];
        assert_eq!(groups.map(first), [Some(RING), Some("pipe"), Some("crossbeam"), None]);
    }

    #[test]
    fn who_waits_long_but_computes_less_than_a_copy_is_flagged_too() {
        let cpu = |name, cpu_ns| Figure { cpu_ns: Some(cpu_ns), ..figure(name, 2, 500_000.0) };
        let ceilings = [cpu(MEMCPY, 100_000.0)];
        let flagged = [90_000.0, 40_000.0].map(|cpu_ns| impossible(&cpu("pipe", cpu_ns), &ceilings, SameCpu));
        assert_eq!(flagged, [None, Some("1.00 times slower than 'memcpy', with 40.0 % of its CPU time".to_owned())]);
    }

    /// Whether who copies so often is flagged beside a memcpy of 100 us, and of 80 us to the cache.
    fn is_flagged(copies: u32, ns: f64, placement: Placement) -> bool {
        let ceilings = [figure(MEMCPY, 1, 100_000.0), figure(MEMCPY_TO_CACHE, 1, 80_000.0)];
        impossible(&figure("it", copies, ns), &ceilings, placement).is_some()
    }

    #[test]
    fn what_copies_and_is_above_its_ceiling_is_flagged_and_what_is_moved_is_not() {
        let flagged = |ns, placement| [2, 1, 0].map(|copies| is_flagged(copies, ns, placement));
        assert_eq!(flagged(120_000.0, OtherCpu), [false; 3]);
        assert_eq!(flagged(50_000.0, OtherCpu), [true, true, false]);
        assert_eq!(flagged(99_900.0, SameCpu), [false; 3]); // Not clearly: no more than two builds of one program differ.
    }

    #[test]
    fn copies_are_counted() {
        // Two CPUs may share two copies; one CPU must make both, and who copies once has nobody to share it with.
        assert_eq!([2, 1].map(|copies| is_flagged(copies, 90_000.0, OtherCpu)), [false, true]);
        assert_eq!([2, 1].map(|copies| is_flagged(copies, 90_000.0, SameCpu)), [true; 2]);
    }
}
