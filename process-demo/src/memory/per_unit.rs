//! What does one more idle one take, by the slope over their number?

use anyhow::Result;
use nix::unistd::getpid;
use process_demo::memory_of::{self, Memory};
use shared::number::count;
use shared::stats::{Median, slope_by_round};
use shared::{Cell, Column, Stage, Table, refused};

use super::crowd::{Crowd, Kind};
use super::machine::Machine;

/// What one more takes of something, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Rss,
    Uss,
    Pss,
    PageTables,
    /// PSS and page tables together: what can be told of each process exactly.
    Weight,
    KernelStack,
    Kernel,
}

impl Figure {
    const ALL: [Figure; 7] = [
        Figure::Rss,
        Figure::Uss,
        Figure::Pss,
        Figure::PageTables,
        Figure::Weight,
        Figure::KernelStack,
        Figure::Kernel,
    ];

    fn label(self) -> &'static str {
        match self {
            Figure::Rss => "RSS",
            Figure::Uss => "USS",
            Figure::Pss => "PSS",
            Figure::PageTables => "page tables",
            Figure::Weight => "PSS + tables",
            Figure::KernelStack => "kernel stack*",
            Figure::Kernel => "all kernel*",
        }
    }

    /// A counter of the whole machine?
    fn is_shared_with_everybody(self) -> bool {
        matches!(self, Figure::KernelStack | Figure::Kernel)
    }
}

/// What was seen with so many of them.
#[derive(Clone, Copy)]
struct Sight {
    number: usize,
    /// Of the members, or of the process that holds the threads.
    members: Memory,
    /// Of this process: a fork shares it, and copies what this one writes later.
    own: Memory,
    machine: Machine,
}

impl Sight {
    fn bytes(&self, figure: Figure) -> f64 {
        let share = self.members.pss_bytes + self.own.pss_bytes;
        let bytes = match figure {
            Figure::Rss => self.members.rss_bytes,
            Figure::Uss => self.members.uss_bytes,
            Figure::Pss => share,
            Figure::PageTables => self.members.page_table_bytes,
            Figure::Weight => share + self.members.page_table_bytes,
            Figure::KernelStack => self.machine.kernel_stacks,
            Figure::Kernel => self.machine.kernel,
        };
        bytes as f64
    }
}

/// What was seen of each kind; or why it could not be made.
pub struct Units([(Kind, Result<Rounds, String>); 3]);

/// In each round, so many sights of a growing number.
type Rounds = Vec<Vec<Sight>>;

impl Units {
    /// What one more of them takes; none if there were none.
    pub fn slope(&self, kind: Kind, figure: Figure) -> Option<Median> {
        let (_, rounds) = self.0.iter().find(|(of, _)| *of == kind)?;
        let point = |sight: &Sight| (sight.number as f64, sight.bytes(figure));
        let rounds = rounds.as_ref().ok()?.iter().map(|sights| sights.iter().map(point).collect());
        Some(slope_by_round(&rounds.collect::<Vec<_>>()))
    }

    /// Its share of the memory and its page tables.
    pub fn weight(&self, kind: Kind) -> Option<Median> {
        self.slope(kind, Figure::Weight)
    }
}

pub fn show(stage: &mut Stage) -> Result<Units> {
    // Not from none: the first ones bring into memory what all later ones share.
    let sizes: &[usize] = stage.by_effort(&[4, 7, 10], &[10, 25, 50, 75, 100], &[10, 50, 100, 150, 200]);
    let rounds = stage.by_effort(6, 11, 21); // Six are the fewest with an interval.
    let (fewest, most) = (sizes[0], sizes[sizes.len() - 1]);
    stage.note(format!(
        "Idle threads, forked processes and programs (this one, started again) sleep in a read. Their number grows from \
         {fewest} to {most}, the memory is looked at meanwhile, and the slope is what one more takes: {rounds} rounds.",
    ));
    let mut units = Units(Kind::ALL.map(|kind| (kind, Ok(Vec::new()))));
    let (mut asleep, mut all) = (0, 0);
    for round in 0..rounds {
        // The kinds in turn, forwards and back: a drift of the machine's counters hits them alike. Their number only
        // grows: on the way down, the C library would keep the stacks of ended threads for later ones.
        let mut kinds: Vec<_> = units.0.iter_mut().collect();
        if round % 2 == 1 {
            kinds.reverse();
        }
        for (kind, seen) in kinds {
            let Ok(rounds) = seen else { continue };
            match grow(*kind, sizes, &mut asleep, &mut all) {
                Ok(sights) => rounds.push(sights),
                Err(error) => *seen = Err(refused(&error).ok_or(error)?),
            }
        }
    }
    let says = "Every one of them was asleep while its memory was looked at";
    stage.check(says, asleep == all, format!("{} of {}", count(asleep as u64), count(all as u64)));
    stage.show(in_short(&units));
    stage.table(table(&units));
    stage.note(
        "RSS counts each page that a process maps and that is in memory, USS only those that no other maps; PSS divides \
         each by the number of those who map it, so only PSS adds up. What is marked * is a counter of the whole machine, \
         which whatever else runs moves too. Free memory is no measure for so little: the kernel keeps a stock of pages \
         for each CPU and counts that as taken. glibc gives each of the first threads, up to eight for each CPU, an arena \
         of its own for what it allocates; the later ones share those and take less.",
    );
    Ok(units)
}

/// One round of one kind.
fn grow(kind: Kind, sizes: &[usize], asleep: &mut usize, all: &mut usize) -> Result<Vec<Sight>> {
    let mut crowd = Crowd::new(kind)?;
    let mut sights = Vec::with_capacity(sizes.len());
    for &number in sizes {
        crowd.grow_to(number)?;
        let machine = Machine::look()?;
        let (members, own) = (memory_of::of_family(&crowd.pids())?, memory_of::of(getpid())?);
        sights.push(Sight { number, members, own, machine });
        let (sleeping, there) = crowd.asleep();
        *asleep += sleeping;
        *all += there;
    }
    Ok(sights)
}

/// The figures that the verdicts look at.
fn in_short(units: &Units) -> Table {
    const FIGURES: [Figure; 3] = [Figure::Rss, Figure::Uss, Figure::Weight];
    let row = |(kind, seen): &(Kind, Result<Rounds, String>)| {
        let cells = FIGURES.map(|figure| match seen {
            Ok(_) => units.slope(*kind, figure).map_or(Cell::Nothing, |slope| Cell::Number(slope.value)),
            Err(why) if figure == Figure::Rss => Cell::Skipped { skipped: why.clone() },
            Err(_) => Cell::Nothing, // The reason stands in the first column.
        });
        [Cell::Text(kind.label().to_owned())].into_iter().chain(cells).collect()
    };
    let heads = ["resident (RSS)", "its own (USS)", "share (PSS) + page tables"];
    let heads = heads.map(|head| Column::value(head, "bytes"));
    Table {
        title: "What one more takes while it idles".to_owned(),
        columns: [Column::label("")].into_iter().chain(heads).collect(),
        rows: units.0.iter().map(row).collect(),
    }
}

fn table(units: &Units) -> Table {
    let head = Kind::ALL.map(|kind| Column::value(kind.label(), "bytes"));
    let row = |figure: Figure| {
        let cells = units.0.iter().map(|(kind, seen)| match seen {
            Ok(_) => units.slope(*kind, figure).map_or(Cell::Nothing, |slope| cell(figure, slope)),
            Err(why) if figure == Figure::Rss => Cell::Skipped { skipped: why.clone() },
            Err(_) => Cell::Nothing, // The reason stands in the first row.
        });
        [Cell::Text(figure.label().to_owned())].into_iter().chain(cells).collect()
    };
    Table {
        title: "The same in detail: the slope, and its 95 % interval".to_owned(),
        columns: [Column::label("")].into_iter().chain(head).collect(),
        rows: Figure::ALL.map(row).into(),
    }
}

fn cell(figure: Figure, slope: Median) -> Cell {
    let width = slope.low.zip(slope.high).map_or(0.0, |(low, high)| high - low);
    if figure.is_shared_with_everybody() && width > slope.value.abs() {
        return Cell::Word { says: "hidden by others".to_owned(), mood: shared::Mood::Neutral };
    }
    Cell::from(slope)
}
