//! What becomes of two threads' additions: in a forced order, by luck, and with each fix?

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread;

use race_demo::lost_update::{
    add_at_once, add_by_compare_exchange, add_in_two_steps, add_locked, lost, lost_by_luck, together,
};
use race_demo::owned_counter;
use shared::number::{count, three_digits};
use shared::{Cell, Column, Stage, Table};

/// How many tries gave one, and how many other than two when nothing overlapped.
pub struct Forced {
    pub tries: u64,
    pub lost: u64,
    pub lost_in_order: u64,
}

pub fn force(stage: &mut Stage) -> Forced {
    let tries = stage.by_effort(200, 1000, 10_000);
    let lost = (0..tries).filter(|_| lost() == 1).count() as u64;
    let says = format!("a barrier after both reads and before either write: all {tries} totals of 1 + 1 are 1");
    stage.fact(says, lost == tries, format!("{lost} totals of 1"));
    let one_after_the_other = |_: &u64| {
        let total = AtomicU64::new(0);
        (0..2).for_each(|_| together(1, || add_in_two_steps(&total, || ())));
        total.into_inner() != 2
    };
    let lost_in_order = (0..tries).filter(one_after_the_other).count() as u64;
    let says = format!("the same code, the second thread after the first: all {tries} totals are 2");
    stage.fact(says, lost_in_order == 0, format!("{} totals of 2", tries - lost_in_order));
    Forced { tries, lost, lost_in_order }
}

/// What luck lost.
pub struct Luck {
    tries: u64,
    additions: u64,
    pub lost: u64,
}

impl Luck {
    pub fn in_words(&self) -> String {
        let Luck { tries, additions, lost } = self;
        if *lost == 0 {
            return format!("by luck alone it was not seen in {tries} tries");
        }
        let share = three_digits(100.0 * *lost as f64 / *additions as f64);
        format!("by luck alone {share} % of {} additions vanished", count(*additions))
    }
}

/// Returns what luck lost with nothing between the read and the write, and with a yield there.
pub fn try_luck(stage: &mut Stage) -> (Luck, Luck) {
    stage.note(
        "Now without the barrier: nothing makes the two threads meet but luck. To yield between read and write widens \
         the window.",
    );
    let (tries, each) = stage.by_effort((20, 100_000), (200, 1_000_000), (2000, 1_000_000));
    let (plain, plain_row) = repeat("read, write", tries, each, || ());
    let (yielding, yielding_row) = repeat("read, yield, write", tries, each / 200, thread::yield_now);
    let counts = ["tries", "that lost", "first at", "additions", "lost"].map(|name| Column::value(name, ""));
    let columns = [Column::label("steps")].into_iter().chain(counts).chain([Column::value("share", "%")]);
    let rows = vec![plain_row, yielding_row];
    stage.table(Table { title: "Two threads, by luck".to_owned(), columns: columns.collect(), rows });
    if plain.lost == 0 {
        stage.note(
            "Luck alone was not enough. On one CPU it takes a preemption between the read and the write, and where the \
             compiler makes one instruction of the two, nothing comes between.",
        );
    }
    (plain, yielding)
}

/// Tries so many times, and if nothing was lost goes on up to ten times as long.
fn repeat(label: &str, tries: u64, each: u64, meanwhile: impl Fn() + Sync) -> (Luck, Vec<Cell>) {
    let (mut done, mut that_lost, mut first, mut lost) = (0, 0, None, 0);
    while done < tries || (lost == 0 && done < 10 * tries) {
        let vanished = lost_by_luck(each, &meanwhile);
        done += 1;
        if vanished > 0 {
            that_lost += 1;
            first.get_or_insert(done as f64);
        }
        lost += vanished;
    }
    let additions = 2 * each * done;
    let row = vec![
        Cell::Text(label.to_owned()),
        Cell::Number(done as f64),
        Cell::Number(that_lost as f64),
        first.map_or(Cell::Nothing, Cell::Number),
        Cell::Number(additions as f64),
        Cell::Number(lost as f64),
        Cell::Number(100.0 * lost as f64 / additions as f64),
    ];
    (Luck { tries: done, additions, lost }, row)
}

pub const THREADS: usize = 4; // More than most pairs of CPUs hold, so that some are always switched out.

/// How many additions were sent, and how many are in the totals.
pub struct Kept {
    pub sent: u64,
    pub total: u64,
}

pub fn fix(stage: &mut Stage) -> Kept {
    let each: u64 = stage.by_effort(5_000, 100_000, 1_000_000);
    let number = AtomicU64::new(0);
    together(THREADS, || (0..each).for_each(|_| add_at_once(&number)));
    let exchanged = AtomicU64::new(0);
    together(THREADS, || (0..each).for_each(|_| add_by_compare_exchange(&exchanged)));
    let locked = Mutex::new(0);
    together(THREADS, || (0..each).for_each(|_| add_locked(&locked)));
    let (owned, owner) = owned_counter::start();
    together(THREADS, || (0..each).for_each(|_| owned.add(1)));
    drop(owned); // The owner adds up what is left and ends.
    let totals = [
        ("fetch_add", number.into_inner()),
        ("a compare-exchange loop", exchanged.into_inner()),
        ("a mutex", locked.into_inner().unwrap()),
        ("an owning thread and a channel", owner.join().unwrap()),
    ];
    let sent = THREADS as u64 * each;
    for (name, total) in totals {
        let says = format!("{name}: {THREADS} threads of {} additions make {}", count(each), count(sent));
        stage.fact(says, total == sent, count(total));
    }
    Kept { sent: sent * totals.len() as u64, total: totals.iter().map(|(_, total)| total).sum() }
}
