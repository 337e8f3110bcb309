//! A program as the tour expects it: what the tour's tests put in the place of the five.

use std::process::ExitCode;

use nix::unistd::pause;
use shared::{Claim, Demo, Extras, Ruling, Stage};

const DEMOS: &[Demo] = &[
    demo("first", &[Claim::OwnPid], |stage| tell(stage, Ruling::holds("told so"))),
    demo("second", &[Claim::OwnPid, Claim::ThreadsUseLocks], |stage| {
        if std::env::var_os("WELL_BEHAVED_WAITS").is_some() {
            stage.say("waiting");
            loop {
                pause(); // Until the test ends it.
            }
        }
        stage.rule(Claim::ThreadsUseLocks, Ruling::holds("seen"))?;
        tell(stage, Ruling::refuted("told so"))
    }),
];

const fn demo(name: &'static str, claims: &'static [Claim], run: fn(&mut Stage) -> anyhow::Result<()>) -> Demo {
    Demo { name, question: "Does it behave?", claims, rule: "as told", extras: Extras::NONE, snippets: &[], run }
}

fn tell(stage: &mut Stage, ruling: Ruling) -> anyhow::Result<()> {
    let one = std::hint::black_box(1);
    stage.fact("one is one", one == 1, one);
    stage.rule(Claim::OwnPid, ruling)?;
    stage.headline("1 is 1, and told so");
    stage.answer("Yes.");
    Ok(())
}

fn main() -> ExitCode {
    shared::main(DEMOS)
}
