//! How does a word get its colour when the layout comes first? By marks without width, which become colour at the end.

use anstyle::{AnsiColor, Style};

use crate::report::{Mood, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Good,
    Bad,
    Doubt,
    Surprise,
    Faint,
    Strong,
}

const INKS: [Ink; 6] = [Ink::Good, Ink::Bad, Ink::Doubt, Ink::Surprise, Ink::Faint, Ink::Strong];

/// Characters of Unicode that have no width and that nobody uses any more: one starts each ink, one ends them all.
const END: char = '\u{2060}';

impl Ink {
    fn mark(self) -> char {
        match self {
            Ink::Good => '\u{206A}',
            Ink::Bad => '\u{206B}',
            Ink::Doubt => '\u{206C}',
            Ink::Surprise => '\u{206D}',
            Ink::Faint => '\u{206E}',
            Ink::Strong => '\u{206F}',
        }
    }

    fn style(self) -> Style {
        let colored = |color: AnsiColor| Style::new().fg_color(Some(color.into())).bold();
        match self {
            Ink::Good => colored(AnsiColor::Green),
            Ink::Bad => colored(AnsiColor::Red),
            Ink::Doubt => colored(AnsiColor::Yellow),
            Ink::Surprise => colored(AnsiColor::Magenta),
            Ink::Faint => Style::new().dimmed(),
            Ink::Strong => Style::new().bold(),
        }
    }

    /// Marks every word of the text, so that a line may be broken between any two.
    pub(super) fn on(self, text: &str) -> String {
        let mark = |word: &str| if word.is_empty() { String::new() } else { format!("{}{word}{END}", self.mark()) };
        text.split(' ').map(mark).collect::<Vec<_>>().join(" ")
    }

    /// A refuted claim is a surprise, not a failure.
    pub(super) fn of(verdict: Verdict) -> Ink {
        match verdict {
            Verdict::Holds => Ink::Good,
            Verdict::Qualified => Ink::Doubt,
            Verdict::Refuted => Ink::Surprise,
            Verdict::Undecided | Verdict::Skipped => Ink::Faint,
            Verdict::Failed => Ink::Bad,
        }
    }

    pub(super) fn of_mood(mood: Mood) -> Option<Ink> {
        match mood {
            Mood::Good => Some(Ink::Good),
            Mood::Bad => Some(Ink::Bad),
            Mood::Neutral => None,
        }
    }
}

pub(super) fn is_mark(character: char) -> bool {
    matches!(character, END | '\u{206A}'..='\u{206F}') // The inks' marks stand side by side.
}

/// Turns the marks into colour; words side by side in one ink are one stretch.
///
/// What a line break or the gap between two columns cut off loses its colour, rather than lend it to its neighbour.
pub(super) fn colored(text: &str) -> String {
    let mut colored = String::with_capacity(text.len());
    let mut open: Option<Ink> = None;
    for (at, character) in text.char_indices() {
        let started = INKS.into_iter().find(|ink| ink.mark() == character);
        let goes_on = |ink: Ink| {
            let mut next = text[at..].chars().skip(1);
            started == Some(ink) || (character == END && next.next() == Some(' ') && next.next() == Some(ink.mark()))
        };
        let cut_off = character == '\n' || text[at..].starts_with("  ");
        let stops = is_mark(character) || cut_off;
        if let Some(ink) = open.filter(|&ink| stops && !goes_on(ink)) {
            colored += &ink.style().render_reset().to_string();
            open = None;
        }
        if let Some(ink) = started.filter(|_| open.is_none()) {
            colored += &ink.style().render().to_string();
            open = Some(ink);
        }
        if !is_mark(character) {
            colored.push(character);
        }
    }
    colored
}

/// Takes the marks out.
pub(super) fn uncolored(text: &str) -> String {
    text.replace(is_mark, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_side_by_side_in_one_ink_are_one_stretch() {
        let text = format!("{} {}", Ink::Strong.on("a b"), Ink::Good.on("c"));
        assert_eq!(colored(&text), "\u{1b}[1ma b\u{1b}[0m \u{1b}[1m\u{1b}[32mc\u{1b}[0m");
        assert_eq!(uncolored(&text), "a b c");
    }

    #[test]
    fn a_word_cut_in_two_never_colors_its_neighbour() {
        let marked = Ink::Strong.on("long");
        let (start, end) = marked.split_at(marked.find("ng").unwrap());
        let torn = format!("{start}   other\n{end}   other");
        assert_eq!(colored(&torn), "\u{1b}[1mlo\u{1b}[0m   other\nng   other");
    }
}
