//! Who did something when? Bars on one scale, one line for each who.

use super::Look;
use super::table::title;
use super::wrap::{plain, width};
use crate::number::Scale;
use crate::report::{Lane, Timeline};

/// Bars below the title, above an axis; lanes of one label share a line.
pub(super) fn timeline(timeline: &Timeline, look: Look) -> String {
    let mut labels: Vec<String> = Vec::new();
    for lane in &timeline.lanes {
        let label = plain(&lane.label).replace('\n', " ");
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let margin = labels.iter().map(|label| width(label)).max().unwrap_or(0).min(look.width / 3);
    let ends = timeline.lanes.iter().flat_map(|lane| [lane.from, lane.to]).filter(|end| end.is_finite());
    let axis = Axis::new(&timeline.unit, ends.fold(0.0, f64::max), look.width.saturating_sub(margin + 4).max(10));
    let mut text = title(&timeline.title, look);
    for label in labels {
        let lanes = timeline.lanes.iter().filter(|lane| plain(&lane.label).replace('\n', " ") == label);
        let shown: String = label.chars().take(margin).collect();
        let gap = " ".repeat(margin - width(&shown));
        text += format!("  {shown}{gap}  {}", axis.bars(lanes)).trim_end();
        text.push('\n');
    }
    let margin = " ".repeat(margin + 4);
    text + &format!("{margin}{}\n{margin}{}\n", axis.ruler(), axis.numbers())
}

/// From zero to the last event, over so many columns.
struct Axis {
    scale: Scale,
    end: f64,
    columns: usize,
}

impl Axis {
    fn new(unit: &str, end: f64, columns: usize) -> Axis {
        Axis { scale: Scale::of(unit, &[end]), end, columns }
    }

    fn column(&self, at: f64) -> usize {
        let share = if self.end > 0.0 { (at / self.end).clamp(0.0, 1.0) } else { 0.0 };
        (share * (self.columns - 1) as f64).round() as usize // A share that is no number lands at zero.
    }

    /// A bar has at least one column; where the next one follows at once, its last column is a half one.
    fn bars<'a>(&self, lanes: impl Iterator<Item = &'a Lane>) -> String {
        let mut line = vec![' '; self.columns];
        for lane in lanes {
            let (from, to) = (self.column(lane.from), self.column(lane.to));
            if let Some(before) = from.checked_sub(1).filter(|&before| line[before] == '━') {
                line[before] = '╸';
            }
            line[from..=to.max(from)].fill('━');
        }
        line.into_iter().collect()
    }

    /// Round numbers, ten columns or more apart.
    fn ticks(&self) -> Vec<f64> {
        let least = self.end * 10.0 / self.columns as f64;
        if least < f64::MIN_POSITIVE * 100.0 {
            return vec![0.0]; // All at once, or so close that a step would be no number.
        }
        let power = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|digit| digit * power).find(|&step| step >= least);
        let step = step.unwrap_or(10.0 * power);
        let all = (0..=self.columns).map(|index| index as f64 * step);
        all.take_while(|&at| at <= self.end * 1.000_001).collect()
    }

    fn ruler(&self) -> String {
        let mut line = vec!['─'; self.columns];
        for at in self.ticks() {
            line[self.column(at)] = '┴';
        }
        line[0] = '└';
        line.into_iter().collect()
    }

    /// Each number starts below its tick, or ends at the edge; one that has no room is left out.
    fn numbers(&self) -> String {
        let mut line = String::new();
        for at in self.ticks() {
            let number = format!("{} {}", self.scale.show_chosen(at), plain(&self.scale.unit));
            let start = self.column(at).min(self.columns.saturating_sub(width(&number)));
            if line.is_empty() || start > width(&line) {
                line += &" ".repeat(start.saturating_sub(width(&line)));
                line += number.trim_end();
            }
        }
        line.chars().take(self.columns).collect()
    }
}
