//! What did each way of making a task pass on: the table of all cells, and what may be asked of it.

use anyhow::Result;
use shared::{Cell, Column, Mood, Stage, Table};

use super::course::observe;
use super::create::Way;
use super::thing::{GONE, RESET, SAME, SHARED, Thing};
use super::things::{IN_SHORT, TABLES, THINGS};

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
        self.table(begins(&known[from]).map_or("", |(title, _)| title), from..known.len())
    }

    /// The rows that tell most.
    pub fn in_short(&self) -> Table {
        let telling = (0..THINGS.len()).filter(|row| IN_SHORT.contains(&THINGS[*row].name));
        self.table("What each gets from its parent", telling)
    }

    fn table(&self, title: &str, rows: impl Iterator<Item = usize>) -> Table {
        let columns = Way::ALL.map(|way| Column::value(way.name(), ""));
        let cell = |cell: &Result<&str, String>| match cell {
            Ok(word) => Cell::Word { says: (*word).to_owned(), mood: mood(word) },
            Err(why) => Cell::Skipped { skipped: why.clone() },
        };
        let row = |row: usize| {
            let label = Cell::Text(THINGS[row].name.to_owned());
            [label].into_iter().chain(self.cells[row].iter().map(cell)).collect()
        };
        Table {
            title: title.to_owned(),
            columns: [Column::label("the parent's")].into_iter().chain(columns).collect(),
            rows: rows.map(row).collect(),
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

    /// Tells as a fact that all of these have their word, but for those that could not be seen.
    pub fn fact(&self, stage: &mut Stage, says: &str, way: Way, due: &[(&str, &[&str])]) {
        let names = due.iter().flat_map(|(word, names)| names.iter().map(move |name| (*name, *word)));
        let seen: Vec<_> = names.filter_map(|(name, word)| Some((name, word, self.word(way, name)?))).collect();
        let others: Vec<_> = seen.iter().filter(|(_, word, found)| found != word).collect();
        let got = match others.as_slice() {
            [] => format!("{} of {} are so", seen.len(), seen.len()),
            others => others.iter().map(|(name, _, found)| format!("{name}: {found}")).collect::<Vec<_>>().join(", "),
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
