//! What did each way of making a task pass on: the table of all cells, and what may be asked of it.

use anyhow::Result;
use shared::{Cell, Column, Mood, Stage, Table};

use super::course::observe;
use super::create::Way;
use super::thing::{GONE, RESET, SAME, SHARED, Thing};
use super::things::{TABLES, THINGS};

/// Every cell: the word, or why there is none.
pub struct Matrix {
    cells: Vec<[Result<&'static str, String>; Way::ALL.len()]>,
}

impl Matrix {
    pub fn observe(stage: &mut Stage) -> Result<Matrix> {
        let directory = stage.directory().to_owned();
        let cell = |way, thing| anyhow::Ok(observe(&directory, way, thing)?.map(|seen| seen.word()));
        let row = |thing| anyhow::Ok([cell(Way::Thread, thing)?, cell(Way::Fork, thing)?, cell(Way::Exec, thing)?]);
        let mut matrix = Matrix { cells: Vec::new() };
        for thing in 0..THINGS.len() {
            matrix.cells.push(row(thing)?);
            let next = THINGS.get(thing + 1).map(|thing| thing.name);
            if next.is_none_or(|next| TABLES.iter().any(|(_, first)| *first == next)) {
                stage.table(matrix.last_table()); // Shown as soon as it is complete.
            }
        }
        Ok(matrix)
    }

    /// The rows since the last one that begins a table.
    fn last_table(&self) -> Table {
        let known = &THINGS[..self.cells.len()];
        let begins = |thing: &Thing| TABLES.iter().find(|(_, first)| *first == thing.name);
        let from = known.iter().rposition(|thing| begins(thing).is_some()).unwrap_or(0);
        let columns = Way::ALL.map(|way| Column::value(way.name(), ""));
        let row = |(thing, cells): (&Thing, &[Result<&str, String>; 3])| {
            let cell = |cell: &Result<&str, String>| match cell {
                Ok(word) => Cell::Word { says: (*word).to_owned(), mood: mood(word) },
                Err(why) => Cell::Skipped { skipped: why.clone() },
            };
            [Cell::Text(thing.name.to_owned())].into_iter().chain(cells.iter().map(cell)).collect()
        };
        Table {
            title: begins(&known[from]).map_or("", |(title, _)| title).to_owned(),
            columns: [Column::label("the maker's")].into_iter().chain(columns).collect(),
            rows: known[from..].iter().zip(&self.cells[from..]).map(row).collect(),
        }
    }

    /// What was seen of a thing; none if it was skipped.
    pub fn word(&self, way: Way, name: &str) -> Option<&'static str> {
        let row = THINGS.iter().position(|thing| thing.name == name)?;
        self.cells[row][way as usize].as_ref().ok().copied()
    }

    /// The names of all things with that word.
    pub fn with(&self, way: Way, word: &str) -> Vec<&'static str> {
        let names = THINGS.iter().map(|thing| thing.name);
        names.filter(|name| self.word(way, name) == Some(word)).collect()
    }

    /// How many cells were seen in a column.
    pub fn seen(&self, way: Way) -> usize {
        self.cells.iter().filter(|row| row[way as usize].is_ok()).count()
    }

    /// Tells as a fact that all of these have that word, but for those that could not be seen.
    pub fn fact(&self, stage: &mut Stage, says: &str, way: Way, word: &str, names: &[&str]) {
        let seen: Vec<_> = names.iter().filter_map(|name| Some((*name, self.word(way, name)?))).collect();
        let others: Vec<_> = seen.iter().filter(|(_, found)| *found != word).collect();
        let got = match others.as_slice() {
            [] => format!("{} of {} {word}", seen.len(), seen.len()),
            others => others.iter().map(|(name, found)| format!("{name}: {found}")).collect::<Vec<_>>().join(", "),
        };
        if !seen.is_empty() {
            stage.fact(says, others.is_empty(), got);
        }
    }
}

fn mood(word: &str) -> Mood {
    match word {
        SHARED | SAME => Mood::Good,
        GONE | RESET => Mood::Bad,
        _ => Mood::Neutral,
    }
}
