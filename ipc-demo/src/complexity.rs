//! How much does one have to write and to mind for each way?

use anyhow::Result;
use shared::{Claim, Demo, Extras, Snippet, Stage};

use crate::abilities;

pub const DEMO: Demo = Demo {
    name: "complexity",
    question: "How much does one have to write and to mind for each way?",
    claims: &[Claim::IpcIsComplex],
    rule: "",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/framed.rs", text: include_str!("../snippets/framed.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
        Snippet {
            path: "ipc-demo/snippets/peer_credentials.rs",
            text: include_str!("../snippets/peer_credentials.rs"),
        },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let abilities = abilities::observe(stage.directory(), &stage.name("complexity"))?;
    stage.table(abilities::table(&abilities));
    stage.verdict(Claim::IpcIsComplex, shared::Verdict::Undecided, "")?;
    stage.answer("");
    Ok(())
}
