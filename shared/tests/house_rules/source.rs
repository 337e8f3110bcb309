//! What does a source file say? As much as the rules of the house need to know, read from the text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TOPICS;

/// A file, by its path from the workspace's root.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    pub fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.path.display())
    }

    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn topic(&self) -> String {
        self.path.iter().next().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Lines that are neither blank nor comments, above the tests.
    pub fn lines_of_code(&self) -> usize {
        let code = self.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        code.lines().filter(is_code).count()
    }

    /// What is compiled outside tests, without comments.
    pub fn code(&self) -> String {
        self.code_and_tests().0
    }

    /// Apart: what is compiled outside tests, without comments; and the tests with the examples of the documentation.
    pub fn code_and_tests(&self) -> (String, String) {
        let (code, tests) = self.text.split_once("#[cfg(test)]\nmod tests").unwrap_or((&self.text, ""));
        let (mut compiled, mut tested) = (String::new(), without_comments(tests));
        let mut in_example = false;
        for line in code.lines() {
            let documentation = line.trim_start().strip_prefix("//!").or(line.trim_start().strip_prefix("///"));
            let fences = line.matches("```").count();
            if documentation.is_some() && in_example && fences == 0 {
                tested += documentation.unwrap_or_default();
                tested.push('\n');
            }
            in_example ^= fences % 2 == 1;
            if !line.starts_with("#![doc") {
                compiled += &without_comments(line);
            }
        }
        (compiled, tested)
    }

    /// The crates after a key of the header: `nix 0.31 (process, signal); crossbeam-channel 0.5`.
    pub fn needs(&self, key: &str) -> BTreeMap<String, (String, Vec<String>)> {
        let listed = self.text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let crates = listed.split(';').map(str::trim).filter(|one| !one.is_empty());
        let parse = |one: &str| {
            let (head, features) = one.split_once('(').unwrap_or((one, ""));
            let (name, version) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
            let features = features.trim_end_matches(')').split(',').map(|feature| feature.trim().to_owned());
            (name.to_owned(), (version.to_owned(), features.filter(|feature| !feature.is_empty()).collect()))
        };
        crates.map(parse).collect()
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace").to_owned()
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(topic: &str, directory: &str, but: &str) -> Vec<Source> {
    let under = Path::new(topic).join(directory);
    let entries = fs::read_dir(root().join(&under)).unwrap_or_else(|error| panic!("{}: {error}", under.display()));
    let names = entries.map(|entry| entry.expect("a directory that can be read").file_name());
    let mut paths: Vec<PathBuf> = names.filter(|name| name != but).map(|name| under.join(name)).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths.into_iter().map(|path| Source { text: read(&root().join(&path)), path }).collect()
}

pub fn snippets() -> Vec<Source> {
    TOPICS.iter().flat_map(|topic| sources(topic, "snippets", "lib.rs")).collect()
}

pub fn demos() -> Vec<Source> {
    let files = TOPICS.iter().flat_map(|topic| sources(topic, "src", "main.rs"));
    files.filter(|file| file.text.contains("pub const DEMO: Demo")).collect()
}

/// A demonstration's own file, with those of the folder of its name.
pub fn whole_demo(demo: &Source) -> Vec<Source> {
    let mut files = vec![Source { path: demo.path.clone(), text: demo.text.clone() }];
    files.extend(below(&demo.path.with_extension("")));
    files
}

/// Every file of `shared` but its engine's tests.
pub fn of_shared() -> Vec<Source> {
    let files = below(Path::new("shared/src"));
    files.into_iter().filter(|file| !file.path.ends_with("measure/tests.rs")).collect()
}

/// What a topic has that is no snippet.
pub fn of_topic(topic: &str) -> Vec<Source> {
    ["src", "stage"].iter().flat_map(|folder| below(&Path::new(topic).join(folder))).collect()
}

/// Every Rust file below a folder of the workspace; none if there is no such folder.
fn below(folder: &Path) -> Vec<Source> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| folder.join(entry.unwrap().file_name())).collect();
    paths.sort();
    let files = paths.into_iter().flat_map(|path| match path.extension() {
        Some(rust) if rust == "rs" => vec![Source { text: read(&root().join(&path)), path }],
        _ => below(&path),
    });
    files.collect()
}

fn without_comments(code: &str) -> String {
    let kept = |line: &str| line.find("//").map_or(line, |from| &line[..from]).to_owned() + "\n";
    code.lines().map(kept).collect()
}

pub fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// Does the text hold the word, not as a part of a longer one?
pub fn names(text: &str, word: &str) -> bool {
    let part_of_a_word = |character: char| character.is_alphanumeric() || "_-".contains(character);
    text.match_indices(word).any(|(from, _)| {
        let before = text[..from].chars().next_back();
        let after = text[from + word.len()..].chars().next();
        !before.is_some_and(|character| part_of_a_word(character) || character == ':')
            && (word.ends_with("::") || !after.is_some_and(part_of_a_word))
    })
}

/// The private functions of a file that stand outside of any `impl`, each with its text.
pub fn private_functions(code: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = code.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.starts_with("fn ") || line.starts_with("unsafe fn "));
    let function = |(from, line): (usize, &&str)| {
        let name = line.trim_start_matches("unsafe ").trim_start_matches("fn ");
        let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
        let length = lines[from..].iter().position(|line| line.starts_with('}')).unwrap_or(0);
        (name, lines[from..=from + length].join("\n"))
    };
    starts.map(function).collect()
}

/// The crates that the workspace's manifest names, but for its own. (`libc` is none of them: here it is a part of nix.)
pub fn direct_dependencies() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let table =
        between(&manifest, "[workspace.dependencies]", "\n[").expect("the workspace has dependencies").to_owned();
    let foreign = table.lines().filter(|line| !line.starts_with('#') && !line.contains("path ="));
    foreign.filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect()
}

/// The crates that this workspace is built of: name, version, features.
pub fn packages() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH); // Without it, cargo asks for all systems' crates.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--filter-platform", &platform]).current_dir(root());
    let output = cargo.output().expect("cargo runs this test");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let package = |one: &serde_json::Value| {
        let features = one["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        (text(&one["name"]), (text(&one["version"]), features))
    };
    document["packages"].as_array().expect("cargo lists the packages").iter().map(package).collect()
}
