//! Where does a line end? At a word, within the width, with the next line below the first one's text.

use super::ink::is_mark;

/// What a terminal shows: one column a character; marks of colour have none.
pub(super) fn width(text: &str) -> usize {
    text.chars().filter(|&character| !is_mark(character)).count()
}

/// Text of a demonstration, made safe to show: its control characters can neither move the cursor nor pass for marks.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars().filter(|&character| !is_mark(character)) {
        match character {
            '\n' => plain.push('\n'),
            '\t' => plain.push(' '),
            other if other.is_control() => plain.extend(other.escape_default()),
            other => plain.push(other),
        }
    }
    plain
}

/// Lines, each with its end: the first starts with `first`, the others with as many spaces.
pub(crate) fn hanging(first: &str, text: &str, width: usize) -> String {
    let indent = self::width(first);
    let room = width.saturating_sub(indent).max(1);
    let mut lines = String::new();
    for (index, line) in broken(text, room).iter().enumerate() {
        let start = if index == 0 { first.to_owned() } else { " ".repeat(indent) };
        lines += format!("{start}{line}").trim_end();
        lines.push('\n');
    }
    lines
}

/// At least one line; a word longer than the room is broken where the room ends.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let gap = usize::from(!line.is_empty());
            if width(&line) + gap + width(word) > room && gap > 0 {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for character in word.chars() {
                if width(&line) == room && !is_mark(character) {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(character);
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ink::Ink;
    use super::*;

    #[test]
    fn the_next_line_starts_below_the_first_ones_text() {
        assert_eq!(hanging("  [ok] ", "one two three", 14), "  [ok] one two\n       three\n");
        assert_eq!(hanging("* ", "a\n\nb", 14), "* a\n\n  b\n");
        assert_eq!(hanging("", "", 14), "\n");
        assert_eq!(hanging("* ", "abcdefgh", 6), "* abcd\n  efgh\n");
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(plain("a\u{1b}[2J\tb\r\u{206A}\n"), "a\\u{1b}[2J b\\r\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_width(text in "[a-z ]{0,80}", room in 4..40usize) {
            let marked = Ink::Good.on(&text);
            for line in hanging("  ", &marked, room).lines() {
                prop_assert!(width(line) <= room);
            }
        }
    }
}
