//! What was seen of all failures, and how is it shown?

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};
use shared::{Cell, Column, Mood, Stage, Table, refused};

use super::failure::Failure;
use super::scene::{Core, End, Scene, in_a_process, in_a_thread, in_catch_unwind};
use super::siblings::SIBLINGS;

/// All failures, each in all scenes.
pub struct Survey {
    pub rows: Vec<Row>,
}

pub struct Row {
    pub failure: Failure,
    pub threads: Tried<Scene>,
    pub processes: Tried<Scene>,
    pub caught: Tried<End>,
}

/// What was seen, once in each round; or why the machine refused it.
pub struct Tried<T>(Result<Vec<T>, String>);

impl Survey {
    pub fn take(stage: &mut Stage, rounds: usize) -> Result<Survey> {
        stage.note(format!(
            "Three siblings keep an account each: they answer every payment with their balance. Beside them a fourth, the \
             victim, fails. A sibling that answers a further payment with the right balance has gone on. The four are \
             first threads of one process (the victim holds a mutex), then a process each. {}",
            if rounds == 1 { "Each failure strikes once." } else { "Each failure strikes several times." }
        ));
        let row = |failure| {
            Ok(Row {
                failure,
                threads: Tried::take(rounds, || in_a_thread(failure))?,
                processes: Tried::take(rounds, || in_a_process(failure))?,
                caught: Tried::take(rounds, || in_catch_unwind(failure))?,
            })
        };
        Ok(Survey { rows: Failure::ALL.into_iter().map(row).collect::<Result<_>>()? })
    }

    pub fn who_goes_on(&self) -> Table {
        let row = |row: &Row| {
            let (threads, processes) = (row.threads.survivors(), row.processes.survivors());
            vec![Cell::Text(row.failure.label().to_owned()), threads, processes, row.caught.was_it()]
        };
        Table {
            title: "Siblings that go on after a failure".to_owned(),
            columns: vec![
                Column::label("failure"),
                Column::value("sibling threads", ""),
                Column::value("sibling processes", ""),
                Column::value("catch_unwind", ""),
            ],
            rows: self.rows.iter().map(row).collect(),
        }
    }

    pub fn how_it_ended(&self) -> Table {
        let row = |row: &Row| {
            vec![
                Cell::Text(row.failure.label().to_owned()),
                row.threads.ends(|scene| scene.end),
                row.processes.ends(|scene| scene.end),
                row.caught.ends(|end| *end),
            ]
        };
        Table {
            title: "How the victim ended".to_owned(),
            columns: vec![
                Column::label("failure"),
                Column::value("beside threads", ""),
                Column::value("beside processes", ""),
                Column::value("inside catch_unwind", ""),
            ],
            rows: self.rows.iter().map(row).collect(),
        }
    }

    pub fn tell_facts(&self, stage: &mut Stage) -> Result<()> {
        let scenes = || self.rows.iter().flat_map(|row| [&row.threads, &row.processes]).flat_map(Tried::seen);
        let ends = || {
            let caught = self.rows.iter().flat_map(|row| row.caught.seen()).copied();
            scenes().map(|scene| scene.end).chain(caught)
        };
        let (asked, answered) = (scenes().count() * SIBLINGS, scenes().map(|scene| scene.before).sum::<usize>());
        let says = "Before the failure, every sibling answers";
        stage.check(says, answered == asked, format!("{answered} of {asked}"));
        let (tried, came_back) = (ends().count(), ends().filter(|end| *end == End::CameBack).count());
        let says = "Every failure really happens: no victim runs past it";
        stage.check(says, came_back == 0, format!("{} of {tried}", tried - came_back));
        let processes = || self.rows.iter().flat_map(|row| row.processes.seen());
        let (of_all, went_on) = (processes().count() * SIBLINGS, processes().map(|scene| scene.after).sum::<usize>());
        let says = "After a failure in a process, every sibling process still answers with the right balance";
        stage.fact(says, went_on == of_all, format!("{went_on} of {of_all}"));
        let dumped = ends().filter(|end| matches!(end, End::ProcessEnded { core: Core::Dumped, .. })).count();
        let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
        let got = format!("{dumped} dumps; the limit is {soft} bytes, {hard} at most");
        stage.check("No victim dumps core: its limit is 0", dumped == 0 && (soft, hard) == (0, 0), got);
        Ok(())
    }
}

impl<T> Tried<T> {
    fn take(rounds: usize, strike: impl Fn() -> Result<T>) -> Result<Tried<T>> {
        match (0..rounds).map(|_| strike()).collect::<Result<Vec<T>>>() {
            Ok(seen) => Ok(Tried(Ok(seen))),
            Err(error) => refused(&error).map(|why| Tried(Err(why))).ok_or(error),
        }
    }

    pub fn was_tried(&self) -> bool {
        self.0.is_ok()
    }

    fn seen(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// Every end that was seen, each once.
    fn ends(&self, end: impl Fn(&T) -> End) -> Cell {
        let mut words: Vec<String> = Vec::new();
        for word in self.seen().map(|seen| end(seen).to_string()) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        match &self.0 {
            Ok(_) => Cell::Text(words.join(", or ")),
            Err(why) => Cell::Skipped { skipped: why.clone() },
        }
    }

    /// Of the table that is always shown: it has no room for why something was not tried.
    fn cell(&self, says: impl Into<String>, mood: Mood) -> Cell {
        if self.was_tried() { Cell::Word { says: says.into(), mood } } else { Cell::Text("not tried".to_owned()) }
    }
}

impl Tried<Scene> {
    pub fn siblings(&self) -> usize {
        self.seen().count() * SIBLINGS
    }

    pub fn went_on(&self) -> usize {
        self.seen().map(|scene| scene.after).sum()
    }

    pub fn all_went_on(&self) -> bool {
        self.was_tried() && self.went_on() == self.siblings()
    }

    pub fn none_went_on(&self) -> bool {
        self.was_tried() && self.went_on() == 0
    }

    fn survivors(&self) -> Cell {
        let mood = if self.all_went_on() { Mood::Good } else { Mood::Bad };
        self.cell(format!("{} of {}", self.went_on(), self.siblings()), mood)
    }
}

impl Tried<End> {
    pub fn always_caught(&self) -> bool {
        self.was_tried() && self.seen().all(|end| *end == End::Caught)
    }

    fn was_it(&self) -> Cell {
        let caught = self.seen().filter(|end| **end == End::Caught).count();
        let (says, mood) = match caught {
            0 => ("no", Mood::Bad),
            _ if self.always_caught() => ("caught", Mood::Good),
            _ => ("sometimes", Mood::Bad),
        };
        self.cell(says, mood)
    }
}
