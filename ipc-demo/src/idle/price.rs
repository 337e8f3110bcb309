//! From which pace on does a spinning CPU pay?

/// What spinning takes and saves at one pace, beside the same ring asleep.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    pub per_second: u64,
    /// By so much a message is earlier; below zero if it is later.
    pub saved_ns: f64,
    /// Of one CPU, in per cent: what spinning takes more.
    pub more_cpu: f64,
}

impl Price {
    /// CPU time that spinning takes for each second of waiting that it saves; none if it saves nothing. Below 1 a
    /// spinning CPU is cheaper than the waiting that it ends.
    pub fn per_saved(&self) -> Option<f64> {
        let saved_each_second_ns = self.saved_ns * self.per_second as f64;
        (self.saved_ns > 0.0).then(|| self.more_cpu / 100.0 * 1e9 / saved_each_second_ns)
    }
}

/// The slowest pace from which on, at every faster one too, spinning takes less CPU time than it saves waiting. The
/// slowest pace comes first.
pub fn pays_from(prices: &[Price]) -> Option<u64> {
    let pays = |price: &&Price| price.per_saved().is_some_and(|per_saved| per_saved < 1.0);
    prices.iter().rev().take_while(pays).last().map(|price| price.per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(per_second: u64, saved_ns: f64) -> Price {
        Price { per_second, saved_ns, more_cpu: 50.0 }
    }

    #[test]
    fn a_second_of_waiting_costs_what_spinning_takes_to_save_it() {
        // Half a CPU more, for a tenth of a second saved in each.
        assert_eq!(price(10_000, 10_000.0).per_saved(), Some(5.0));
        assert_eq!([0.0, -1.0].map(|saved_ns| price(10_000, saved_ns).per_saved()), [None; 2]);
    }

    #[test]
    fn spinning_pays_from_where_it_pays_ever_after() {
        let (cheap, dear, useless) = (price(100_000, 10_000.0), price(10, 10_000.0), price(10, -100.0));
        assert_eq!(pays_from(&[dear, cheap]), Some(100_000));
        assert_eq!(pays_from(&[cheap, dear]), None);
        assert_eq!(pays_from(&[cheap, useless]), None);
        assert_eq!(pays_from(&[cheap, cheap]), Some(100_000));
        assert_eq!(pays_from(&[]), None);
    }
}
