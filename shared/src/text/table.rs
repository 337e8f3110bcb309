//! What do a table and a comparison show, column by column?

use super::Look;
use super::grid::{Align, Grid, GridColumn};
use super::ink::Ink;
use super::wrap::{hanging, plain};
use crate::number::{Scale, three_digits};
use crate::report::{Cell, Column, Comparison, ComparisonRow, MeasuredRow, Placement, Role, Table};

const NOTHING: &str = "-";

/// The table below its title, and the reasons of the cells that were skipped.
pub(super) fn table(table: &Table, look: Look) -> String {
    let scales: Vec<Scale> =
        table.columns.iter().enumerate().map(|(index, column)| scale(table, index, column)).collect();
    let columns = table.columns.iter().zip(&scales).enumerate().map(|(index, (column, scale))| {
        let align = if numbers(table, index).next().is_some() { Align::Right } else { Align::Left };
        GridColumn { name: plain(&column.name), unit: plain(&scale.unit), align }
    });
    let cells = |row: &Vec<Cell>| {
        row.iter()
            .zip(table.columns.iter().zip(&scales))
            .map(|(cell, (column, scale))| show(cell, column, scale))
            .collect()
    };
    let grid = Grid { columns: columns.collect(), rows: table.rows.iter().map(cells).collect() };
    let mut text = title(&table.title, look) + &grid.lines(2, look.width);
    for row in &table.rows {
        for (cell, column) in row.iter().zip(&table.columns) {
            if let Cell::Skipped { skipped } = cell {
                let label = show(&row[0], &table.columns[0], &scales[0]);
                text += &skipped_line(&format!("{label}, {}", plain(&column.name)), skipped, look);
            }
        }
    }
    text
}

/// Rivals below each other; their ratio to the fastest; those that were skipped, with the reason.
pub(super) fn comparison(comparison: &Comparison, look: Look) -> String {
    let (mut measured, mut skipped) = (Vec::new(), String::new());
    for row in &comparison.rows {
        match row {
            ComparisonRow::Measured(row) => measured.push(row),
            ComparisonRow::Skipped { label, skipped: why } => skipped += &skipped_line(&plain(label), why, look),
        }
    }
    let everywhere = match one_placement(&measured) {
        Some(Placement::SameCpu) => "; all share one CPU",
        Some(Placement::OtherCpu) => "; all have their two sides on two CPUs",
        Some(Placement::Free) | None => "",
    };
    let differs_in = Ink::Faint.on(&plain(&format!("The rows differ in {}{everywhere}.", comparison.differs_in)));
    let mut text = title(&comparison.title, look) + &hanging("  ", &differs_in, look.width);
    if !measured.is_empty() {
        text += &rivals(&measured, look).lines(2, look.width);
    }
    text + &skipped
}

/// Where all of the rows run, if it is the same for all.
pub(super) fn one_placement(rows: &[&MeasuredRow]) -> Option<Placement> {
    let first = rows.first()?.placement;
    rows.iter().all(|row| row.placement == first).then_some(first)
}

/// The columns that these rows need: a placement that all have is said above them; a figure of no row is not shown.
fn rivals(rows: &[&MeasuredRow], look: Look) -> Grid {
    let times: Vec<f64> = rows.iter().flat_map(|row| [Some(row.median), row.p99, row.cpu_ns]).flatten().collect();
    let scale = Scale::of(&rows[0].unit, &times);
    let fastest = rows.iter().map(|row| row.median).fold(f64::INFINITY, f64::min);
    let time = |value: Option<f64>| value.map_or(NOTHING.to_owned(), |value| scale.show(value));
    let mut grid = Grid { columns: Vec::new(), rows: vec![Vec::new(); rows.len()] };
    let mut add = |name: &str, unit: &str, align, cell: &dyn Fn(&MeasuredRow) -> String| {
        grid.columns.push(GridColumn { name: name.to_owned(), unit: plain(unit), align });
        grid.rows.iter_mut().zip(rows).for_each(|(cells, row)| cells.push(cell(row)));
    };
    let has_places = one_placement(rows).is_none();
    if has_places && look.width < ROOM_FOR_PLACES {
        add("", "", Align::Left, &|row| format!("{}, {}", plain(&row.label), place(row.placement)));
    } else {
        add("", "", Align::Left, &|row| plain(&row.label));
        if has_places {
            add("where", "", Align::Left, &|row| place(row.placement).to_owned());
        }
    }
    add("median", &scale.unit, Align::Right, &|row| time(Some(row.median)));
    add("95 % interval", &scale.unit, Align::Right, &|row| match row.low.zip(row.high) {
        Some((low, high)) => format!("{} to {}", scale.show(low), scale.show(high)),
        None => NOTHING.to_owned(),
    });
    if rows.iter().any(|row| row.p99.is_some()) {
        add("p99", &scale.unit, Align::Right, &|row| time(row.p99));
    }
    if rows.iter().any(|row| row.cpu_ns.is_some()) {
        add("CPU", &scale.unit, Align::Right, &|row| time(row.cpu_ns));
    }
    add("ratio", "", Align::Right, &|row| three_digits(row.median / fastest));
    grid
}

const ROOM_FOR_PLACES: usize = 72; // Narrower, a column of their own would leave the labels no room.

/// A blank line and the title of what follows.
pub(super) fn title(text: &str, look: Look) -> String {
    format!("\n{}", hanging("  ", &Ink::Strong.on(&plain(text)), look.width))
}

fn skipped_line(what: &str, why: &str, look: Look) -> String {
    hanging("  ", &format!("{} {what}: {}", Ink::Doubt.on("skipped"), plain(why)), look.width)
}

pub(super) fn place(placement: Placement) -> &'static str {
    match placement {
        Placement::SameCpu => "same CPU",
        Placement::OtherCpu => "other CPUs",
        Placement::Free => "free",
    }
}

fn scale(table: &Table, index: usize, column: &Column) -> Scale {
    Scale::of(&column.unit, &numbers(table, index).collect::<Vec<_>>())
}

fn numbers(table: &Table, index: usize) -> impl Iterator<Item = f64> {
    table.rows.iter().filter_map(move |row| match row.get(index)? {
        Cell::Number(value) | Cell::Interval { value, .. } => Some(*value),
        Cell::Nothing | Cell::Text(_) | Cell::Word { .. } | Cell::Skipped { .. } => None,
    })
}

fn show(cell: &Cell, column: &Column, scale: &Scale) -> String {
    match cell {
        Cell::Nothing => NOTHING.to_owned(),
        Cell::Number(value) if column.role == Role::Value => scale.show(*value),
        Cell::Number(value) => scale.show_chosen(*value),
        Cell::Text(text) => plain(text),
        Cell::Interval { value, low, high } => {
            format!("{} ({} to {})", scale.show(*value), scale.show(*low), scale.show(*high))
        }
        Cell::Word { says, mood } => {
            let says = plain(says);
            Ink::of_mood(*mood).map_or(says.clone(), |ink| ink.on(&says))
        }
        Cell::Skipped { .. } => Ink::Doubt.on("skipped"),
    }
}
