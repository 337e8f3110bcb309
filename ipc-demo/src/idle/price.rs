//! What does a spinning CPU buy, at each pace, and whom does the adaptive ring take after?

use shared::measure::FEWEST_ROUNDS;
use shared::number::{count, three_digits, with_unit};
use shared::{Cell, Column, Stage, Table, stats};

use super::mechanisms::Way;
use super::series::{Plan, Row, Silence, figures};

/// The ring that spins beside the ring that sleeps, at one pace.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    per_second: u64,
    spinning_ns: f64,
    sleeping_ns: f64,
    adaptive_ns: f64,
    /// Of one CPU, in per cent.
    spinning_share: f64,
    sleeping_share: f64,
    adaptive_share: f64,
}

impl Price {
    /// CPU time that spinning takes for each second by which it makes messages earlier; none if it makes none earlier.
    /// Below 1 a spinning CPU is cheaper than the waiting it ends.
    fn per_saved(&self) -> Option<f64> {
        let saved_ns = (self.sleeping_ns - self.spinning_ns) * self.per_second as f64;
        let more_ns = (self.spinning_share - self.sleeping_share) / 100.0 * 1e9;
        (saved_ns > 0.0).then_some(more_ns / saved_ns)
    }

    /// Which of the two the adaptive ring is nearer to, by the ratio of their latencies.
    fn adaptive_is_like(&self) -> Like {
        let far = |one_ns: f64, other_ns: f64| (one_ns / other_ns).ln().abs();
        if far(self.spinning_ns, self.sleeping_ns) < ALIKE.ln() {
            Like::Both
        } else if far(self.adaptive_ns, self.spinning_ns) < far(self.adaptive_ns, self.sleeping_ns) {
            Like::Spinning
        } else {
            Like::Sleeping
        }
    }
}

/// The ring whose latency another one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Like {
    Spinning,
    Sleeping,
    /// They cannot be told apart.
    Both,
}

const ALIKE: f64 = 1.5; // Two medians of one thing can be that far apart where few messages were sent.

impl Like {
    fn name(self) -> &'static str {
        match self {
            Like::Spinning => "spinning",
            Like::Sleeping => "sleeping",
            Like::Both => "both",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Like::Spinning => "the spinning one",
            Like::Sleeping => "the sleeping one",
            Like::Both => "both",
        }
    }
}

/// A receiver that spins takes its whole CPU, if it can have it: the kernel itself takes far less than the rest.
pub const WHOLE_CPU: f64 = 95.0;

/// At each pace at which all three were measured, and the one that spins had a CPU for itself.
pub fn all(rows: &[Row], plan: &Plan) -> Vec<Price> {
    let at = |&(per_second, _): &(u64, u64)| {
        let of = |way| figures(rows, way, per_second);
        let [spinning, sleeping, adaptive] = [of(Way::RingSpinning)?, of(Way::RingSleeping)?, of(Way::RingAdaptive)?];
        let has_its_cpu = spinning.receiver.share() >= WHOLE_CPU;
        has_its_cpu.then(|| Price {
            per_second,
            spinning_ns: spinning.median_ns(),
            sleeping_ns: sleeping.median_ns(),
            adaptive_ns: adaptive.median_ns(),
            spinning_share: spinning.receiver.share(),
            sleeping_share: sleeping.receiver.share(),
            adaptive_share: adaptive.receiver.share(),
        })
    };
    plan.paces.iter().filter_map(at).collect()
}

/// What spinning buys, at each pace; and how the rings and the pipe compare at the slowest and the fastest one.
pub fn show(stage: &mut Stage, rows: &[Row], prices: &[Price], plan: &Plan) {
    let row = |price: &Price| {
        let per_saved = price.per_saved();
        let saved = price.sleeping_ns - price.spinning_ns;
        vec![
            Cell::Number(price.per_second as f64),
            per_saved.map_or(Cell::Text("nothing".to_owned()), |_| Cell::Number(saved)),
            Cell::Number(price.spinning_share - price.sleeping_share),
            per_saved.map_or(Cell::Nothing, Cell::Number),
            Cell::Text(price.adaptive_is_like().name().to_owned()),
            Cell::Number(price.adaptive_share),
        ]
    };
    if !prices.is_empty() {
        stage.table(Table {
            title: "What spinning at the ring buys, against sleeping at it".to_owned(),
            columns: vec![
                Column::x("messages", "per second"),
                Column::value("saved per message", "ns"),
                Column::value("CPU more", "%"),
                Column::value("CPU time per time saved", ""),
                Column::value("adaptive is like", ""),
                Column::value("its CPU", "%"),
            ],
            rows: prices.iter().map(row).collect(),
        });
    }
    tell_trends(stage, rows, plan);
}

/// How they compare where the gaps are longest and where they are shortest, round by round, if the rounds are enough.
fn tell_trends(stage: &mut Stage, rows: &[Row], plan: &Plan) {
    if plan.rounds < FEWEST_ROUNDS as u64 {
        return;
    }
    let pairs =
        [(Way::RingAdaptive, Way::BareFutex), (Way::RingAdaptive, Way::RingSpinning), (Way::Pipe, Way::BareFutex)];
    for per_second in [plan.slowest(), plan.fastest()] {
        for (way, other) in pairs {
            if let Some((ours, theirs)) = figures(rows, way, per_second).zip(figures(rows, other, per_second)) {
                let says = format!("{} against {}, {} per second", way.name(), other.name(), count(per_second));
                stage.trend(says, &stats::ratio(&ours.rounds_ns, &theirs.rounds_ns));
            }
        }
    }
}

/// The slowest pace from which on, at every faster one too, spinning takes less CPU time than it saves waiting.
fn pays_from(prices: &[Price]) -> Option<u64> {
    let pays = |price: &&Price| price.per_saved().is_some_and(|per_saved| per_saved < 1.0);
    prices.iter().rev().take_while(pays).last().map(|price| price.per_second)
}

/// At which paces the adaptive ring is like which of the two.
fn adaptive_in_words(prices: &[Price]) -> String {
    let like: Vec<Like> = prices.iter().map(Price::adaptive_is_like).collect();
    let changes: Vec<usize> = (1..like.len()).filter(|&at| like[at] != like[at - 1]).collect();
    match (like.as_slice(), changes.as_slice()) {
        ([], _) => "cannot be compared with these here".to_owned(),
        ([first, ..], []) => format!("is like {} at every pace", first.in_words()),
        ([first, .., last], &[at]) => {
            let (until, from) = (count(prices[at - 1].per_second), count(prices[at].per_second));
            format!("is like {} up to {until} per second and like {} from {from} on", first.in_words(), last.in_words())
        }
        _ => {
            let each = prices.iter().zip(&like);
            let each = each.map(|(price, like)| format!("{} at {}", like.in_words(), count(price.per_second)));
            format!("is like {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

/// With gaps they show no border.
fn without_gaps<'a>(prices: &'a [Price], plan: &Plan) -> &'a [Price] {
    if prices.len() == plan.paces.len() { prices } else { &[] }
}

/// The headline and the answer: one ring, asleep and spinning, where messages are rare. None if there was no ring.
pub fn answer(rows: &[Row], prices: &[Price], plan: &Plan) -> Option<(String, String)> {
    let of = |way| {
        let figures = figures(rows, way, plan.slowest())?;
        Some((with_unit("ns", figures.median_ns()), three_digits(figures.receiver.share())))
    };
    let ((late, little), (early, busy)) = (of(Way::RingSleeping)?, of(Way::RingSpinning)?);
    let prices = without_gaps(prices, plan);
    let pays = match pays_from(prices) {
        Some(from) => format!("Spinning pays from {} per second on", count(from)),
        None if prices.is_empty() => "Others used its CPU at some pace".to_owned(),
        None => "Spinning pays at no pace here".to_owned(),
    };
    let answer = format!(
        "At {} messages per second, a sleeping receiver is {late} late and takes {little} % of a CPU; a spinning one \
         {early} and {busy} %. {pays}.",
        count(plan.slowest())
    );
    Some((format!("{late} late, or {busy} % of a CPU"), answer))
}

pub fn advice(prices: &[Price], plan: &Plan) -> String {
    let prices = without_gaps(prices, plan);
    match pays_from(prices) {
        Some(from) => format!("Spin from {} messages per second on; below, sleep: copy `ring`.", count(from)),
        None if prices.is_empty() => "Let a receiver sleep where messages are rare: copy `ring`.".to_owned(),
        None => "Let a receiver sleep, for spinning never paid here: copy `ring`.".to_owned(),
    }
}

/// The same ring asleep, spinning and adaptive, at the slowest and at the fastest pace. None if there was no ring.
pub fn note(rows: &[Row], prices: &[Price], silences: &[Silence], plan: &Plan) -> Option<String> {
    let (slowest, fastest) = (plan.slowest(), plan.fastest());
    let prices = without_gaps(prices, plan);
    let cost = |way| {
        let (rare, frequent) = (figures(rows, way, slowest)?, figures(rows, way, fastest)?);
        let [rare_time, frequent_time] = [rare, frequent].map(|one| with_unit("ns", one.median_ns()));
        let [rare_share, frequent_share] = [rare, frequent].map(|one| three_digits(one.receiver.share()));
        Some(format!("after {rare_time} and {frequent_time} and takes {rare_share} % and {frequent_share} % of a CPU"))
    };
    let pays = match pays_from(prices) {
        Some(from) => format!("which from {} per second on is less time than the waiting that it saves", count(from)),
        None if prices.is_empty() => "though it could not always have one for itself".to_owned(),
        None => "which even at the fastest pace is more time than the waiting that it saves".to_owned(),
    };
    let silent = silences.iter().find(|(way, _)| *way == Way::RingAdaptive)?.1.share();
    Some(format!(
        "At {} and {} messages per second, a receiver that sleeps at a ring has each message {}; one that spins has it \
         {}, {pays}; the adaptive ring {}, and takes {} % while nobody sends.",
        count(slowest),
        count(fastest),
        cost(Way::RingSleeping)?,
        cost(Way::RingSpinning)?,
        adaptive_in_words(prices),
        three_digits(silent)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(per_second: u64, sleeping_ns: f64, adaptive_ns: f64) -> Price {
        let (spinning_share, sleeping_share, adaptive_share) = (100.0, 50.0, 60.0);
        Price {
            per_second,
            spinning_ns: 1_000.0,
            sleeping_ns,
            adaptive_ns,
            spinning_share,
            sleeping_share,
            adaptive_share,
        }
    }

    #[test]
    fn a_second_of_waiting_costs_what_spinning_takes_to_save_it() {
        // Half a CPU more, for a tenth of a second saved in each.
        assert_eq!(price(10_000, 11_000.0, 1_000.0).per_saved(), Some(5.0));
        assert_eq!(price(10_000, 1_000.0, 1_000.0).per_saved(), None);
    }

    #[test]
    fn spinning_pays_from_where_it_pays_ever_after() {
        let (cheap, dear, useless) = (price(100_000, 11_000.0, 1.0), price(10, 11_000.0, 1.0), price(10, 900.0, 1.0));
        assert_eq!(pays_from(&[dear, cheap]), Some(100_000));
        assert_eq!(pays_from(&[cheap, dear]), None);
        assert_eq!(pays_from(&[cheap, useless]), None);
        assert_eq!(pays_from(&[cheap, cheap]), Some(100_000));
    }

    #[test]
    fn the_adaptive_ring_is_like_the_one_whose_latency_is_nearer() {
        assert_eq!(price(10, 16_000.0, 3_999.0).adaptive_is_like(), Like::Spinning);
        assert_eq!(price(10, 16_000.0, 4_001.0).adaptive_is_like(), Like::Sleeping);
        assert_eq!(price(10, 1_499.0, 1_000.0).adaptive_is_like(), Like::Both);
        assert_eq!(price(10, 668.0, 1_000.0).adaptive_is_like(), Like::Both);
    }

    #[test]
    fn where_the_adaptive_ring_changes_sides_is_said() {
        let (sleeps, spins) = (price(10, 16_000.0, 16_000.0), price(100_000, 16_000.0, 1_000.0));
        let said = |prices: &[Price]| adaptive_in_words(prices);
        let once = "is like the sleeping one up to 10 per second and like the spinning one from 100,000 on";
        assert_eq!(said(&[sleeps, spins]), once);
        assert_eq!(said(&[spins, spins]), "is like the spinning one at every pace");
        assert!(said(&[sleeps, spins, sleeps]).contains("the spinning one at 100,000"));
        assert_eq!(said(&[]), "cannot be compared with these here");
    }
}
