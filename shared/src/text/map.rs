//! How is a map drawn? A line of signs for each row, broken at the same step in all, above the legend.

use super::Look;
use super::ink::Ink;
use super::table::title;
use super::wrap::{hanging, plain, width};
use crate::report::{Map, Mood, Sign};

/// The rows below the title, then what each sign that occurs means.
pub(super) fn map(map: &Map, look: Look) -> String {
    let labels: Vec<String> = map.rows.iter().map(|row| plain(&row.label).replace('\n', " ")).collect();
    let margin = labels.iter().map(|label| width(label)).max().unwrap_or(0).min(look.width / 3);
    let room = look.width.saturating_sub(margin + 4).max(10);
    let mut text = title(&map.title, look);
    for (label, row) in labels.iter().zip(&map.rows) {
        let shown: String = label.chars().take(margin).collect();
        let cells: Vec<char> = plain(&row.cells).replace('\n', " ").chars().collect();
        for (index, part) in cells.chunks(room).enumerate() {
            let start = if index == 0 { shown.as_str() } else { "" };
            let line = format!("  {start:<margin$}  {}", inked(part, &map.legend));
            text += line.trim_end();
            text.push('\n');
        }
    }
    let occurs = |sign: &&Sign| map.rows.iter().any(|row| row.cells.contains(sign.sign));
    for sign in map.legend.iter().filter(occurs) {
        text += &hanging(&format!("  {} ", inked(&[sign.sign], &map.legend)), &plain(&sign.says), look.width);
    }
    text
}

/// Each stretch of cells of one mood in that mood's ink.
fn inked(cells: &[char], legend: &[Sign]) -> String {
    let mood = |cell: &char| legend.iter().find(|sign| sign.sign == *cell).map_or(Mood::Neutral, |sign| sign.mood);
    let stretches = cells.chunk_by(|one, next| mood(one) == mood(next));
    let ink = |stretch: &[char]| {
        let text: String = stretch.iter().collect();
        Ink::of_mood(mood(&stretch[0])).map_or(text.clone(), |ink| ink.on(&text))
    };
    stretches.map(ink).collect()
}
