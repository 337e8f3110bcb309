//! How wide is each column? Numbers keep theirs, words wrap; where even that is too wide, rows become paragraphs.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle, Width,
};

use super::ink::Ink;
use super::wrap::{hanging, width};

/// Cells laid out in columns.
pub(super) struct Grid {
    pub(super) columns: Vec<GridColumn>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct GridColumn {
    pub(super) name: String,
    /// Stands below the name; empty for none.
    pub(super) unit: String,
    pub(super) align: Align,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

const GAP: usize = 2; // Between two columns: what tells them apart without a line.

impl Grid {
    /// Lines, each indented by so many spaces and none wider than `width`.
    pub(super) fn lines(mut self, indent: usize, width: usize) -> String {
        self.align_points();
        let room = width.saturating_sub(indent);
        let indent = " ".repeat(indent);
        let Some(widths) = self.constraints(room) else { return self.paragraphs(&indent, width) };
        let mut lines: Vec<String> = self.table(widths, room).lines().collect();
        lines.extend(lines.iter().find(|line| line.starts_with('─')).cloned()); // The line below the head, again.
        lines.iter().map(|line| format!("{indent}{}\n", line.trim_end())).collect()
    }

    /// How wide it is where nothing wraps, once the points are aligned.
    pub(super) fn natural_width(&self) -> usize {
        let whole = |index: usize| {
            let head = [self.columns[index].name.as_str(), self.columns[index].unit.as_str()];
            self.cells(index).chain(head).map(width).max().unwrap_or(0)
        };
        (0..self.columns.len()).map(whole).sum::<usize>() + GAP * self.columns.len().saturating_sub(1)
    }

    /// The least width of each column; none if not even the narrowest way fits.
    fn constraints(&self, room: usize) -> Option<Vec<usize>> {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let ways: [fn(&Grid, usize) -> usize; 3] = [Grid::whole_column, Grid::whole_numbers, Grid::longest_word];
        let widths = |way: fn(&Grid, usize) -> usize| (0..self.columns.len()).map(|index| way(self, index)).collect();
        ways.into_iter().map(widths).find(|widths: &Vec<usize>| widths.iter().sum::<usize>() + gaps <= room)
    }

    /// Words may wrap; of numbers neither a cell nor the head does.
    fn whole_column(&self, index: usize) -> usize {
        match self.columns[index].align {
            Align::Left => self.longest_word(index),
            Align::Right => self.whole_numbers(index).max(width(&self.columns[index].name)),
        }
    }

    /// Words may wrap, and so may a head; a number does not.
    fn whole_numbers(&self, index: usize) -> usize {
        match self.columns[index].align {
            Align::Left => self.longest_word(index),
            Align::Right => self.cells(index).map(width).max().unwrap_or(0).max(self.longest_word(index)),
        }
    }

    fn longest_word(&self, index: usize) -> usize {
        let head = [self.columns[index].name.as_str(), self.columns[index].unit.as_str()];
        self.cells(index).chain(head).flat_map(str::split_whitespace).map(width).max().unwrap_or(0)
    }

    fn cells(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(index)).map(String::as_str)
    }

    fn table(&self, widths: Vec<usize>, room: usize) -> Table {
        let fixed = |width: usize| Width::Fixed(u16::try_from(width).unwrap_or(u16::MAX));
        let head = |column: &GridColumn| match column.unit.as_str() {
            "" => column.name.clone(),
            unit => format!("{}\n{}", column.name, Ink::Faint.on(unit)),
        };
        let mut table = Table::new();
        table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(room).unwrap_or(u16::MAX));
        table.set_header(self.columns.iter().map(head)).add_rows(&self.rows);
        let last = self.columns.len().saturating_sub(1);
        for ((index, column), least) in table.column_iter_mut().enumerate().zip(widths) {
            column.set_padding((0, if index == last { 0 } else { GAP as u16 }));
            // The constraint counts the padding.
            let padding = usize::from(column.padding_width());
            column.set_constraint(ColumnConstraint::LowerBoundary(fixed(least + padding)));
            column.set_cell_alignment(match self.columns[index].align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
        table
    }

    /// Each row as its first cell, with a line for each of the others.
    fn paragraphs(&self, indent: &str, width: usize) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            let mut cells = row.iter().zip(&self.columns);
            if let Some((label, _)) = cells.next() {
                lines += &hanging(indent, label.trim(), width);
            }
            for (cell, column) in cells.filter(|(cell, _)| !cell.trim().is_empty()) {
                let text = format!("{}: {} {}", column.name, cell.trim(), column.unit);
                lines += &hanging(&format!("{indent}  "), &text, width);
            }
        }
        lines
    }

    /// Puts the decimal points of a column of lone numbers below each other, so that their size can be seen.
    pub(super) fn align_points(&mut self) {
        for index in (0..self.columns.len()).filter(|&index| self.columns[index].align == Align::Right) {
            let mut cells: Vec<&mut String> = self.rows.iter_mut().filter_map(|row| row.get_mut(index)).collect();
            if cells.iter().any(|cell| cell.contains(' ')) {
                continue;
            }
            let after_point = |cell: &str| cell.find('.').map_or(0, |point| width(&cell[point..]));
            let is_number = |cell: &str| cell.ends_with(|last: char| last.is_ascii_digit());
            let most = cells.iter().map(|cell| after_point(cell)).max().unwrap_or(0);
            for cell in cells.iter_mut().filter(|cell| is_number(cell)) {
                **cell += &" ".repeat(most - after_point(cell));
            }
        }
    }
}
