//! What is printed without a run: the list, a demonstration's snippets, a claim with its rules.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::{Output, Stop};
use crate::claims::Claim;
use crate::cli::Options;
use crate::demo::Demo;
use crate::text;

pub(super) fn list(demos: &[Demo]) -> String {
    demos.iter().map(|demo| format!("{}\t{}\n", demo.name, demo.question)).collect()
}

pub(super) fn source(demos: &[Demo], name: &str) -> String {
    let snippets = demos.iter().filter(|demo| demo.name == name).flat_map(|demo| demo.snippets);
    let texts: Vec<String> =
        snippets.map(|snippet| format!("// ---- {} ----\n{}", snippet.path, snippet.text)).collect();
    texts.join("\n")
}

/// The claim, this program's rules for it, and where else it is answered.
pub(super) fn explain(demos: &[Demo], program: &str, claim: Claim, options: &Options) -> String {
    let look = Output::Stdout(io::stdout()).look(options.color, options.extent());
    let own: Vec<text::Rule> = demos
        .iter()
        .filter(|demo| demo.claims.contains(&claim))
        .map(|demo| text::Rule { demo: format!("{program} {}", demo.name), question: demo.question, rule: demo.rule })
        .collect();
    let rules = text::rules(&own, look);
    let is_others = |name: &&str| own.iter().all(|rule| rule.demo != **name);
    let others: Vec<&str> = claim.answered_by().iter().copied().filter(is_others).collect();
    if options.rules_only { rules } else { text::claim(claim, look) + &rules + &text::answered_by(&others, look) }
}

/// Prints to stdout; a reader that is gone ends the program quietly.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
    let written = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Stop::ReaderGone.exit_code()),
        other => other.map(|()| ExitCode::SUCCESS).context("cannot write"),
    }
}
