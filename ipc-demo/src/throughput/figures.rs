//! What was measured, by mechanism and size: as bytes and as messages per second.

use shared::measure::Measured;
use shared::number::{chosen_with_unit, three_digits};
use shared::stats::median;
use shared::{Cell, Column, Mood, Placement, Table};

use super::scene::Found;
use super::way::{Between, WAYS, Way};

/// One way at one size.
pub struct Figure {
    pub way: Way,
    pub bytes: usize,
    /// Nanoseconds per message.
    pub by_round: Vec<f64>,
    /// Of both sides, per message.
    pub cpu_ns: Option<f64>,
}

/// A way that takes no message of that size here, and why.
pub struct Refusal {
    pub way: Way,
    pub bytes: usize,
    pub why: String,
}

impl Refusal {
    /// The reason stands once, at the smallest size that is refused.
    fn cell(&self, all: &[Refusal]) -> Cell {
        let said_before = all.iter().any(|other| other.way == self.way && other.bytes < self.bytes);
        if said_before {
            Cell::Word { says: "refused".to_owned(), mood: Mood::Neutral }
        } else {
            Cell::Skipped { skipped: self.why.clone() }
        }
    }
}

impl Figure {
    pub fn ns(&self) -> f64 {
        median(&self.by_round).value
    }

    /// Bytes per nanosecond are gigabytes per second.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes as f64 / self.ns()
    }

    pub fn messages_per_s(&self) -> f64 {
        1e9 / self.ns()
    }

    /// How many CPUs both sides together kept busy.
    pub fn busy_cpus(&self) -> Option<f64> {
        Some(self.cpu_ns? / self.ns())
    }
}

/// The rows of one contest.
pub fn figures(measured: &Measured, bytes: usize, placement: Placement) -> Vec<Figure> {
    let figure = |way: Way| {
        let figures = measured.figures(way.name(), placement)?;
        Some(Figure { way, bytes, by_round: figures.by_round(), cpu_ns: figures.cpu_ns })
    };
    WAYS.into_iter().filter_map(figure).collect()
}

/// The ways, and how often they copy.
pub fn ways() -> Table {
    let row = |way: Way| {
        let between = match way.between() {
            Between::Processes => "processes",
            Between::Threads => "threads",
            Between::Nobody => "nobody",
        };
        let text = |text: &str| Cell::Text(text.to_owned());
        vec![text(way.name()), text(between), Cell::Text(way.made_by()), Cell::Number(way.copies().into())]
    };
    Table {
        title: "The mechanisms, and how often each copies a message".to_owned(),
        columns: vec![
            Column::label("mechanism"),
            Column::value("between", ""),
            Column::value("made by", ""),
            Column::value("copies", ""),
        ],
        rows: WAYS.into_iter().map(row).collect(),
    }
}

/// One way below the other, one size beside the other; what is refused says why.
pub fn in_bytes(found: &Found, sizes: &[usize]) -> Table {
    let cell = |way: Way, bytes: usize| {
        let refusal = found.refusals.iter().find(|refusal| (refusal.way, refusal.bytes) == (way, bytes));
        if let Some(figure) = at(&found.impossible, way, bytes) {
            let says = format!("{} impossible", three_digits(figure.gb_per_s()));
            return Cell::Word { says, mood: Mood::Bad };
        }
        match (at(&found.figures, way, bytes), refusal) {
            // Nobody touches its bytes on their way, so a number of them per second would be beyond any memory's.
            (Some(_), _) if way.copies() == 0 => Cell::Word { says: "moved".to_owned(), mood: Mood::Neutral },
            (Some(figure), _) => Cell::Number(figure.gb_per_s()),
            (None, Some(refusal)) => refusal.cell(&found.refusals),
            (None, None) => Cell::Nothing,
        }
    };
    table("Gigabytes per second, by the size of the message", "GB/s", sizes, cell)
}

/// The same figures as messages.
pub fn in_messages(figures: &[Figure], sizes: &[usize]) -> Table {
    let cell = |way: Way, bytes: usize| match at(figures, way, bytes) {
        Some(figure) => Cell::Number(figure.messages_per_s() / 1e3),
        None => Cell::Nothing,
    };
    table("Thousands of messages per second", "1000/s", sizes, cell)
}

fn table(title: &str, unit: &str, sizes: &[usize], cell: impl Fn(Way, usize) -> Cell) -> Table {
    let heads = sizes.iter().map(|&bytes| Column::value(chosen_with_unit("bytes", bytes as f64), unit));
    let row = |way: Way| {
        let label = Cell::Text(way.name().to_owned());
        [label].into_iter().chain(sizes.iter().map(|&bytes| cell(way, bytes))).collect()
    };
    Table {
        title: title.to_owned(),
        columns: [Column::label("")].into_iter().chain(heads).collect(),
        rows: WAYS.into_iter().map(row).collect(),
    }
}

fn at(figures: &[Figure], way: Way, bytes: usize) -> Option<&Figure> {
    figures.iter().find(|figure| (figure.way, figure.bytes) == (way, bytes))
}
