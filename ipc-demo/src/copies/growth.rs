//! What does each mechanism take by size: a table, and whether it grows?

use shared::measure::Measured;
use shared::number::chosen_with_unit;
use shared::{Cell, Column, Placement, Stage, Table};

use super::ways::{WAYS, Way};

/// One size below the other, one mechanism beside the other.
pub fn table(measured: &Measured, sizes: &[usize], placement: Placement) -> Table {
    let heads = WAYS.map(|way| Column::value(way.name(), "ns"));
    let median = |bytes: usize, way: Way| match measured.figures(&way.label(bytes), placement) {
        Some(figures) => Cell::Number(figures.median().value),
        None => Cell::Nothing,
    };
    let row = |&bytes: &usize| {
        let size = Cell::Number(bytes as f64);
        [size].into_iter().chain(WAYS.into_iter().map(|way| median(bytes, way))).collect()
    };
    Table {
        title: "Median time to hand a payload over and get an answer".to_owned(),
        columns: [Column::x("size", "bytes")].into_iter().chain(heads).collect(),
        rows: sizes.iter().map(row).collect(),
    }
}

/// Tells how each way grows from the smallest to the largest size, and which of two ways is faster at each.
pub fn tell(stage: &mut Stage, measured: &Measured, sizes: &[usize], placement: Placement) {
    let (Some(&small), Some(&large)) = (sizes.first(), sizes.last()) else { return };
    let named = |bytes: usize| chosen_with_unit("bytes", bytes as f64);
    for way in WAYS {
        let figures = |bytes: usize| measured.figures(&way.label(bytes), placement);
        if let Some((large_one, small_one)) = figures(large).zip(figures(small)) {
            let says = format!("{} {} against {}", named(large), way.name(), named(small));
            stage.trend(says, &large_one.against(small_one));
        }
    }
    for &bytes in sizes {
        if let Some(ratio) = measured.ratio(&Way::Mapped.label(bytes), &Way::Copied.label(bytes), placement) {
            stage.trend(format!("{} {} against {}", named(bytes), Way::Mapped.name(), Way::Copied.name()), &ratio);
        }
    }
}

/// The smallest size from which on mapping is clearly faster than copying, at every larger one too.
pub fn mapping_pays_from(measured: &Measured, sizes: &[usize], placement: Placement) -> Option<usize> {
    let pays = |bytes: &&usize| {
        let ratio = measured.ratio(&Way::Mapped.label(**bytes), &Way::Copied.label(**bytes), placement);
        ratio.is_some_and(|ratio| ratio.is_faster())
    };
    sizes.iter().rev().take_while(pays).last().copied()
}
