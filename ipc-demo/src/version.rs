//! Of which version is a crate that this program was built with?

/// What the lock file says: each row that stands for a crate's code names it.
pub fn of(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let line = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
    line.map_or("of an unknown version", |version| version.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_whose_code_is_shown_has_one() {
        for name in ["ipc-channel", "crossbeam-channel"] {
            assert!(of(name).starts_with(|digit: char| digit.is_ascii_digit()), "{name} {}", of(name));
        }
        assert_eq!(of("ipc"), "of an unknown version");
    }
}
