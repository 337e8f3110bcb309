//! How is a number written in the document? Whole ones exactly, others with six significant digits: no clock gives more.

use serde::{Serialize, Serializer};

pub(super) fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // Up to 2^53 every whole number has a float of its own.
    let whole = |value: f64| value.fract() == 0.0 && value.abs() <= EXACT;
    let written = if whole(*value) { *value } else { significant(*value, 6) };
    if whole(written) { to.serialize_i64(written as i64) } else { to.serialize_f64(written) }
}

pub(super) fn perhaps<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    value.map(Written).serialize(to)
}

pub(super) fn all<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().copied().map(Written))
}

struct Written(f64);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        number(&self.0, to)
    }
}

/// Rounded to so many significant digits, by the digits as they are written; what is not finite stays as it is.
pub(crate) fn significant(value: f64, digits: usize) -> f64 {
    if value.is_finite() { format!("{value:.*e}", digits - 1).parse().unwrap_or(value) } else { value }
}
