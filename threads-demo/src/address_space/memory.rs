//! Which variables of one thread does another see?

use std::cell::Cell as ThreadCell;
use std::ptr::from_ref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use shared::{Cell, Claim, Stage, Table};

use super::{Part, Whose, address, columns, shared_by_count};

// What becomes of a static and of a thread-local is the question, so there must be one of each.
static STATIC: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static THREAD_LOCAL: ThreadCell<u64> = const { ThreadCell::new(0) };
}

/// One variable as two threads met it: the first wrote 1, the second read and wrote 2, the first read again.
struct Variable {
    name: &'static str,
    addresses: [usize; 2],
    second_read: u64,
    first_read: u64,
}

pub(super) fn show(stage: &mut Stage) -> Result<[Part; 3]> {
    let variables = meet()?;
    let row = |variable: &Variable| {
        let Variable { name, addresses, second_read, first_read } = variable;
        let [first, second] = addresses.map(address);
        let reads = [*second_read, *first_read].map(|read| Cell::Number(read as f64));
        [Cell::Text((*name).to_owned()), first, second].into_iter().chain(reads).collect()
    };
    stage.table(Table {
        title: "The first writes 1, the second reads it and writes 2, the first reads it".to_owned(),
        columns: columns(&["variable", "at, in first", "at, in second", "second read", "first read"]),
        rows: variables.iter().map(row).collect(),
    });
    let parts = variables.map(Variable::into_part);
    let [heap, statics, local] = &parts;
    let shared = [heap, statics].iter().filter(|part| part.whose == Whose::Shared).count();
    let got = format!("{shared} of 2 at one address, and each thread read what the other wrote");
    stage.fact("The heap and statics are shared", shared == 2, got);
    stage.fact("A thread-local is each thread's own", local.whose == Whose::Own, &local.seen);
    let locals = match local.whose {
        Whose::Shared => "thread-locals are too",
        Whose::Own => "thread-locals are not",
        Whose::Unclear => "of thread-locals it is unclear",
    };
    let because = format!("{shared} of 2 kinds (heap, statics) are shared; {locals}");
    stage.rule(Claim::ThreadsShareMemory, shared_by_count(&parts[..2], because))?;
    Ok(parts)
}

impl Variable {
    fn is_shared(&self) -> bool {
        self.addresses[0] == self.addresses[1] && (self.second_read, self.first_read) == (1, 2)
    }

    fn is_own(&self) -> bool {
        self.addresses[0] != self.addresses[1] && (self.second_read, self.first_read) == (0, 1)
    }

    fn into_part(self) -> Part {
        let whose = match (self.is_shared(), self.is_own()) {
            (true, _) => Whose::Shared,
            (_, true) => Whose::Own,
            _ => Whose::Unclear,
        };
        let seen = format!("the first wrote 1, the second read {}", self.second_read);
        Part { name: self.name, whose, seen }
    }
}

fn meet() -> Result<[Variable; 3]> {
    let heap = Box::new(AtomicU64::new(0));
    heap.store(1, Relaxed); // Starting the thread publishes all three, and its join what it wrote.
    STATIC.store(1, Relaxed);
    THREAD_LOCAL.set(1);
    let first = addresses(&heap);
    let second = || {
        let read = [heap.swap(2, Relaxed), STATIC.swap(2, Relaxed), THREAD_LOCAL.replace(2)];
        (addresses(&heap), read)
    };
    let (second, second_read) = thread::scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, second).context("starting a second thread")?;
        anyhow::Ok(thread.join().expect("three swaps do not panic"))
    })?;
    let first_read = [heap.load(Relaxed), STATIC.load(Relaxed), THREAD_LOCAL.get()];
    let variable = |name, index: usize| Variable {
        name,
        addresses: [first[index], second[index]],
        second_read: second_read[index],
        first_read: first_read[index],
    };
    Ok([variable("heap", 0), variable("statics", 1), variable("thread-locals", 2)])
}

/// Where the calling thread finds each variable.
fn addresses(heap: &AtomicU64) -> [usize; 3] {
    [from_ref(heap).addr(), from_ref(&STATIC).addr(), THREAD_LOCAL.with(|own| from_ref(own).addr())]
}
