//! What does waiting cost: a late wake-up, or a busy CPU?

mod facts;
mod message;
mod pace;
mod price;
mod receiver;
mod rounds;
mod show;
mod slots;
mod usage;
mod ways;

use anyhow::{Context, Result};
use shared::Placement::{OtherCpu, SameCpu};
use shared::measure::Pinning;
use shared::{Demo, Extras, Snippet, Stage};

use pace::Pacer;
use rounds::{Plan, Receivers};

pub const DEMO: Demo = Demo {
    name: "idle",
    question: "What does waiting cost: a late wake-up, or a busy CPU?",
    claims: &[],
    rule: "It gives no verdict. Each message carries the moment when it was due and the moment just before it was \
           sent; its receiver, on another CPU if there is one, reads the same clock as soon as it has it. One series of \
           each mechanism is not counted, nor is the first message of a series after a pause longer than its gaps. A \
           p99 is told of 100 messages or more. Sleeps are the receiver's voluntary context switches for each message. \
           Spinning pays where it takes less CPU time than it saves waiting, beside the same ring asleep.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "ipc-demo/snippets/ring.rs", text: include_str!("../snippets/ring.rs") },
        Snippet { path: "ipc-demo/snippets/pipe_pair.rs", text: include_str!("../snippets/pipe_pair.rs") },
        Snippet { path: "ipc-demo/snippets/event.rs", text: include_str!("../snippets/event.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let clock = stage.clock();
    let plan = Plan::of(stage.effort());
    let apart = Pinning::of(OtherCpu);
    let pinning = apart.or_else(|| Pinning::of(SameCpu)).context("no CPU to run on")?;
    show::say_what_happens(stage, apart.is_some());

    let mut receivers = Receivers::start(pinning, clock)?;
    let _pinned = pinning.own.pin()?; // After the start: a child would inherit it.
    let pacer = if apart.is_some() { Pacer::exact(clock)? } else { Pacer::sleeping(clock)? };
    let rows = receivers.measure(&plan, pacer)?;
    let silences = receivers.keep_silent(&plan, pacer, clock)?;
    let ended = receivers.end()?;

    stage.show(show::brief(&rows, &silences, &plan));
    for &(per_second, _) in plan.paces {
        stage.table(show::pace(&rows, per_second));
    }
    if apart.is_some() {
        show::say_of_depth(stage, &rows, &plan);
        show::tell_what_disturbed(stage, &rows, &plan);
    }
    stage.table(show::pacing(&rows, &plan));
    show::say_of_pacing(stage);
    stage.table(show::silence(&silences, &plan));
    show::say_of_silence(stage, &silences);
    facts::tell(stage, &rows, &silences, ended);

    let prices = price::all(&rows, &plan);
    if !prices.is_empty() {
        stage.table(price::table(&prices));
    }
    price::tell_trends(stage, &rows, &plan);
    let told = price::note(&rows, &prices, &silences, &plan).zip(price::answer(&rows, &prices, &plan));
    let Some((note, (headline, answer))) = told else {
        stage.skip("this machine refused the ring, beside which all else is set");
        return Ok(());
    };
    stage.note(note);
    stage.headline(headline);
    stage.answer(answer);
    stage.advise(price::advice(&prices, &plan));
    Ok(())
}
