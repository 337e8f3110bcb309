//! What does a program's text say of the work that it was? Counted from the shipped file, by rules that stand here.

use std::collections::BTreeSet;

/// Of one smallest program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub lines: usize,
    /// Where its writer says what happens if a call fails.
    pub can_fail: usize,
    pub unsafe_blocks: usize,
}

/// Of a snippet, without its comments and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub lines: usize,
    pub unsafe_blocks: usize,
    /// Public types and functions: what one has to know.
    pub items: usize,
    /// Errors that its documentation names, each once.
    pub errors: usize,
}

/// A file's lines, each of which is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub code: usize,
    pub tests: usize,
    pub comments: usize,
    pub blank: usize,
}

/// How a line says that a call can fail: it passes the error on, or asks.
const FAILURES: [&str; 5] = ["?", ".is_err()", ".is_ok_and(", ".unwrap()", "ensure!("];
const UNSAFE: [&str; 1] = ["unsafe {"];
const PUBLIC: [&str; 5] = ["pub fn ", "pub unsafe fn ", "pub struct ", "pub enum ", "pub const "];

/// Of the function of that name in the text: all from its first line to its closing brace; none if there is none.
pub fn used(text: &str, function: &str) -> Option<Used> {
    let head = format!("fn {function}(");
    let from = text.lines().skip_while(|line| !line.starts_with(&head));
    let mut body: Vec<&str> = Vec::new();
    for line in from {
        body.push(line);
        if line == "}" {
            let code = code_of(&body);
            return Some(Used {
                lines: code.len(),
                can_fail: times(&code, &FAILURES),
                unsafe_blocks: times(&code, &UNSAFE),
            });
        }
    }
    None
}

pub fn written(text: &str) -> Written {
    let before_tests: Vec<&str> = text.lines().take_while(|line| *line != TESTS).collect();
    let code = code_of(&before_tests);
    let is_public = |line: &&&str| PUBLIC.iter().any(|start| line.trim_start().starts_with(start));
    Written {
        lines: code.len(),
        unsafe_blocks: times(&code, &UNSAFE),
        items: code.iter().filter(is_public).count(),
        errors: errors(&before_tests).len(),
    }
}

pub fn lines(text: &str) -> Lines {
    let mut lines = Lines::default();
    let mut in_tests = false;
    for line in text.lines() {
        in_tests |= line == TESTS;
        let kind = match line.trim_start() {
            "" => &mut lines.blank,
            start if start.starts_with("//") => &mut lines.comments,
            _ if in_tests => &mut lines.tests,
            _ => &mut lines.code,
        };
        *kind += 1;
    }
    lines
}

const TESTS: &str = "#[cfg(test)]";

fn code_of<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    lines.iter().filter(is_code).map(|line| line.split(" // ").next().unwrap_or(line)).collect()
}

fn times(code: &[&str], signs: &[&str]) -> usize {
    signs.iter().map(|sign| code.iter().map(|line| line.matches(sign).count()).sum::<usize>()).sum()
}

/// In the paragraphs that speak of errors: what is written as EAGAIN or as `TimedOut` is.
fn errors<'t>(lines: &[&'t str]) -> BTreeSet<&'t str> {
    let documented: Vec<&str> = lines.iter().map(|line| line.trim_start()).collect();
    let paragraphs = documented.split(|line| *line == "///" || !line.starts_with("///"));
    let speak = paragraphs.filter(|paragraph| paragraph.iter().any(|line| line.contains("rror")));
    let words = speak.flatten().flat_map(|line| line.split([' ', ',', '.', ';', ':', '(', ')']));
    words.filter_map(error_of).collect()
}

fn error_of(word: &str) -> Option<&str> {
    let named = word.strip_prefix('`').and_then(|word| word.strip_suffix('`'));
    match named {
        Some(name) => (name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric)).then_some(name),
        None => {
            (word.len() > 3 && word.starts_with('E') && word.chars().all(|c| c.is_ascii_uppercase())).then_some(word)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
//! A header.

/// Does it. Errors: `TimedOut`, EAGAIN and EAGAIN again; see `Other::thing`.
///
/// `Later` is told of later.
pub fn it() -> Result<()> {
    // SAFETY: none.
    unsafe { call() }?; // Why?
    Ok(())
}

#[cfg(test)]
mod tests {
    fn it() {}
}
";

    #[test]
    fn a_snippet_counts_without_comments_and_tests() {
        assert_eq!(written(TEXT), Written { lines: 4, unsafe_blocks: 1, items: 1, errors: 2 });
    }

    #[test]
    fn every_line_of_a_file_is_of_one_kind() {
        let counted = lines(TEXT);
        assert_eq!(counted, Lines { code: 4, tests: 4, comments: 5, blank: 2 });
        assert_eq!(counted.code + counted.tests + counted.comments + counted.blank, TEXT.lines().count());
    }

    #[test]
    fn a_program_ends_with_its_brace() {
        let text = "fn a(x: u8) -> R {\n    one()?;\n    // Two.\n    let b = two().is_err();\n}\n\nfn b() {\n}\n";
        assert_eq!(used(text, "a"), Some(Used { lines: 4, can_fail: 2, unsafe_blocks: 0 }));
        assert_eq!(used(text, "b"), Some(Used { lines: 2, ..Used::default() }));
        assert_eq!(used(text, "c"), None);
    }
}
