//! What in a report document is too long or not plain? `race-demo lost-update --json - | wording`

use std::io;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let complaints = shared::wording::complaints(&serde_json::from_reader(io::stdin())?);
    complaints.iter().for_each(|says| println!("{says}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
