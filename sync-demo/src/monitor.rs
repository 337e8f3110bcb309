//! Why does a condition variable need its loop, and its lock?

mod waiter;

use std::iter;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use nix::libc;
use process_demo::asleep::{Sleep, look_until};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use shared::measure::SystemClock;
use shared::number::count;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table};
use sync_demo::bounded_buffer::BoundedBuffer;

use waiter::{Buffer, Careless, PATIENCE, look, put, take};

pub const DEMO: Demo = Demo {
    name: "monitor",
    question: "Why does a condition variable need its loop, and its lock?",
    claims: &[Claim::ThreadsUseLocks, Claim::OtherSyncProblems],
    rule: "That threads use locks and condition variables holds if a buffer of both lost no item and no wake-up, in a \
           crowd and under two forced schedules; else it is refuted. That there are other synchronization problems \
           holds if both mistakes went wrong at every try, and the right buffer under the same schedule at none. It \
           is refuted if neither mistake ever did. Anything else is undecided.",
    extras: Extras::NONE,
    snippets: &[Snippet {
        path: "sync-demo/snippets/bounded_buffer.rs",
        text: include_str!("../snippets/bounded_buffer.rs"),
    }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note("Each step of a schedule is over, or its waiter seen asleep in futex(2), before the next is taken.");
    let no_loop = Careless { locks: true, ..Careless::default() };
    let no_lock = Careless { loops: true, ..Careless::default() };
    let right = BoundedBuffer::new(2);
    let tries = stage.by_effort(5, 50, 200);
    let outcomes = [steal(&no_loop, tries)?, steal(&right, tries)?, lose(&no_lock, tries)?, lose(&right, tries)?];
    let waiters = ["two for one item, if", "two for one item, while", "looks, then locks", "locks, then looks"];
    let wrong = |times: u64| if times == 0 { Cell::good("0") } else { Cell::bad(count(times)) };
    let row = |(waiter, seen): (&str, &Outcome)| {
        vec![waiter.into(), tries.into(), wrong(seen.empty_handed), wrong(seen.beside_an_item)]
    };
    let columns = ["how it waits", "tries", "woke to nothing", "slept beside an item"];
    stage.show(Table::new("What became of the wake-ups", columns, waiters.into_iter().zip(&outcomes).map(row)));
    conclude(stage, tries, &outcomes)
}

/// What became of all tries of one schedule at one buffer.
#[derive(Default)]
struct Outcome {
    /// Waiters that came back without an item.
    empty_handed: u64,
    /// Waiters that were woken, found none, and slept again.
    slept_again: u64,
    /// Waiters that slept while there was an item.
    beside_an_item: u64,
    /// Waiters that got an item, perhaps only when a further one came.
    served: u64,
}

impl Outcome {
    fn got(&mut self, item: u64) {
        let such = if item == 0 { &mut self.empty_handed } else { &mut self.served };
        *such += 1;
    }
}

/// Two consumers sleep; one item comes, and both are woken: one of them finds it taken.
fn steal(buffer: &dyn Buffer, tries: u64) -> Result<Outcome> {
    let mut seen = Outcome::default();
    let mut crew = Crew::of(Kind::Threads, 3, || Ok(buffer))?;
    let producer = 2;
    for _ in 0..tries {
        let mut asleep = Vec::new();
        for consumer in 0..2 {
            crew.tell(consumer, take, NOTHING);
            asleep.push(crew.hear_or_see_asleep(consumer, SystemClock)?.err().context("it took from nothing")?);
        }
        crew.ask(producer, put, NOTHING)?.value()?;
        let settled = [0, 1].map(|consumer| settle(&mut crew, consumer, asleep[consumer]));
        for (consumer, settled) in settled.into_iter().enumerate() {
            match settled? {
                Ok(item) => seen.got(item),
                Err(sleep) => {
                    seen.slept_again += u64::from(sleep != asleep[consumer]);
                    crew.ask(producer, put, NOTHING)?.value()?;
                    seen.got(crew.hear(consumer)?.value()?);
                }
            }
        }
    }
    Ok(seen)
}

/// A consumer looks, an item comes, and only then may the consumer sleep: nobody wakes it for that item.
fn lose(buffer: &dyn Buffer, tries: u64) -> Result<Outcome> {
    let mut seen = Outcome::default();
    let mut crew = Crew::of(Kind::Threads, 2, || Ok(buffer))?;
    let (consumer, producer) = (0, 1);
    for _ in 0..tries {
        let saw = crew.ask(consumer, look, NOTHING)?.value()?;
        crew.ask(producer, put, NOTHING)?.value()?;
        crew.tell(consumer, take, [saw, 0, 0]);
        match crew.hear_or_see_asleep(consumer, SystemClock)? {
            Ok(reply) => seen.got(reply.value()?),
            Err(_) => {
                let items = crew.ask(producer, look, NOTHING)?.value()?;
                let sleeps_on = crew.sleeps_in(consumer, libc::SYS_futex) == Some(true);
                seen.beside_an_item += u64::from(sleeps_on && items == 1);
                crew.ask(producer, put, NOTHING)?.value()?;
                seen.got(crew.hear(consumer)?.value()?);
                crew.ask(producer, take, [1, 0, 0])?.value()?; // It saw one; each try begins with none.
            }
        }
    }
    Ok(seen)
}

/// What a consumer got that was asleep before; or its sleep, which is another one if it was woken.
fn settle(crew: &mut Crew<&dyn Buffer>, consumer: usize, before: Sleep) -> Result<Result<u64, Sleep>> {
    let word = |sleep: Sleep| sleep.call.map(|call| call.arguments[0]);
    let look = || -> Result<_> {
        Ok(match crew.hear_or_see_asleep(consumer, SystemClock)? {
            Ok(reply) => Some(Ok(reply.value()?)),
            // For a moment it may sleep on the lock, which is another word.
            Err(sleep) => (word(sleep) == word(before)).then_some(Err(sleep)),
        })
    };
    look_until(SystemClock, look)?.context("a consumer that was woken neither answered nor slept")
}

const CAPACITY: u64 = 4;
const PRODUCERS: usize = 3; // And as many consumers.

/// A buffer, and whether each item has arrived.
struct Store {
    buffer: BoundedBuffer<u64>,
    arrived: Vec<AtomicBool>,
}

/// The producers come first, until all of them sleep beside a full buffer; then the consumers. Returns how many items
/// there were, and how many arrived once.
fn let_in_a_crowd(stage: &mut Stage) -> Result<[u64; 2]> {
    let each = stage.by_effort(500, 10_000, 50_000);
    let items = PRODUCERS as u64 * each;
    let arrived = (0..items).map(|_| AtomicBool::new(false)).collect();
    let store = Store { buffer: BoundedBuffer::new(CAPACITY as usize), arrived };
    let mut crew = Crew::of(Kind::Threads, 2 * PRODUCERS, || Ok(&store))?;
    let mut asleep = 0;
    for producer in 0..PRODUCERS {
        crew.tell(producer, produce, [producer as u64 * each, each, 0]);
        asleep += usize::from(crew.hear_or_see_asleep(producer, SystemClock)?.is_err());
    }
    let held = crew.ask(PRODUCERS, |store, _| Ok(store.buffer.len() as u64), NOTHING)?.value()?;
    (PRODUCERS..2 * PRODUCERS).for_each(|consumer| crew.tell(consumer, consume, NOTHING));
    let most = (0..PRODUCERS).try_fold(held, |most, producer| hear(&mut crew, producer).map(|seen| most.max(seen)))?;
    crew.ask(0, close, NOTHING)?.value()?;
    let once = (PRODUCERS..2 * PRODUCERS).map(|consumer| hear(&mut crew, consumer)).sum::<Result<u64>>()?;
    let got = format!("{asleep} asleep beside {held}, {most} at most");
    let says = format!("{PRODUCERS} producers fill a buffer of {CAPACITY} and sleep; it never holds more");
    stage.fact(says, (asleep, held, most) == (PRODUCERS, CAPACITY, CAPACITY), got);
    stage.all("Every item arrives once", once as usize, items as usize);
    Ok([items, once])
}

fn hear(crew: &mut Crew<&Store>, worker: usize) -> Result<u64> {
    crew.hear_within(worker, PATIENCE)?.context("the crowd was not done in ten seconds")?.value()
}

/// Returns the most that it ever saw in the buffer.
fn produce(store: &mut &Store, [first, items, _]: Arguments) -> Result<u64> {
    let pushed = (first..first + items).map_while(|item| store.buffer.push_within(item, PATIENCE).ok());
    Ok(pushed.map(|()| store.buffer.len() as u64).max().unwrap_or(0))
}

/// Until the buffer is closed; returns how many items it took.
fn consume(store: &mut &Store, _: Arguments) -> Result<u64> {
    iter::from_fn(|| store.buffer.pop_within(PATIENCE).ok()).try_fold(0, |taken, item| {
        ensure!(!store.arrived[item as usize].swap(true, Relaxed), "the item {item} arrived twice");
        Ok(taken + 1)
    })
}

fn close(store: &mut &Store, _: Arguments) -> Result<u64> {
    store.buffer.close();
    Ok(0)
}

fn conclude(stage: &mut Stage, tries: u64, outcomes: &[Outcome; 4]) -> Result<()> {
    let [no_loop, looped, no_lock, locked] = outcomes;
    for (says, times) in [
        ("By if, one of two woken for one item comes back with nothing", no_loop.empty_handed),
        ("By while, it looks again and sleeps again", looped.slept_again),
        ("By while, both get an item once a second one comes", looped.served / 2),
        ("Who looked before it locked sleeps in futex(2) beside an item", no_lock.beside_an_item),
        ("It is woken by the next item", no_lock.served),
        ("Who looks under the lock gets the item at once", locked.served.saturating_sub(locked.beside_an_item)),
    ] {
        stage.all(says, times as usize, tries as usize);
    }
    let [items, once] = let_in_a_crowd(stage)?;
    let wrong: u64 = [looped, locked].iter().map(|right| right.empty_handed + right.beside_an_item).sum();
    let of = |times: u64, all: u64| format!("{} of {}", count(times), count(all));
    let [nothing, asleep] = [no_loop.empty_handed, no_lock.beside_an_item].map(|times| of(times, tries));
    let kept = format!("{} items arrived once", of(once, items));
    let used = if wrong == 0 && once == items { Ruling::holds } else { Ruling::refuted };
    let used = used(format!("With loop and lock {wrong} wake-ups went wrong, and {kept}"));
    stage.rule(Claim::ThreadsUseLocks, used)?;
    let found = format!("Without the loop {nothing} woke to nothing, without the lock {asleep} slept beside an item");
    let problems = match (wrong, no_loop.empty_handed, no_lock.beside_an_item) {
        (0, stolen, lost) if [stolen, lost] == [tries; 2] => Ruling::holds(found),
        (0, 0, 0) => Ruling::refuted(found),
        _ => Ruling::undecided(format!("{found}, and with both {wrong} went wrong")),
    };
    stage.rule(Claim::OtherSyncProblems, problems.by(no_lock.beside_an_item as f64, "asleep beside an item"))?;
    stage.headline(format!("{asleep} waiters slept beside an item"));
    stage.answer(format!(
        "Without the loop, {nothing} wake to nothing. Without the lock, {asleep} sleep beside an item. With both, {kept}."
    ));
    stage.advise("Wait by wait_while, look under the lock: copy `bounded_buffer`.");
    Ok(())
}
