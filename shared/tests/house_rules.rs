//! Does every file keep the rules of the house? What a compiler does not check, this reads in the text.

#[path = "house_rules/sizes.rs"]
mod sizes;
#[path = "house_rules/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use shared::Claim;

use source::{
    Source, between, demos, direct_dependencies, names, of_shared, of_topic, packages, private_functions, read, root,
    snippets, whole_demo,
};

const TOPICS: [&str; 5] = ["threads-demo", "process-demo", "ipc-demo", "sync-demo", "race-demo"];

/// Claims that no demonstration answers yet. The list only ever shrinks: who answers one takes it out.
const DUE: &[Claim] = &[
    Claim::ThreadsNeedNoMemory,
    Claim::ThreadsCommunicateEasier,
    Claim::ProcessesNeedComplexSync,
    Claim::ComplexPatternsEasier,
    Claim::RacesAreUnpredictable,
    Claim::ImmediatelyVisible,
    Claim::BetterResponsiveness,
    Claim::RendersReadsUpdates,
    Claim::EssentialForDesign,
];

#[test]
fn snippets_name_nothing_of_ours() {
    let mut wrong = Vec::new();
    for snippet in snippets() {
        let ours = TOPICS.map(|topic| topic.replace('-', "_") + "::");
        let forbidden = ours.iter().map(String::as_str).chain(["crate::", "shared::"]);
        wrong.extend(forbidden.filter(|word| snippet.text.contains(word)).map(|word| snippet.says(word)));
        let (code, tests) = snippet.code_and_tests();
        let unfinished = ["todo!(", "unimplemented!("].into_iter().filter(|word| snippet.text.contains(word));
        wrong.extend(
            unfinished
                .chain(code.contains("super::").then_some("super:: outside its tests"))
                .map(|word| snippet.says(word)),
        );
        if tests.matches("super::").count() > tests.matches("use super::*;").count() {
            wrong.push(snippet.says("super:: other than `use super::*`"));
        }
        wrong.extend(snippet.text.lines().filter(|line| line.chars().count() > 160).map(|line| snippet.says(line)));
    }
    none(wrong);
}

#[test]
fn the_header_of_each_snippet_is_complete() {
    let mut wrong = Vec::new();
    for snippet in snippets() {
        let header: Vec<&str> =
            snippet.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let paragraphs: Vec<&[&str]> = header.split(|line| line.is_empty()).collect();
        let sentence = paragraphs[0].join(" ");
        if !sentence.ends_with('.') || sentence.matches(". ").count() > 0 {
            wrong.push(snippet.says("its first paragraph is not one sentence"));
        }
        let facts = paragraphs.get(1).copied().unwrap_or_default();
        let of = |key: &str| facts.iter().filter_map(|line| line.strip_prefix(key)).collect::<Vec<_>>();
        let keys = [("Needs: ", 1), ("Runs on: ", 1), ("Instead: ", 1), ("Tests need: ", of("Tests need: ").len())];
        if keys.iter().any(|(key, times)| of(key).len() != *times)
            || facts.len() != keys.iter().map(|(_, times)| times).sum::<usize>()
        {
            wrong.push(
                snippet.says("its second paragraph is not `Needs:`, `Runs on:`, `Instead:`, perhaps `Tests need:`"),
            );
        }
        if of("Instead: ").iter().any(|line| "//! Instead: ".len() + line.len() > 110) {
            wrong.push(snippet.says("its line `Instead:` is longer than 110 columns"));
        }
        let limits = paragraphs
            .iter()
            .filter(|paragraph| paragraph.first().is_some_and(|line| line.starts_with("What it does not do: ")));
        if limits.clone().count() != 1 || limits.clone().any(|paragraph| paragraph.len() > 5) {
            wrong.push(
                snippet.says("it does not tell its limits in one paragraph `What it does not do:`, of five lines"),
            );
        }
        if !of("Runs on: ").iter().all(|system| *system == "anything with threads" || system.starts_with("Linux")) {
            wrong.push(snippet.says("it runs on neither Linux nor anything with threads"));
        }
    }
    none(wrong);
}

#[test]
fn each_snippet_can_be_pasted_into_any_project() {
    let mut wrong = Vec::new();
    for snippet in snippets() {
        let portable = snippet.text.contains("//! Runs on: anything with threads\n");
        let of_one_system = ["nix::", "std::os::"].into_iter().find(|path| portable && snippet.code().contains(path));
        wrong.extend(of_one_system.map(|path| snippet.says(&format!("it uses {path} and runs on anything?"))));
        if !snippet.text.contains("module_path!()") {
            wrong.push(snippet.says("it has no example that finds itself"));
        }
        if !snippet.text.lines().any(|line| line.starts_with("#![allow(dead_code)] // ")) {
            wrong.push(snippet.says("a program that does not need all of it gets warnings: it lacks allow(dead_code)"));
        }
    }
    none(wrong);
}

#[test]
fn each_snippet_lists_the_crates_that_it_uses() {
    let known = packages();
    let mut wrong = Vec::new();
    for snippet in snippets() {
        let (needs, tests_need) = (snippet.needs("//! Needs: "), snippet.needs("//! Tests need: "));
        let (code, tests) = snippet.code_and_tests();
        for name in direct_dependencies() {
            let path = name.replace('-', "_") + "::";
            let (in_code, in_tests) = (names(&code, &path), names(&tests, &path));
            let says = |what: &str| snippet.says(&format!("{name} {what}"));
            match (needs.contains_key(&name), tests_need.contains_key(&name)) {
                (false, _) if in_code => wrong.push(says("is used, but not listed after `Needs:`")),
                (true, _) if !in_code => wrong.push(says("is listed after `Needs:`, but not used")),
                (false, false) if in_tests => wrong.push(says("is used by the tests, but not listed")),
                (_, true) if !in_tests => wrong.push(says("is listed after `Tests need:`, but not used there")),
                _ => {}
            }
        }
        for (name, (version, features)) in needs.iter().chain(&tests_need).filter(|(name, _)| *name != "std") {
            let Some((actual, offered)) = known.get(name) else {
                wrong.push(snippet.says(&format!("{name} is no crate of this workspace")));
                continue;
            };
            if !format!("{actual}.").starts_with(&format!("{version}.")) {
                wrong.push(snippet.says(&format!("{name} is {actual} here, not {version}")));
            }
            let unknown = features.iter().filter(|feature| !offered.contains(*feature));
            wrong.extend(unknown.map(|feature| snippet.says(&format!("{name} has no feature '{feature}'"))));
        }
    }
    none(wrong);
}

#[test]
fn private_functions_of_one_name_are_one_text() {
    let mut texts: BTreeMap<String, Vec<(String, PathBuf)>> = BTreeMap::new();
    for snippet in snippets() {
        for (name, text) in private_functions(&snippet.code()) {
            texts.entry(name).or_default().push((text, snippet.path.clone()));
        }
    }
    let differ = texts.into_iter().filter(|(_, found)| found.iter().any(|(text, _)| *text != found[0].0));
    none(differ.map(|(name, found)| {
        let paths: Vec<String> = found.iter().map(|(_, path)| path.display().to_string()).collect();
        format!("the private function `{name}` differs between {}", paths.join(" and "))
    }));
}

#[test]
fn every_snippet_is_in_its_library() {
    let mut wrong = Vec::new();
    for topic in TOPICS {
        let library = read(&root().join(topic).join("snippets/lib.rs"));
        for snippet in snippets().into_iter().filter(|snippet| snippet.path.starts_with(topic)) {
            if !library.lines().any(|line| line.starts_with(&format!("pub mod {};", snippet.name()))) {
                wrong.push(snippet.says("it is not in lib.rs"));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_demonstration_is_in_its_table_and_in_the_readme() {
    let readme = read(&root().join("README.md"));
    let mut wrong = Vec::new();
    for demo in demos() {
        let topic = demo.topic();
        let program = read(&root().join(&topic).join("src/main.rs"));
        let table = between(&program, "const DEMOS", ";").unwrap_or_default();
        if !names(table, &format!("{}::DEMO", demo.name())) {
            wrong.push(demo.says("it is not in DEMOS"));
        }
        let name = demo.name().replace('_', "-");
        if !demo.text.contains(&format!("    name: \"{name}\",")) {
            wrong.push(demo.says("its name is not its file's"));
        }
        let question = between(&demo.text, "question: \"", "\"").unwrap_or_default();
        let row = format!("| {question} | `{topic} {name}` |");
        if !readme.lines().any(|line| line.starts_with(&row)) {
            wrong.push(demo.says(&format!("README.md has no row that starts with '{row}'")));
        }
        for path in demo.text.split("path: \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let included = format!("include_str!(\"../../{path}\")");
            let from_own_topic = format!("include_str!(\"..{}\")", path.strip_prefix(&topic).unwrap_or("?"));
            if !demo.text.contains(&included) && !demo.text.contains(&from_own_topic) {
                wrong.push(demo.says(&format!("the text that it shows as {path} is another file's")));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_claim_is_answered_or_still_due() {
    let mut answered: BTreeMap<Claim, BTreeSet<String>> = BTreeMap::new();
    for demo in demos() {
        let claims = between(&demo.text, "claims: &[", "]").unwrap_or_default();
        for claim in Claim::ALL.iter().filter(|claim| names(claims, &format!("Claim::{claim:?}"))) {
            let name = format!("{} {}", demo.topic(), demo.name().replace('_', "-"));
            answered.entry(*claim).or_default().insert(name);
        }
    }
    let mut wrong = Vec::new();
    for claim in Claim::ALL {
        let declared = answered.remove(claim).unwrap_or_default();
        let listed: BTreeSet<String> = claim.answered_by().iter().map(|&name| name.to_owned()).collect();
        if declared != listed {
            wrong.push(format!("{claim:?}: answered_by lists {listed:?}, but {declared:?} declare it"));
        }
        match (declared.is_empty(), DUE.contains(claim)) {
            (true, false) => wrong.push(format!("no demonstration answers {claim:?}")),
            (false, true) => wrong.push(format!("{claim:?} is answered: take it off the list of those due")),
            _ => {}
        }
    }
    none(wrong);
}

/// Lines of code and files at most: of a whole demonstration with its folder, of a snippet, of a file of `shared`.
const DEMO: (usize, usize) = (250, 3);
const SNIPPET: (usize, usize) = (200, 1);
const SHARED: (usize, usize) = (250, 1);

#[test]
fn nothing_is_larger_than_a_reader_can_hold() {
    let mut wrong = Vec::new();
    let mut exceptions: BTreeMap<&str, (usize, usize)> =
        sizes::EXCEPTIONS.iter().map(|&(name, lines, files)| (name, (lines, files))).collect();
    let mut check = |name: String, files: &[Source], most: (usize, usize)| {
        let (lines, count) = (files.iter().map(Source::lines_of_code).sum::<usize>(), files.len());
        let listed = exceptions.remove(name.as_str());
        let (most_lines, most_files) = listed.unwrap_or(most);
        if lines > most_lines || count > most_files {
            wrong.push(format!("{name}: {lines} lines in {count} files, {most_lines} in {most_files} at most"));
        } else if listed.is_some() && lines <= most.0 && count <= most.1 {
            wrong.push(format!("{name} keeps the rule now: take it off the list"));
        }
    };
    for demo in demos() {
        check(format!("{} {}", demo.topic(), demo.name().replace('_', "-")), &whole_demo(&demo), DEMO);
    }
    for snippet in snippets() {
        check(format!("{} snippet {}", snippet.topic(), snippet.name()), &[snippet], SNIPPET);
    }
    for file in of_shared() {
        check(file.path.display().to_string(), &[file], SHARED);
    }
    wrong.extend(exceptions.keys().map(|name| format!("{name} is on the list and nowhere else")));
    none(wrong);
}

/// Of the two topics that are complete, and of each exception.
#[test]
fn the_house_stays_as_light_as_it_is() {
    let files: Vec<Source> = ["process-demo", "ipc-demo"].iter().flat_map(|topic| of_topic(topic)).collect();
    let lines = files.iter().map(Source::lines_of_code).sum::<usize>();
    assert!(lines <= 14_500 && files.len() <= 115, "{lines} lines in {} files", files.len());
    let demos = || sizes::EXCEPTIONS.iter().filter(|(name, ..)| !name.contains(" snippet "));
    let large = demos().filter(|(_, lines, _)| *lines > 450).count();
    assert!(demos().all(|(_, lines, _)| *lines <= 600) && large <= 8, "{large} above 450");
}

fn none(wrong: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
