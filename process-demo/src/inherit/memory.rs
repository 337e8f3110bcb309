//! Is memory that the maker wrote there, and is it the same memory?

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use nix::libc;
use process_demo::page::Page;

use super::thing::{How, InTurn, NOWHERE, Places, Thing};

pub const GLOBAL: Thing = Thing {
    name: "global variable",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| Some(VALUE.load(Relaxed)), // The line between the two orders the stores.
        change: |_, value| {
            VALUE.store(value, Relaxed);
            Ok(())
        },
    }),
};

static VALUE: AtomicU64 = AtomicU64::new(0);

pub const THREAD_LOCAL: Thing = Thing {
    name: "thread-local variable",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| Some(LOCAL.get()),
        change: |_, value| {
            LOCAL.set(value);
            Ok(())
        },
    }),
};

thread_local! {
    static LOCAL: Cell<u64> = const { Cell::new(0) };
}

pub const HEAP: Thing = at_address("heap", |_| {
    let word: &'static AtomicU64 = Box::leak(Box::default());
    Ok([(&raw const *word).addr() as u64, 0])
});

pub const PRIVATE_MAPPING: Thing =
    at_address("private mapping", |_| keep(Page::copied_by_fork().context("mapping a page")?));

pub const SHARED_MAPPING: Thing =
    at_address("shared mapping", |_| keep(Page::shared_by_fork().context("mapping a shared page")?));

const fn at_address(name: &'static str, set_up: fn(&super::thing::Site) -> Result<Places>) -> Thing {
    Thing {
        name,
        how: How::InTurn(InTurn {
            set_up,
            look: |places| peek(places[0]),
            change: |places, value| poke(places[0], value),
        }),
    }
}

/// Mapped as long as the maker lives.
fn keep(page: Page) -> Result<Places> {
    let place = page.address() as u64;
    std::mem::forget(page);
    Ok([place, 0])
}

/// The value at an address, which need not be mapped: the kernel reads it, and refuses where nothing is. None also where
/// something else is, of a new program.
pub fn peek(address: u64) -> Option<u64> {
    let (mut reader, writer) = io::pipe().ok()?;
    let from = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the kernel checks the address and only reads from it; the whole word fits into an empty pipe.
    let count = unsafe { libc::write(writer.as_raw_fd(), from, size_of::<u64>()) };
    if count != size_of::<u64>() as isize {
        return None;
    }
    let mut word = [0; size_of::<u64>()];
    reader.read_exact(&mut word).ok()?;
    u64::from_ne_bytes(word).checked_sub(MARK).filter(|value| *value < 10)
}

/// Only where `peek` saw a value, or where the maker has just made room for one.
pub fn poke(address: u64, value: u64) -> io::Result<()> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(&(MARK + value).to_ne_bytes())?;
    let to = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: a word made for this lies there, used by nobody else while the other side waits.
    let count = unsafe { libc::read(reader.as_raw_fd(), to, size_of::<u64>()) };
    if count == size_of::<u64>() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const MARK: u64 = 0x7e57_ab1e_0dd5_0000; // What a new program would not have at the same address by chance.
