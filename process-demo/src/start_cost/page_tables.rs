//! How many page tables are there for one thread, one forked child, one program more?

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread::{self, Builder};

use anyhow::{Context, Result};
use nix::unistd::{Pid, getpid};
use shared::{Cell, Column, Table};

use super::counted::skipped;
use super::kernel::page_table_bytes;
use super::starter::page_tables_of_a_child;

/// The bytes of page tables that there are while one more is alive.
pub struct PageTables {
    own: Result<u64>,
    pub thread: Result<u64>,
    pub fork: Result<u64>,
    program: Result<u64>,
}

impl PageTables {
    pub fn of_one_more() -> PageTables {
        PageTables {
            own: page_table_bytes(getpid()),
            thread: more_with_a_thread(),
            fork: page_tables_of_a_child(),
            program: page_tables_of_a_program(),
        }
    }

    pub fn table(&self) -> Table {
        let row = |what: &str, bytes: &Result<u64>| {
            let bytes = bytes.as_ref().map_or_else(skipped, |&bytes| Cell::Number(bytes as f64));
            vec![Cell::Text(what.to_owned()), bytes]
        };
        Table {
            title: "Page tables of one more, while it is alive".to_owned(),
            columns: vec![Column::label("of"), Column::value("page tables", "bytes")],
            rows: vec![
                row("this process", &self.own),
                row("one thread more in it", &self.thread),
                row("a forked child", &self.fork),
                row("a program ('cat') by std Command", &self.program),
            ],
        }
    }
}

fn more_with_a_thread() -> Result<u64> {
    let before = page_table_bytes(getpid())?;
    let meeting = Barrier::new(2);
    thread::scope(|scope| {
        let wait = || {
            meeting.wait(); // It is alive,
            meeting.wait(); // and stays so until it has been looked at.
        };
        let waiting = Builder::new().spawn_scoped(scope, wait).context("starting a thread")?;
        meeting.wait();
        let with_it = page_table_bytes(getpid());
        meeting.wait();
        waiting.join().unwrap();
        Ok(with_it?.saturating_sub(before))
    })
}

fn page_tables_of_a_program() -> Result<u64> {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cat")?;
    let (to_cat, from_cat) = (cat.stdin.take(), cat.stdout.take());
    let (mut to_cat, mut from_cat) = to_cat.zip(from_cat).context("both pipes were asked for")?;
    to_cat.write_all(&[1])?;
    from_cat.read_exact(&mut [0])?; // It has echoed the byte: it runs, and waits for the next.
    let bytes = page_table_bytes(Pid::from_raw(cat.id() as i32));
    drop(to_cat); // The end of its input is its end.
    cat.wait()?;
    bytes
}
