//! What does each peer offer that the ring does not? What it costs is measured; this is the other half of a choice.

use shared::{Cell, Column, Table};

const LOCK: &str = include_str!("../Cargo.lock");

/// A crate's version, as this program was built with it.
pub fn version(name: &str) -> &'static str {
    let mut lines = LOCK.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version.and_then(|version| version.strip_suffix('"')).unwrap_or("of no known version")
}

/// A peer, its licence (none if it comes with the kernel), and what it has that the ring has not.
const OFFERS: [(&str, &str, &str); 7] = [
    (
        "iceoryx2",
        "MIT or Apache-2.0",
        "services found by name, many publishers and subscribers, request and response, a shared blackboard, \
         programs in C, C++, C# and Python, macOS and Windows",
    ),
    ("rtrb", "MIT or Apache-2.0", "values of any type, several at once, wait-free by construction, no_std, any system"),
    (
        "crossbeam-channel",
        "MIT or Apache-2.0",
        "values of any type, many senders and receivers, select, time-outs as channels, any system",
    ),
    ("kanal", "MIT", "values of any type, many senders and receivers, sync and async mixed, any system"),
    (
        "flume",
        "MIT or Apache-2.0",
        "values of any type, many senders and receivers, select, sync and async mixed, no unsafe code, any system",
    ),
    ("std mpsc", "MIT or Apache-2.0", "values of any type, many senders, no dependency, any system"),
    (
        "Unix sockets",
        "",
        "descriptors handed over, the peer's identity, poll and async, messages of any size, strangers by a name; a \
         dead peer is noticed at once",
    ),
];

pub fn table() -> Table {
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = |(name, licence, offers): &(&str, &str, &str)| {
        let version = match *name {
            "std mpsc" | "Unix sockets" => Cell::Nothing,
            name => text(version(name)),
        };
        let licence = if licence.is_empty() { Cell::Nothing } else { text(licence) };
        vec![text(name), version, licence, text(offers)]
    };
    Table {
        title: "What each offers that the ring does not".to_owned(),
        columns: vec![
            Column::label("peer"),
            Column::value("version", ""),
            Column::value("licence", ""),
            Column::value("offers", ""),
        ],
        rows: OFFERS.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_its_version() {
        for name in ["iceoryx2", "rtrb", "crossbeam-channel", "kanal", "flume"] {
            assert!(version(name).starts_with(|first: char| first.is_ascii_digit()), "{name} {}", version(name));
        }
        assert_eq!(version("no such crate"), "of no known version");
    }
}
