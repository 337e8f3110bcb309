//! What does a file in /proc say of one field, in bytes?

/// A field that is given in kB, as those of meminfo and status are.
pub fn field_bytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
