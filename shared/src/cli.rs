//! What did the user ask for? The command line of the five programs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser};

use crate::claims::Claim;
use crate::demo::{Demo, Parameter};
use crate::report::Effort;
use crate::stage::Setting;
use crate::text::{Extent, hanging};

/// Of the help, also where there is no terminal.
const WIDTH: usize = 80;

/// The options, as clap reads them.
#[derive(Parser, Debug)]
#[command(version, max_term_width = WIDTH, disable_help_subcommand = true)]
pub struct Options {
    /// What to run; without a name all, in reading order
    pub demonstrations: Vec<String>,

    /// One line each: name, tab, question
    #[arg(long)]
    pub list: bool,

    /// Show everything: all tables, every fact, the rules, what disturbed the run
    #[arg(long)]
    pub full: bool,

    /// Print a claim and the rules by which demonstrations answer it
    #[arg(long, value_name = "CLAIM", value_parser = claim(), hide_possible_values = true)]
    pub explain: Option<Claim>,

    /// How long to measure: quick shows the shapes in seconds, thorough takes large sizes and long series
    #[arg(long, value_enum, default_value = "normal")]
    pub effort: Effort,

    /// Write the report document; with '-' stdout carries it alone and the narration goes to stderr
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Print the snippet files of one demonstration, ready to paste
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// Your own data, for a demonstration that takes some
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// A demonstration's own parameter
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Colour; auto honours NO_COLOR, CLICOLOR_FORCE and a non-terminal
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Seconds that one demonstration may take [default: 30, 300 or 1800, by effort]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub deadline: Option<u64>,

    /// The tour's own: of what is explained, only the rules
    #[arg(long, hide = true, requires = "explain")]
    pub rules_only: bool,

    /// The runner's own: be the process in which the named demonstration runs
    #[arg(long, hide = true)]
    pub perform: bool,

    /// The runner's own: clean up after a runner that was killed
    #[arg(long, hide = true)]
    pub janitor: bool,
}

impl Options {
    /// Reads a command line. The error, or the help asked for, is clap's: it prints itself and knows its exit code.
    pub fn parse_from(
        demos: &'static [Demo],
        program: &str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Options, clap::Error> {
        let mut command = command(demos, program);
        let matches = command.try_get_matches_from_mut(arguments)?;
        let options = Options::from_arg_matches(&matches)?;
        if let Some(file) = &options.input {
            check_input(file, &options, demos).map_err(|says| command.error(ErrorKind::ValueValidation, says))?;
        }
        for setting in &options.set {
            check(setting, &options.selected(demos)).map_err(|says| command.error(ErrorKind::InvalidValue, says))?;
        }
        Ok(options)
    }

    /// The demonstrations that were named, or all; each once, in reading order.
    pub fn selected(&self, demos: &'static [Demo]) -> Vec<&'static Demo> {
        let named = |demo: &&Demo| self.demonstrations.is_empty() || self.demonstrations.iter().any(|n| n == demo.name);
        demos.iter().filter(named).collect()
    }

    /// The user's values for the parameters that this demonstration declares.
    pub fn settings(&self, demo: &Demo) -> Vec<(&'static str, Setting)> {
        let given = |parameter: &Parameter| {
            let value =
                self.set.iter().rev().find_map(|setting| setting.strip_prefix(parameter.key)?.strip_prefix('='));
            (parameter.key, value.and_then(|text| parameter.kind.read(text)).unwrap_or(parameter.kind.default()))
        };
        demo.extras.parameters.iter().map(given).collect()
    }

    pub fn extent(&self) -> Extent {
        if self.full { Extent::Full } else { Extent::Brief }
    }

    pub fn deadline_s(&self) -> u64 {
        self.deadline.unwrap_or(match self.effort {
            Effort::Quick => 30,
            Effort::Normal => 300,
            Effort::Thorough => 1800,
        })
    }
}

fn command(demos: &'static [Demo], program: &str) -> clap::Command {
    let names = || PossibleValuesParser::new(demos.iter().map(|demo| demo.name));
    let mut after = String::from("Demonstrations:\n");
    for demo in demos {
        after += &format!("  {}\n{}", demo.name, hanging("      ", demo.question, WIDTH));
        for Parameter { key, says, kind } in demo.extras.parameters {
            let says = format!("{says} ({}, default {})", kind.range(), kind.default());
            after += &hanging(&format!("      --set {key}=VALUE  "), &says, WIDTH);
        }
        if let Some(says) = demo.extras.input {
            after += &hanging("      --input FILE  ", says, WIDTH);
        }
    }
    after.push_str(
        "\nExit code: 0 if every fact held; 1 if a fact or a demonstration failed; 2 for a wrong\n\
         command line; 129, 130, 143 after SIGHUP, SIGINT, SIGTERM; 141 after a closed pipe",
    );
    Options::command()
        .name(program.to_owned())
        .bin_name(program.to_owned())
        .about("Tries claims about threads and processes on this machine. This program is one topic of five.")
        .mut_arg("demonstrations", |arg| arg.value_parser(names()).hide_possible_values(true))
        .mut_arg("source", |arg| arg.value_parser(names()).hide_possible_values(true))
        .after_help(after)
}

/// Takes a claim by its name; a mistyped one is answered with the nearest.
pub fn claim() -> impl TypedValueParser<Value = Claim> {
    let names = Claim::ALL.iter().map(|claim| PossibleValue::new(claim.name()));
    PossibleValuesParser::new(names).map(|name| Claim::named(&name).expect("it is one of the names"))
}

/// Refuses a file that cannot be read, and one that a demonstration asked for by name has no use for.
fn check_input(file: &Path, options: &Options, demos: &'static [Demo]) -> Result<(), String> {
    let takes = |demo: &&Demo| demo.extras.input.is_some();
    let takers: Vec<&str> = demos.iter().filter(takes).map(|demo| demo.name).collect();
    let idle = demos.iter().find(|demo| !takes(demo) && options.demonstrations.iter().any(|name| name == demo.name));
    match (takers.as_slice(), idle) {
        ([], _) => Err("no demonstration here takes data of your own: --input is of no use".to_owned()),
        (some, Some(demo)) => {
            Err(format!("{} takes no data of your own; of those here, this does: {}", demo.name, some.join(", ")))
        }
        _ => readable(file).map_err(|error| format!("cannot read {}: {error}", file.display())),
    }
}

/// A file with content: a device or a pipe might be read for ever.
fn readable(file: &Path) -> io::Result<()> {
    match fs::metadata(file)? {
        kind if kind.is_dir() => Err(io::Error::other("it is a directory")),
        kind if !kind.is_file() => Err(io::Error::other("it is no regular file")),
        file if file.len() == 0 => Err(io::Error::other("it is empty, or does not say how long it is")),
        _ => File::open(file).map(drop),
    }
}

/// Refuses a setting that none of the demonstrations declares, or that may not be.
fn check(setting: &str, demos: &[&Demo]) -> Result<(), String> {
    let declared: Vec<&Parameter> = demos.iter().flat_map(|demo| demo.extras.parameters).collect();
    let there_is = || match declared.as_slice() {
        [] => "these demonstrations have no parameters".to_owned(),
        some => {
            let each: Vec<String> = some.iter().map(|one| format!("{} ({})", one.key, one.kind.range())).collect();
            format!("there is: {}", each.join(", "))
        }
    };
    let (key, value) =
        setting.split_once('=').ok_or_else(|| format!("'{setting}' is not KEY=VALUE; {}", there_is()))?;
    let mut matching = declared.iter().filter(|parameter| parameter.key == key).peekable();
    matching.peek().ok_or_else(|| format!("no parameter '{key}'; {}", there_is()))?;
    match matching.find(|parameter| parameter.kind.read(value).is_none()) {
        Some(_) => Err(format!("{key}={value} cannot be; {}", there_is())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{Extras, ParameterKind};

    const PARAMETER: Parameter = Parameter {
        key: "task_s",
        says: "how long",
        kind: ParameterKind::Number { unit: "s", default: 5.0, low: 0.0, high: 60.0 },
    };
    const ORDER: Parameter = Parameter {
        key: "order",
        says: "who goes when",
        kind: ParameterKind::Word { alphabet: "AB", default: "ABBA", most: 6 },
    };
    const DEMOS: &[Demo] = &[
        demo("lost-update", Extras { parameters: &[PARAMETER], ..Extras::NONE }),
        demo("visibility", Extras::NONE),
        demo("split", Extras { input: Some("text"), ..Extras::NONE }),
        demo("interleavings", Extras { parameters: &[ORDER], ..Extras::NONE }),
    ];

    const fn demo(name: &'static str, extras: Extras) -> Demo {
        Demo { name, question: "?", claims: &[], rule: "", extras, snippets: &[], run: |_| Ok(()) }
    }

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        Options::parse_from(DEMOS, "race-demo", ["race-demo"].iter().chain(words).map(OsString::from))
    }

    #[test]
    fn no_name_selects_all_and_names_keep_the_reading_order() {
        let names = |words| parse(words).unwrap().selected(DEMOS).iter().map(|demo| demo.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), ["lost-update", "visibility", "split", "interleavings"]);
        assert_eq!(names(&["visibility", "lost-update", "visibility"]), ["lost-update", "visibility"]);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = parse(&["lost-updat"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'lost-update'"), "{error}");
    }

    #[test]
    fn settings_are_checked_against_what_is_declared() {
        let given = parse(&["lost-update", "--set", "task_s=2"]).unwrap();
        assert_eq!(given.settings(&DEMOS[0]), [("task_s", Setting::Number(2.0))]);
        for wrong in ["task=2", "task_s", "task_s=x", "task_s=61", "task_s=NaN"] {
            let error = parse(&["lost-update", "--set", wrong]).unwrap_err();
            assert!(error.to_string().contains("there is: task_s (0 to 60 s)"), "{error}");
        }
        assert!(parse(&["visibility", "--set", "task_s=2"]).unwrap_err().to_string().contains("no parameters"));
    }

    #[test]
    fn a_word_is_of_its_letters_and_no_longer_than_it_may_be() {
        let order = |text: &str| parse(&["interleavings", "--set", &format!("order={text}")]);
        assert_eq!(order("BA").unwrap().settings(&DEMOS[3]), [("order", Setting::Word("BA".to_owned()))]);
        assert_eq!(order("").unwrap().settings(&DEMOS[3]), [("order", Setting::Word(String::new()))]);
        assert_eq!(parse(&[]).unwrap().settings(&DEMOS[3]), [("order", Setting::Word("ABBA".to_owned()))]);
        for wrong in ["ABC", "ab", "ABABABA", "A B"] {
            let error = order(wrong).unwrap_err().to_string();
            assert!(error.contains("there is: order (up to 6 letters of AB)"), "{error}");
        }
    }

    #[test]
    fn input_is_refused_where_none_is_taken() {
        for (demos, says) in
            [(&["visibility"][..], "visibility takes no"), (&["split", "visibility"], "this does: split")]
        {
            let error = parse(&[demos, &["--input", "/proc/self/exe"]].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(says), "{error}");
        }
        let none = Options::parse_from(&DEMOS[..2], "race-demo", ["race-demo", "--input", "x"].map(OsString::from));
        assert!(none.unwrap_err().to_string().contains("no demonstration here"));
    }

    #[test]
    fn input_is_taken_if_it_can_be_read_to_an_end() {
        assert!(parse(&["split", "--input", "/proc/self/exe"]).is_ok());
        assert!(parse(&["--input", "/proc/self/exe"]).is_ok());
        for wrong in ["/proc/self/no-such-file", "/proc/self", "/dev/zero", "/proc/self/status"] {
            assert!(parse(&["split", "--input", wrong]).unwrap_err().to_string().contains("cannot read"));
        }
    }
}
