//! Timing and output for all five programs: the one clock, the statistics, the claims, the report, the runner.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

#[cfg(not(target_os = "linux"))]
compile_error!("the demonstrations need Linux; snippets whose header says 'anything with threads' run elsewhere too");

pub mod audit;
pub mod claims;
mod cli;
pub mod demo;
mod guide;
pub mod machine;
pub mod measure;
pub mod number;
pub mod report;
mod refused;
mod runner;
mod spare;
pub mod stage;
pub mod stats;
pub mod text;
pub mod tour;
pub mod wording;

pub use claims::Claim;
pub use demo::{Demo, Extras, Parameter, ParameterKind, ProgramRole, Snippet};
pub use refused::{Tried, refused, tried};
pub use report::{
    Cell, Column, Effort, Lane, Map, MapRow, Mood, Placement, Role, RowRole, Ruling, Sign, Table, Timeline, Verdict,
};
pub use runner::main;
pub use spare::spare_bytes;
pub use stage::Stage;
