//! Which mechanism leads at each size, where does the lead change, and what follows for who has to choose?

use shared::number::{chosen_with_unit, three_digits, with_unit};
use shared::stats::{Ratio, ratio};
use shared::{Cell, Column, Mood, Table};

use super::figures::Figure;
use super::way::{Between, WAYS, Way};

/// Ways among which somebody may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Processes,
    /// The same without the ring.
    Kernel,
    Threads,
    IpcChannel,
}

pub const GROUPS: [Group; 4] = [Group::Processes, Group::Kernel, Group::Threads, Group::IpcChannel];

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Processes => "between processes",
            Group::Kernel => "through the kernel",
            Group::Threads => "between threads",
            Group::IpcChannel => "by ipc-channel",
        }
    }

    fn has(self, way: Way) -> bool {
        match self {
            Group::Processes => way.between() == Between::Processes,
            Group::Kernel => way.between() == Between::Processes && way != Way::Ring,
            Group::Threads => way.between() == Between::Threads,
            Group::IpcChannel => matches!(way, Way::ChannelBytes | Way::ChannelRegions),
        }
    }
}

/// The fastest of a group at one size.
pub struct Lead<'a> {
    pub first: &'a Figure,
    /// The next; none if there is no other.
    pub second: Option<&'a Figure>,
    /// Who is not clearly slower than the first.
    pub level: Vec<Way>,
}

impl Lead<'_> {
    fn is_clear(&self) -> bool {
        self.level.is_empty()
    }

    /// The first; or both if there are two among which nobody can tell; none of more.
    fn words(&self) -> String {
        match &self.level[..] {
            [] => self.first.way.name().to_owned(),
            &[other] => {
                let mut both = [self.first.way, other];
                both.sort_by_key(|way| WAYS.iter().position(|one| one == way)); // Whichever was ahead this time.
                format!("{} or {}, too close to call", both[0].name(), both[1].name())
            }
            _ => "too close to call".to_owned(),
        }
    }

    /// How much longer the next one takes: which two, and their ratio.
    pub fn ahead(&self) -> Option<(String, Ratio)> {
        let second = self.second?;
        let says = format!("{}: {} against {}", size(self.first.bytes), self.first.way.name(), second.way.name());
        Some((says, ratio(&self.first.by_round, &second.by_round)))
    }
}

/// By size, smallest first; sizes at which nothing of the group was measured are left out.
pub fn leads<'a>(figures: &'a [Figure], group: Group, sizes: &[usize]) -> Vec<Lead<'a>> {
    let lead = |&bytes: &usize| {
        let mut those: Vec<&Figure> =
            figures.iter().filter(|figure| figure.bytes == bytes && group.has(figure.way)).collect();
        those.sort_by(|one, other| one.ns().total_cmp(&other.ns()));
        let (&first, others) = those.split_first()?;
        let is_level = |other: &&&Figure| !ratio(&first.by_round, &other.by_round).is_faster();
        let level = others.iter().filter(is_level).map(|other| other.way).collect();
        Some(Lead { first, second: others.first().copied(), level })
    };
    sizes.iter().filter_map(lead).collect()
}

/// Between two sizes next to each other one way takes the lead from another, both clearly.
#[derive(Debug, PartialEq)]
pub struct Crossing {
    pub from: Way,
    pub to: Way,
    pub above: usize,
    pub below: usize,
    /// Where the two take equally long if their ratio grows as a power of the size; none unless both were measured on
    /// both sides.
    pub about: Option<f64>,
}

pub fn crossings(figures: &[Figure], leads: &[Lead<'_>]) -> Vec<Crossing> {
    let crossing = |pair: &[Lead<'_>]| {
        let [before, after] = pair else { return None };
        let (from, to) = (before.first.way, after.first.way);
        let (above, below) = (before.first.bytes, after.first.bytes);
        let changes = from != to && before.is_clear() && after.is_clear();
        changes.then(|| Crossing { from, to, above, below, about: meeting(figures, (from, to), (above, below)) })
    };
    leads.windows(2).filter_map(crossing).collect()
}

/// Linear in the logarithms, as both sizes and ratios are spread over powers.
fn meeting(figures: &[Figure], (from, to): (Way, Way), (above, below): (usize, usize)) -> Option<f64> {
    let log_ratio = |bytes: usize| {
        let ns = |way: Way| Some(figures.iter().find(|one| one.way == way && one.bytes == bytes)?.ns());
        Some((ns(from)? / ns(to)?).ln())
    };
    let (start, end) = (log_ratio(above)?, log_ratio(below)?);
    let share = start / (start - end);
    Some(above as f64 * (below as f64 / above as f64).powf(share))
}

impl Crossing {
    pub fn sentence(&self, group: Group) -> String {
        let Crossing { from, to, above, below, about } = self;
        let about = match about {
            Some(about) => format!(", at about {}", rounded_size(*about)),
            None => format!(" ({} and {} were not both to be had there)", from.name(), to.name()),
        };
        let (above, below) = (size(*above), size(*below));
        let group = capital(group.name());
        format!("{group}, {} takes the lead from {} between {above} and {below}{about}.", to.name(), from.name())
    }
}

/// What to choose, by size, with what a clear leader moves and costs: "up to 8 KiB: ring (...); from 64 KiB: ...".
pub fn decision(leads: &[Lead<'_>]) -> Option<String> {
    let same = |one: &Lead<'_>, other: &Lead<'_>| one.words() == other.words();
    let stretches: Vec<&[Lead<'_>]> = leads.chunk_by(same).collect();
    let last = stretches.len().checked_sub(1)?;
    let part = |(index, stretch): (usize, &&[Lead<'_>])| {
        let (first, end) = (stretch.first()?, stretch.last()?);
        let (least, most) = (size(first.first.bytes), size(end.first.bytes));
        let range = match index {
            0 if last == 0 => format!("from {least} to {most}"),
            0 => format!("up to {most}"),
            _ if index == last => format!("from {least}"),
            _ if stretch.len() == 1 => format!("at {least}"),
            _ => format!("from {least} to {most}"),
        };
        let cost = first.is_clear().then(|| format!(" ({})", cost(stretch)));
        Some(format!("{range} {}{}", first.words(), cost.unwrap_or_default()))
    };
    let parts: Option<Vec<String>> = stretches.iter().enumerate().map(part).collect();
    Some(parts?.join("; "))
}

/// "0.6 to 5.2 GB/s, 1.9 CPUs busy"; what is moved has no speed in bytes.
fn cost(stretch: &[Lead<'_>]) -> String {
    let range = |of: &dyn Fn(&Figure) -> f64| {
        let values = stretch.iter().map(|lead| of(lead.first));
        let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), one| (low.min(one), high.max(one)));
        let (low, high) = (three_digits(low), three_digits(high));
        if low == high { low } else { format!("{low} to {high}") }
    };
    if stretch.iter().all(|lead| lead.first.way.copies() == 0) {
        return format!("{} million messages/s, none copied", range(&|figure| figure.messages_per_s() / 1e6));
    }
    let speed = format!("{} GB/s", range(&Figure::gb_per_s));
    if stretch.iter().any(|lead| lead.first.cpu_ns.is_none()) {
        return speed;
    }
    format!("{speed}, {} CPUs busy", range(&|figure| figure.busy_cpus().unwrap_or(f64::NAN)))
}

/// The one that leads clearly at the most sizes, and at how many; none if nobody leads clearly anywhere.
pub fn champion(leads: &[Lead<'_>]) -> Option<(Way, usize)> {
    let clear = |way: &Way| leads.iter().filter(|lead| lead.is_clear() && lead.first.way == *way).count();
    let counted = WAYS.into_iter().rev().map(|way| (way, clear(&way))).filter(|(_, sizes)| *sizes > 0);
    counted.max_by_key(|(_, sizes)| *sizes)
}

/// "ring is clearly fastest at 4 of 5 sizes".
pub fn champion_told(group: Group, leads: &[Lead<'_>]) -> String {
    let (name, all) = (group.name(), leads.len());
    match champion(leads) {
        Some((way, sizes)) => format!("{name} {} is clearly fastest at {sizes} of {all} sizes", way.name()),
        None => format!("{name} nothing is clearly fastest at any of {all} sizes"),
    }
}

/// One size below the other: the fastest between processes and between threads, and the ceiling.
pub fn table(all: &[(Group, Vec<Lead<'_>>)], figures: &[Figure], sizes: &[usize]) -> Table {
    let lead = |group: Group, bytes: usize| {
        let (_, leads) = all.iter().find(|(one, _)| *one == group)?;
        leads.iter().find(|lead| lead.first.bytes == bytes)
    };
    let name = |lead: Option<&Lead<'_>>| match lead {
        Some(Lead { first, level, .. }) => match level.len() {
            0 => Cell::Word { says: first.way.name().to_owned(), mood: Mood::Good },
            1 => Cell::Text(format!("{} or {}", first.way.name(), level[0].name())),
            more => Cell::Text(format!("{} or {more} others", first.way.name())),
        },
        None => Cell::Nothing,
    };
    let number = |figure: Option<&Figure>, of: fn(&Figure) -> f64| {
        figure.map_or(Cell::Nothing, |figure| Cell::Number(of(figure)))
    };
    let row = |&bytes: &usize| {
        let [processes, kernel, threads] =
            [Group::Processes, Group::Kernel, Group::Threads].map(|group| lead(group, bytes));
        let memcpy = figures.iter().find(|figure| (figure.way, figure.bytes) == (Way::Memcpy, bytes));
        vec![
            Cell::Text(size(bytes)),
            name(processes),
            number(processes.map(|lead| lead.first), Figure::gb_per_s),
            number(kernel.map(|lead| lead.first), Figure::gb_per_s),
            number(memcpy, Figure::gb_per_s),
            name(threads),
            number(threads.map(|lead| lead.first), Figure::ns),
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

fn size(bytes: usize) -> String {
    chosen_with_unit("bytes", bytes as f64)
}

/// Two digits: what is interpolated has no more.
fn rounded_size(bytes: f64) -> String {
    let step = 10f64.powf((bytes.log10() - 1.0).floor());
    with_unit("bytes", (bytes / step).round() * step)
}

pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;
    const SIZES: [usize; 3] = [64, KIB, 16 * KIB];

    /// Made up: so many nanoseconds in each of twenty rounds.
    fn figure(way: Way, bytes: usize, ns: f64) -> Figure {
        Figure { way, bytes, by_round: vec![ns; 20], cpu_ns: Some(2.0 * ns) }
    }

    fn board(rows: &[(Way, [f64; 3])]) -> Vec<Figure> {
        rows.iter()
            .flat_map(|&(way, ns)| SIZES.into_iter().zip(ns).map(move |(bytes, ns)| figure(way, bytes, ns)))
            .collect()
    }

    #[test]
    fn the_lead_changes_where_the_two_take_equally_long() {
        let figures = board(&[(Way::Pipe, [100.0, 400.0, 8000.0]), (Way::UnixStream, [400.0, 500.0, 4000.0])]);
        let leads = leads(&figures, Group::Kernel, &SIZES);
        let found = crossings(&figures, &leads);
        let [Crossing { from: Way::Pipe, to: Way::UnixStream, above: 1024, below: 16_384, about: Some(about) }] =
            found[..]
        else {
            panic!("{found:?}")
        };
        // 400/500 is 0.8 and 8000/4000 is 2: a quarter of the way in logarithms, near 2 KiB.
        assert!((1950.0..2050.0).contains(&about), "{about}");
        assert_eq!(
            found[0].sentence(Group::Kernel),
            "Through the kernel, Unix stream takes the lead from pipe between 1 KiB and 16 KiB, at about \
             1.95 KiB."
        );
    }

    #[test]
    fn what_is_level_leads_nowhere_and_crosses_nothing() {
        let figures = board(&[(Way::Pipe, [100.0, 401.0, 4001.0]), (Way::UnixStream, [400.0, 400.0, 4000.0])]);
        let leads = leads(&figures, Group::Kernel, &SIZES);
        assert_eq!(crossings(&figures, &leads), []);
        assert_eq!(champion(&leads), Some((Way::Pipe, 1)));
        assert_eq!(
            decision(&leads).unwrap(),
            "up to 64 B pipe (0.640 GB/s, 2.00 CPUs busy); from 1 KiB pipe or Unix stream, too close to call"
        );
    }

    #[test]
    fn among_three_that_are_level_nobody_is_named() {
        let figures = board(&[(Way::Pipe, [100.0; 3]), (Way::UnixStream, [101.0; 3]), (Way::Tcp, [100.5; 3])]);
        let leads = leads(&figures, Group::Kernel, &SIZES);
        assert_eq!(decision(&leads).unwrap(), "from 64 B to 16 KiB too close to call");
        assert_eq!(leads[0].ahead().unwrap().0, "64 B: pipe against TCP");
    }

    #[test]
    fn who_cannot_be_had_at_the_next_size_gives_the_lead_up_somewhere_between() {
        let mut figures = board(&[(Way::Queue, [100.0, 200.0, 1.0]), (Way::Pipe, [300.0, 400.0, 4000.0])]);
        figures.retain(|figure| figure.way != Way::Queue || figure.bytes <= KIB);
        let found = crossings(&figures, &leads(&figures, Group::Kernel, &SIZES));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].above, found[0].below, found[0].about), (KIB, 16 * KIB, None));
    }

    #[test]
    fn a_group_has_its_own_ways_and_no_ceiling() {
        let figures = board(&[
            (Way::Memcpy, [1.0; 3]),
            (Way::Ring, [50.0; 3]),
            (Way::Pipe, [100.0; 3]),
            (Way::Crossbeam, [20.0; 3]),
        ]);
        let first = |group| leads(&figures, group, &SIZES)[0].first.way;
        assert_eq!(first(Group::Processes), Way::Ring);
        assert_eq!(first(Group::Kernel), Way::Pipe);
        assert_eq!(first(Group::Threads), Way::Crossbeam);
        let all = decision(&leads(&figures, Group::Threads, &SIZES)).unwrap();
        assert_eq!(all, "from 64 B to 16 KiB crossbeam (moved) (50.0 million messages/s, none copied)");
        assert_eq!(decision(&leads(&figures, Group::IpcChannel, &SIZES)), None);
    }
}
