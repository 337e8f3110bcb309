//! Writes the mutants: copies of each proved snippet with one ordering weakened, one fence left out or one bug planted.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// A snippet under proof; its checks are in `src/checks`, in a file of the same name.
struct Proved {
    /// From the project's root.
    file: &'static str,
    /// Further bugs: what, the text that is there exactly once, and the text in its place.
    planted: &'static [(&'static str, &'static str, &'static str)],
}

const PROVED: &[Proved] = &[
    Proved {
        file: "ipc-demo/snippets/ring.rs",
        planted: &[
            ("a sender takes one slot too many", "self.released) == slots {", "self.released) == slots + 1 {"),
            (
                "a slot is published before its message is in it",
                "put(slot);",
                "slot.sequence().store(self.at.sequence(), Release); put(slot);",
            ),
            (
                "a slot is given back before it is read",
                "self.side.memory.slot(self.at.slot).load(place);",
                "self.side.memory.header().released.0.store(self.at.position.wrapping_add(1), Release); \
                 self.side.memory.slot(self.at.slot).load(place);",
            ),
            (
                "who sees that the sender left does not look again for its last message",
                "sequence = slot.sequence().load(Relaxed); //",
                "//",
            ),
            (
                "in place, a message is sent before it is committed",
                "self.0.until_room(None, |sender| sender.look_for_room(bytes))?;",
                "self.0.until_room(None, |sender| sender.look_for_room(bytes))?; self.0.publish(bytes, |_| ());",
            ),
            ("in place, what is committed is not sent", "self.sender.publish(self.bytes, |_| ());", ""),
            (
                "in place, a slot is given back when its message is received",
                "self.0.until_message(None, Receiver::look_for_message)?;",
                "self.0.until_message(None, Receiver::look_for_message)?; self.0.release();",
            ),
            ("in place, a dropped message keeps its slot", "self.receiver.release();", ""),
            ("who sent wakes nobody", "memory.header().ring_bell(RECEIVER);", ""),
            ("who sent wakes the sender", "memory.header().ring_bell(RECEIVER);", "memory.header().ring_bell(SENDER);"),
            ("who received wakes nobody", "header.ring_bell(SENDER);", ""),
            ("who leaves wakes nobody", "header.ring_bell(self.peer());", ""),
            ("a bell wakes when nobody sleeps, and only then", "Release) == ASLEEP", "Release) == AWAKE"),
            (
                "who goes to sleep does not look again",
                "!in_time || ready() || self.peer_is_gone()",
                "!in_time || self.peer_is_gone()",
            ),
            (
                "who goes to sleep does not look whether the peer left",
                "!in_time || ready() || self.peer_is_gone()",
                "!in_time || ready()",
            ),
            (
                "who goes to sleep looks before it says so",
                "bell.swap(ASLEEP, Acquire);",
                "if ready() { break; } bell.swap(ASLEEP, Acquire); let ready = || false;",
            ),
        ],
    },
    Proved {
        file: "sync-demo/snippets/futex_mutex.rs",
        planted: &[
            ("unlock wakes nobody", "futex_wake_one(&self.mutex.state);", ""),
            ("unlock wakes when nobody waits, and only then", "before == AWAITED", "before == HELD"),
            ("who finds it held, and nobody waiting, enters", "Acquire) != FREE", "Acquire) == AWAITED"),
            ("who finds it awaited enters", "Acquire) != FREE", "Acquire) == HELD"),
            (
                "a woken waiter forgets the other waiters",
                "Guard { mutex: self } //",
                "self.state.store(HELD, Relaxed); Guard { mutex: self } //",
            ),
        ],
    },
];

struct Mutation {
    line: usize,
    change: String,
    text: String,
}

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (mut modules, mut table) = (String::new(), String::new());
    for Proved { file, planted } in PROVED {
        let path = here.join("../..").join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a snippet's file is NAME.rs");
        let checks = here.join("src/checks").join(format!("{name}.rs"));
        let mutations = weakened(&text).into_iter().chain(planted.iter().map(|bug| plant(&text, bug)));
        for (index, Mutation { line, change, text }) in mutations.enumerate() {
            let module = format!("{name}_{index}");
            let mutant = out.join(format!("{module}.rs"));
            fs::write(&mutant, text).expect("OUT_DIR is writable");
            modules += &module_of(&module, name, &mutant, &checks);
            table += &format!(
                "    Mutant {{ file: {file:?}, line: {line}, change: {change:?}, checks: {module}::checks::CHECKS }},\n"
            );
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(out.join("mutants.rs"), format!("{modules}pub const MUTANTS: &[Mutant] = &[\n{table}];\n"))
        .expect("OUT_DIR is writable");
}

fn module_of(module: &str, name: &str, mutant: &Path, checks: &Path) -> String {
    format!(
        "#[allow(unused)]\npub mod {module} {{\n    #[path = {mutant:?}]\n    pub mod {name};\n    \
         #[path = {checks:?}]\n    pub mod checks;\n}}\n"
    )
}

/// One mutant for each ordering and each fence in the code: not in comments, imports or tests.
fn weakened(text: &str) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    let mut in_import = false;
    let shipped = text.find("#[cfg(test)]").unwrap_or(text.len());
    let mut start = 0; // Of the line, in bytes from the start of the text.
    for (index, line) in text[..shipped].split_inclusive('\n').enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        in_import |= code.starts_with("use ");
        if !in_import {
            for (at, word, weaker) in weaker_words(code) {
                let from = start + at;
                let change = format!("{word} -> {}", if weaker.is_empty() { "nothing" } else { weaker });
                // It may not be imported there.
                let weaker = weaker.replace("Relaxed", "std::sync::atomic::Ordering::Relaxed");
                let text = format!("{}{weaker}{}", &text[..from], &text[from + word.len()..]);
                mutations.push(Mutation { line: index + 1, change, text });
            }
        }
        in_import &= !code.contains(';');
        start += line.len();
    }
    mutations
}

/// Where in a line of code something can be weakened, what it is, and what takes its place.
fn weaker_words(code: &str) -> Vec<(usize, &str, &'static str)> {
    if let Some(at) = code.find("fence(") {
        let end = at + code[at..].find(';').expect("a fence is a statement of one line") + 1;
        return vec![(at, &code[at..end], "")];
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut at = 0;
    for part in code.split_inclusive(|c| !is_word(c)) {
        let word = part.trim_end_matches(|c| !is_word(c));
        match word {
            "Acquire" | "Release" => found.push((at, word, "Relaxed")),
            "AcqRel" => found.extend([(at, word, "Acquire"), (at, word, "Release")]),
            "SeqCst" => panic!("loom cannot judge a SeqCst access: write fence(SeqCst)"),
            _ => {}
        }
        at += part.len();
    }
    found
}

fn plant(text: &str, (what, from, to): &(&str, &str, &str)) -> Mutation {
    assert_eq!(text.matches(from).count(), 1, "'{from}' must be in the snippet exactly once, to plant: {what}");
    let line = text[..text.find(from).expect("just counted")].lines().count();
    Mutation { line, change: (*what).to_owned(), text: text.replace(from, to) }
}
