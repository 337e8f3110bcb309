//! Why is a line that was printed once seen twice?

mod endings;
mod writers;

use anyhow::Result;
use shared::{Cell, Column, Demo, Extras, Mood, Snippet, Stage, Table, refused};

use endings::{Ending, Output, count};
use writers::Writer;

pub const DEMO: Demo = Demo {
    name: "stdio",
    question: "Why is a line that was printed once seen twice?",
    claims: &[],
    rule: "It answers no claim. What arrives is counted until no process is left that could print.",
    extras: Extras::NONE,
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

/// How often each line was seen, by its writer and the child's ending.
type Counts = [[usize; Ending::ALL.len()]; Writer::ALL.len()];

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(
        "A process prints once and forks. Its child does nothing but end, by one of four endings; then the process itself \
         ends as by a return from main. The table says how often the line arrives.",
    );
    let pipe = all(Output::Pipe)?;
    stage.show(table("How often the line arrives in a pipe, if the child ends by", &pipe, &Writer::ALL));
    let terminal = match all(Output::Terminal) {
        Ok(counts) => Some(counts),
        Err(error) => match refused(&error) {
            Some(why) => {
                stage.note(format!("There is no terminal to print to here: {why}."));
                None
            }
            None => return Err(error),
        },
    };
    if let Some(terminal) = &terminal {
        let others: Vec<Writer> = Writer::ALL.into_iter().filter(|one| of(terminal, *one) != of(&pipe, *one)).collect();
        match others.as_slice() {
            [] => stage.note("On a terminal all of it is the same."),
            others => stage.table(table("On a terminal, where all else is as in a pipe", terminal, others)),
        }
    }
    check(stage, &pipe, terminal.as_ref());
    let twice = |ending: &Ending| {
        let seen = [&pipe].into_iter().chain(&terminal).flat_map(|counts| of_ending(counts, *ending));
        seen.filter(|count| *count == 2).count()
    };
    let seen = Ending::ALL.len() * Writer::ALL.len() * if terminal.is_some() { 2 } else { 1 };
    let (directly, often) = (twice(&Ending::Directly), Ending::ALL.iter().map(twice).sum::<usize>());
    stage.headline(format!("{often} of {seen} lines came twice, {directly} by _exit"));
    stage.answer(format!(
        "Because a fork copies what waits in a buffer, destructor or exit handler, and both processes print it. It \
         happened in {often} of {seen} cases, in {directly} with _exit."
    ));
    stage.advise("Flush before a fork, and end the child by _exit, as `child` does.");
    Ok(())
}

fn all(output: Output) -> Result<Counts> {
    let mut counts = Counts::default();
    for (writer, row) in Writer::ALL.into_iter().zip(&mut counts) {
        for (ending, cell) in Ending::ALL.into_iter().zip(row) {
            *cell = count(writer, output, ending)?;
        }
    }
    Ok(counts)
}

fn table(title: &str, counts: &Counts, writers: &[Writer]) -> Table {
    let cell = |count: &usize| match count {
        1 => Cell::Word { says: "once".to_owned(), mood: Mood::Good },
        2 => Cell::Word { says: "twice".to_owned(), mood: Mood::Bad },
        count => Cell::Word { says: format!("{count} times"), mood: Mood::Bad },
    };
    let row = |writer: &Writer| {
        [Cell::Text(writer.name().to_owned())].into_iter().chain(of(counts, *writer).iter().map(cell)).collect()
    };
    Table {
        title: title.to_owned(),
        columns: [Column::label("printed by")]
            .into_iter()
            .chain(Ending::ALL.map(|ending| Column::value(ending.name(), "")))
            .collect(),
        rows: writers.iter().map(row).collect(),
    }
}

fn check(stage: &mut Stage, pipe: &Counts, terminal: Option<&Counts>) {
    let mut expect = |says: &str, counts: &[usize], due: &[usize]| {
        let often = |times| counts.iter().filter(|count| **count == times).count();
        let got = format!("once in {} of {}, twice in {}", often(1), counts.len(), often(2));
        stage.fact(says, counts == due, got);
    };
    expect("What waits in no buffer arrives once, however the child ends", of(pipe, Writer::Write), &[1; 4]);
    expect("A child that ends by _exit writes nothing again", &of_ending(pipe, Ending::Directly), &[1; 9]);
    let says = "In a pipe, a line by C's printf arrives twice, unless the child ends by _exit";
    expect(says, of(pipe, Writer::CLine), &[1, 2, 2, 2]);
    if let Some(terminal) = terminal {
        let says = "On a terminal it arrives once: there C writes each line at once";
        expect(says, of(terminal, Writer::CLine), &[1; 4]);
        let says = "Half a line arrives twice on a terminal too, unless the child ends by _exit";
        expect(says, of(terminal, Writer::CHalf), &[1, 2, 2, 2]);
    }
    expect("A line that is flushed before the fork arrives once", of(pipe, Writer::CFlushed), &[1; 4]);
    expect("A destructor runs twice only if the child returns", of(pipe, Writer::Destructor), &[1, 1, 1, 2]);
    expect("An exit handler runs twice, unless the child ends by _exit", of(pipe, Writer::ExitHandler), &[1, 2, 2, 2]);
}

fn of(counts: &Counts, writer: Writer) -> &[usize] {
    &counts[writer as usize]
}

fn of_ending(counts: &Counts, ending: Ending) -> Vec<usize> {
    counts.iter().map(|row| row[ending as usize]).collect()
}
