//! How is a table written down briefly? Its cells, columns and rows from plain values.

use super::content::{Cell, Column, Mood, Role, Table};
use crate::refused::Tried;

impl Table {
    /// The first column is the label unless it is an x; what a row lacks at its end is empty.
    pub fn new<C: Into<Column>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = C>,
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Table {
        let mut columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
        if let Some(first) = columns.first_mut().filter(|first| first.role == Role::Value) {
            first.role = Role::Label;
        }
        let mut rows: Vec<Vec<Cell>> = rows.into_iter().collect();
        rows.iter_mut().for_each(|row| row.resize(columns.len(), Cell::Nothing));
        Table { title: title.into(), columns, rows }
    }
}

/// A column without a unit.
impl From<&str> for Column {
    fn from(name: &str) -> Column {
        Column::value(name, "")
    }
}

/// A name and a unit.
impl From<(&str, &str)> for Column {
    fn from((name, unit): (&str, &str)) -> Column {
        Column::value(name, unit)
    }
}

impl Cell {
    pub fn good(says: impl Into<String>) -> Cell {
        Cell::Word { says: says.into(), mood: Mood::Good }
    }

    pub fn bad(says: impl Into<String>) -> Cell {
        Cell::Word { says: says.into(), mood: Mood::Bad }
    }

    pub fn neutral(says: impl Into<String>) -> Cell {
        Cell::Word { says: says.into(), mood: Mood::Neutral }
    }

    /// "3 of 4": good if it is all of them.
    pub fn share(part: usize, all: usize) -> Cell {
        let says = format!("{part} of {all}");
        if part == all { Cell::good(says) } else { Cell::bad(says) }
    }

    /// What was seen, as a cell; or why there is nothing to see.
    pub fn of<T>(tried: &Tried<T>, seen: impl FnOnce(&T) -> Cell) -> Cell {
        tried.as_ref().map_or_else(|why| Cell::Skipped { skipped: why.clone() }, seen)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Cell {
        Cell::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Cell {
        Cell::Number(count as f64)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Cell {
        Cell::Number(count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_labelled_by_its_first_column_and_its_rows_are_as_long_as_its_head() {
        let table = Table::new("t", [Column::from("who"), ("took", "ns").into()], [vec!["a".into()]]);
        assert_eq!(table.columns, [Column::label("who"), Column::value("took", "ns")]);
        assert_eq!(table.rows, [[Cell::Text("a".to_owned()), Cell::Nothing]]);
        let by_x = Table::new("t", [Column::x("n", "")], [vec![1_u64.into()]]);
        assert_eq!(by_x.columns[0].role, Role::X);
    }

    #[test]
    fn a_share_is_good_if_it_is_all() {
        assert_eq!(Cell::share(2, 2), Cell::good("2 of 2"));
        assert_eq!(Cell::share(1, 2), Cell::bad("1 of 2"));
    }

    #[test]
    fn what_was_refused_says_why() {
        assert_eq!(
            Cell::of(&Err::<u64, _>("no".to_owned()), |_| Cell::Nothing),
            Cell::Skipped { skipped: "no".to_owned() }
        );
        assert_eq!(Cell::of(&Ok(3_u64), |seen| (*seen).into()), Cell::Number(3.0));
    }
}
