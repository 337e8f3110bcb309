//! How is a number written? Three significant digits, rounded first, the unit chosen after, one unit for a whole column.

/// A column's unit, and what its numbers are divided by to be shown in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Stands in the column's head; empty for plain counts.
    pub unit: String,
    divisor: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Bytes,
    /// Whole numbers, each shown with all its digits.
    Counts,
    Plain,
}

/// From small to large, each with its size in the first.
const TIMES: &[(&str, f64)] = &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
const BYTES: &[(&str, f64)] =
    &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("TiB", 1_099_511_627_776.0)];

impl Scale {
    /// The unit in which these values, given in `unit`, are read best: the one that fits their geometric middle.
    ///
    /// A time or a size changes its unit, also when something follows (`ns/thread`, `bytes per thread`); anything else
    /// keeps it. Zeros and what is not a finite number have no say.
    pub fn of(unit: &str, values: &[f64]) -> Scale {
        let (base, rest) = unit.split_at(unit.find(['/', ' ']).unwrap_or(unit.len()));
        let (kind, units, given) = match base {
            "ns" => (Kind::Time, TIMES, 1.0),
            "us" | "µs" => (Kind::Time, TIMES, 1e3),
            "ms" => (Kind::Time, TIMES, 1e6),
            "s" => (Kind::Time, TIMES, 1e9),
            "byte" | "bytes" | "B" => (Kind::Bytes, BYTES, 1.0),
            "KiB" => (Kind::Bytes, BYTES, 1024.0),
            "MiB" => (Kind::Bytes, BYTES, 1_048_576.0),
            "GiB" => (Kind::Bytes, BYTES, 1_073_741_824.0),
            _ => {
                let counts = values.iter().all(|&value| is_whole(value) || !value.is_finite());
                let kind = if counts { Kind::Counts } else { Kind::Plain };
                return Scale { unit: unit.to_owned(), divisor: 1.0, kind };
            }
        };
        let size_of = |value: &f64| if kind == Kind::Time { rounded(value * given) } else { value * given }.abs();
        let sizes = || values.iter().map(size_of).filter(|size| size.is_finite() && *size > 0.0);
        let (small, large) = sizes().fold((f64::INFINITY, 0.0f64), |(low, high), size| (low.min(size), high.max(size)));
        let middle = if large > 0.0 { nearest_whole(small.sqrt() * large.sqrt()) } else { given };
        let (name, size) = units.iter().rev().find(|(_, size)| middle >= *size).unwrap_or(&units[0]);
        Scale { unit: format!("{name}{rest}"), divisor: size / given, kind }
    }

    /// The number alone, without the unit: counts and whole bytes exactly, all else in three significant digits.
    pub fn show(&self, value: f64) -> String {
        let exact = self.kind == Kind::Counts || (self.kind == Kind::Bytes && self.unit.starts_with('B'));
        let scaled = if self.kind == Kind::Time { rounded(value) / self.divisor } else { value / self.divisor };
        if exact && is_whole(scaled) { whole(scaled) } else { three_digits(scaled) }
    }

    /// The same for a number that was chosen, not measured: 64 MiB and 0.5 s, not 64.0 and 0.500.
    pub fn show_chosen(&self, value: f64) -> String {
        let scaled = value / self.divisor;
        let shown = if is_whole(scaled) { whole(scaled) } else { self.show(value) };
        if !shown.contains('.') || shown.contains('e') {
            return shown;
        }
        shown.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A number with the unit that fits it: `with_unit("ns", 999_960.0)` is "1.00 ms".
pub fn with_unit(unit: &str, value: f64) -> String {
    let scale = Scale::of(unit, &[value]);
    let number = scale.show(value);
    if scale.unit.is_empty() { number } else { format!("{number} {}", scale.unit) }
}

/// The same for a number that was chosen or is exact: `chosen_with_unit("bytes", 4096.0)` is "4 KiB".
pub fn chosen_with_unit(unit: &str, value: f64) -> String {
    let scale = Scale::of(unit, &[value]);
    let number = scale.show_chosen(value);
    if scale.unit.is_empty() { number } else { format!("{number} {}", scale.unit) }
}

/// Three significant digits, thousands separated by commas; "n/a" for what is not a number.
pub fn three_digits(value: f64) -> String {
    if value.is_nan() {
        return "n/a".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "infinite".to_owned() } else { "-infinite".to_owned() };
    }
    let rounded = rounded(value);
    let size = rounded.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e15).contains(&size) {
        return format!("{rounded:.2e}");
    }
    let decimals = [100.0, 10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5].iter().take_while(|&&power| size < power).count();
    if decimals == 0 { whole(rounded) } else { format!("{rounded:.decimals$}") }
}

/// A ratio of two times as people say it: "117 times faster", "1.07 times slower".
pub fn ratio_in_words(ratio: f64) -> String {
    if ratio < 1.0 {
        format!("{} times faster", three_digits(1.0 / ratio))
    } else {
        format!("{} times slower", three_digits(ratio))
    }
}

/// The interval of such a ratio, in the same sense.
pub fn ratio_interval(ratio: f64, low: f64, high: f64) -> String {
    let (low, high) = if ratio < 1.0 { (1.0 / high, 1.0 / low) } else { (low, high) };
    format!("{} to {}", three_digits(low), three_digits(high))
}

/// So many things: "1 fact", "11 facts".
pub fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// A count, thousands separated by commas.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Rounded to three significant digits, by the digits as they are written; what is not finite stays as it is.
fn rounded(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.2e}").parse().unwrap_or(value) } else { value }
}

/// Takes back what two square roots left over.
fn nearest_whole(value: f64) -> f64 {
    if (value - value.round()).abs() < 1e-6 * value { value.round() } else { value }
}

/// Up to 2^53 every whole number is itself; beyond, a float no longer counts.
fn is_whole(value: f64) -> bool {
    value.abs() <= 9_007_199_254_740_992.0 && value.fract() == 0.0
}

fn whole(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", grouped(&format!("{:.0}", value.abs())))
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_rounded_before_its_unit_is_chosen() {
        assert_eq!(with_unit("us", 999.96), "1.00 ms");
        assert_eq!(with_unit("ns", 999.4), "999 ns");
        assert_eq!(with_unit("ns", 999.5), "1.00 us");
        assert_eq!(with_unit("ns", 999_500_000.0), "1.00 s");
        assert_eq!(with_unit("s", 0.0), "0 s");
        assert_eq!(with_unit("s", 5000.4), "5,000 s");
        assert_eq!(with_unit("ms", 0.000_25), "250 ns");
        assert_eq!(with_unit("us", 0.000_25), "0.250 ns");
    }

    #[test]
    fn bytes_are_exact_below_a_kibibyte() {
        assert_eq!(with_unit("bytes", 1023.0), "1,023 B");
        assert_eq!(with_unit("bytes", 1024.0), "1.00 KiB");
        assert_eq!(with_unit("B", 65_536.0), "64.0 KiB");
        assert_eq!(with_unit("MiB", 1024.0), "1.00 GiB");
        assert_eq!(with_unit("bytes/thread", 8_392_704.0), "8.00 MiB/thread");
        assert_eq!(chosen_with_unit("bytes", 65_536.0), "64 KiB");
        assert_eq!(Scale::of("bytes", &[65_536.0]).show_chosen(512.0), "0.5");
    }

    #[test]
    fn counts_are_exact_and_other_units_stay() {
        assert_eq!(with_unit("", 1_000_000.0), "1,000,000");
        assert_eq!(with_unit("", -1234.0), "-1,234");
        assert_eq!(with_unit("requests/s", 93_412.7), "93,400 requests/s");
        assert_eq!(with_unit("%", 12.345), "12.3 %");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_column_has_the_unit_of_its_middle() {
        let scale = Scale::of("ns", &[240.0, 21_000_000.0, 0.0, f64::NAN]);
        assert_eq!((scale.unit.as_str(), scale.show(240.0)), ("us", "0.240".to_owned()));
        assert_eq!(scale.show(21_000_000.0), "21,000");
        assert_eq!(scale.show(f64::NAN), "n/a");
        assert_eq!(Scale::of("ns", &[]).unit, "ns");
        assert_eq!(Scale::of("MiB", &[0.0, 64.0, 256.0, 1024.0]).unit, "MiB");
    }

    #[test]
    fn a_column_of_shares_does_not_pass_for_one_of_counts() {
        let shares = Scale::of("%", &[8.35, 50.0]);
        assert_eq!([shares.show(8.35), shares.show(50.0)], ["8.35", "50.0"]);
        let counts = Scale::of("", &[6301.0, 50.0, f64::NAN]);
        assert_eq!([counts.show(6301.0), counts.show(50.0)], ["6,301", "50"]);
    }

    #[test]
    fn a_ratio_is_told_as_people_say_it() {
        assert_eq!(ratio_in_words(0.008_55), "117 times faster");
        assert_eq!(ratio_in_words(1.07), "1.07 times slower");
        assert_eq!(ratio_interval(0.5, 0.4, 0.625), "1.60 to 2.50");
        assert_eq!(ratio_interval(2.0, 1.9, 2.1), "1.90 to 2.10");
    }

    #[test]
    fn what_is_tiny_huge_or_no_number_is_still_written() {
        assert_eq!(three_digits(1.234e-9), "1.23e-9");
        assert_eq!(three_digits(1.234e20), "1.23e20");
        assert_eq!(three_digits(0.001), "0.00100");
        assert_eq!(three_digits(0.099_96), "0.100");
        assert_eq!(three_digits(-0.0), "0");
        assert_eq!(three_digits(f64::NEG_INFINITY), "-infinite");
    }

    proptest! {
        #[test]
        fn three_digits_are_within_half_a_unit_of_the_third(value in -1e14..1e14f64) {
            let shown: f64 = three_digits(value).replace(',', "").parse().unwrap();
            prop_assert!((shown - value).abs() <= value.abs() * 0.005_01 + 1e-300);
        }

        #[test]
        fn a_time_alone_never_needs_four_digits_before_the_point(
            power in 1..11i32,
            digits in prop_oneof![1.0..10.0f64, 0.998..1.0f64],
        ) {
            let text = with_unit("ns", digits * 10f64.powi(power));
            let number = text.split(' ').next().unwrap();
            prop_assert!(!number.contains(','), "{}", text);
            prop_assert_eq!(number.chars().filter(char::is_ascii_digit).count(), 3, "{}", text);
        }

        #[test]
        fn a_size_alone_never_reaches_the_next_unit(exponent in 0.0..15.0f64) {
            let text = with_unit("bytes", 10f64.powf(exponent).round());
            let number: f64 = text.split(' ').next().unwrap().replace(',', "").parse().unwrap();
            prop_assert!((1.0..1024.0).contains(&number), "{}", text);
        }

        #[test]
        fn any_float_and_any_unit_is_written(value in any::<f64>(), other in any::<f64>(), unit in "(ns|bytes|MiB/x|s|\\PC{0,4})") {
            let scale = Scale::of(&unit, &[value, other]);
            prop_assert!(!scale.show(value).is_empty());
            prop_assert!(!scale.show_chosen(value).is_empty());
        }
    }
}
