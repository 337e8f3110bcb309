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
    let got = format!("{} of {}", count(lost), count(tries));
    stage.fact("If both threads read before either writes, the total of 1 + 1 is 1", lost == tries, got);
    let one_after_the_other = |_: &u64| {
        let total = AtomicU64::new(0);
        (0..2).for_each(|_| together(1, || add_in_two_steps(&total, || ())));
        total.into_inner() != 2
    };
    let lost_in_order = (0..tries).filter(one_after_the_other).count() as u64;
    let got = format!("{} of {}", count(tries - lost_in_order), count(tries));
    stage.fact("If one thread adds after the other, the same code makes 2", lost_in_order == 0, got);
    Forced { tries, lost, lost_in_order }
}

/// What luck lost.
pub struct Luck {
    tries: u64,
    pub additions: u64,
    pub lost: u64,
}

impl Luck {
    pub fn in_words(&self) -> String {
        let Luck { tries, additions, lost } = self;
        if *lost == 0 {
            return format!("Luck alone lost none in {tries} tries");
        }
        format!("Luck alone lost {} %", three_digits(100.0 * *lost as f64 / *additions as f64))
    }
}

/// Returns what luck lost with nothing between the read and the write, and with a yield there.
pub fn try_luck(stage: &mut Stage) -> [Luck; 2] {
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
    [plain, yielding]
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

/// How many additions were sent to one fix, and how many are in its total.
pub struct Kept {
    pub by: &'static str,
    pub sent: u64,
    pub total: u64,
}

pub fn fix(stage: &mut Stage) -> Vec<Kept> {
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
        ("compare-exchange loop", exchanged.into_inner()),
        ("std Mutex", locked.into_inner().unwrap()),
        ("owning thread and channel", owner.join().unwrap()),
    ];
    let sent = THREADS as u64 * each;
    let keep = |(by, total)| {
        let says = format!("{by}: {THREADS} threads of {} additions make {}", count(each), count(sent));
        stage.fact(says, total == sent, count(total));
        Kept { by, sent, total }
    };
    totals.map(keep).into()
}
