//! How is a comparison told in short? As bars, fastest first, each as long as its ratio to the fastest.

use super::Look;
use super::grid::{Align, Grid, GridColumn};
use super::ink::Ink;
use super::table::{one_placement, place, title};
use super::wrap::{hanging, plain};
use crate::number::{Scale, counted, three_digits};
use crate::report::{Comparison, ComparisonRow, MeasuredRow};

/// The rows that are not in detail, or all if each is.
pub(super) fn comparison(comparison: &Comparison, look: Look) -> String {
    let (mut rows, mut skipped): (Vec<&MeasuredRow>, Vec<(&str, &str)>) = (Vec::new(), Vec::new());
    for row in &comparison.rows {
        match row {
            ComparisonRow::Measured(row) => rows.push(row),
            ComparisonRow::Skipped { label, skipped: why } => skipped.push((label, why)),
        }
    }
    if rows.iter().any(|row| !row.detail) {
        rows.retain(|row| !row.detail);
    }
    rows.sort_by(|one, other| one.median.total_cmp(&other.median));
    let mut text = title(&comparison.title, look);
    if !rows.is_empty() {
        let full = grid(&rows, Figures::WithInterval, look);
        let shown = if has_bars(&full) { full } else { grid(&rows, Figures::Alone, look) };
        text += &shown.lines(2, look.width);
    }
    match skipped.as_slice() {
        [] => {}
        [(label, why)] => text += &line(&format!("skipped {}: {}", plain(label), plain(why)), look),
        some => text += &line(&format!("{} skipped (--full says why).", counted(some.len(), "row")), look),
    }
    text
}

fn has_bars(grid: &Grid) -> bool {
    grid.columns.last().is_some_and(|column| column.align == Align::Left)
}

fn line(says: &str, look: Look) -> String {
    hanging("  ", &Ink::Doubt.on(says), look.width)
}

/// A bar says more than an interval, where there is room for one of the two.
#[derive(PartialEq)]
enum Figures {
    WithInterval,
    Alone,
}

fn grid(rows: &[&MeasuredRow], figures: Figures, look: Look) -> Grid {
    let (fastest, slowest) = (rows[0].median, rows[rows.len() - 1].median);
    let mut grid = Grid { columns: Vec::new(), rows: vec![Vec::new(); rows.len()] };
    let mut add = |name: &str, unit: &str, align, cell: &dyn Fn(&MeasuredRow) -> String| {
        grid.columns.push(GridColumn { name: name.to_owned(), unit: plain(unit), align });
        grid.rows.iter_mut().zip(rows).for_each(|(cells, row)| cells.push(cell(row)));
    };
    let everywhere = one_placement(rows);
    add("", "", Align::Left, &|row| match everywhere {
        Some(_) => plain(&row.label),
        None => format!("{}, {}", plain(&row.label), place(row.placement)),
    });
    let scale = Scale::of(&rows[0].unit, &rows.iter().map(|row| row.median).collect::<Vec<_>>());
    add("median", &scale.unit, Align::Right, &|row| scale.show(row.median));
    if figures == Figures::WithInterval {
        add("95 % interval", &scale.unit, Align::Right, &|row| match row.low.zip(row.high) {
            Some((low, high)) => format!("{} to {}", scale.show(low), scale.show(high)),
            None => "-".to_owned(),
        });
    }
    if rows.iter().any(|row| row.cpu_ns.is_some()) {
        add("CPU time", &scale.unit, Align::Right, &|row| row.cpu_ns.map_or("-".to_owned(), |cpu| scale.show(cpu)));
    }
    add("ratio", "", Align::Right, &|row| three_digits(row.median / fastest));
    grid.align_points();
    let room = look.width.saturating_sub(2 + grid.natural_width() + GAP);
    if room >= FEWEST {
        let longest = room.min(MOST) as f64;
        let bar = |row: &MeasuredRow| "━".repeat(((row.median / slowest) * longest).round().max(1.0) as usize);
        grid.columns.push(GridColumn { name: String::new(), unit: String::new(), align: Align::Left });
        grid.rows.iter_mut().zip(rows).for_each(|(cells, row)| cells.push(bar(row)));
    }
    grid
}

const GAP: usize = 2;
const FEWEST: usize = 6; // Columns of a bar: in fewer nobody sees a ratio.
const MOST: usize = 40;
