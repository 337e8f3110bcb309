//! A process that holds so much memory and makes children when it is asked to.

use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use process_demo::child::{self, Child};
use process_demo::resident::Resident;
use process_demo::start;

use super::kernel::{page_faults, page_table_bytes};
use super::ways;

/// It lives until this is dropped.
pub struct Starter {
    line: UnixStream,
    child: Child,
}

/// What it can be asked for; the answer is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Fork so often: how many children ended as they should?
    Fork,
    /// Run the small program so often, by std's Command: the same.
    Command,
    /// Fork so often: how many page faults did that take, on both sides?
    PageFaults,
    /// Fork one: how many bytes of page tables has it?
    PageTables,
    /// How many nanoseconds of CPU time have its ended children had?
    CpuOfChildren,
}

/// What its memory lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    Ordinary,
    Huge,
}

impl Ask {
    const ALL: [Ask; 5] = [Ask::Fork, Ask::Command, Ask::PageFaults, Ask::PageTables, Ask::CpuOfChildren];
}

impl Starter {
    /// Makes one that holds so many bytes besides what every process has.
    pub fn holding(bytes: usize, pages: Pages) -> Result<Starter> {
        let (line, its_line) = UnixStream::pair().context("a socket pair")?;
        let serve = || u8::from(serve(its_line, bytes, pages).is_err());
        // SAFETY: the child uses its socket and memory of its own; nothing here is in shared memory.
        let child = unsafe { child::fork(serve) }.context("forking")?;
        let starter = Starter { line, child };
        starter.receive().with_context(|| format!("a process that holds {bytes} bytes"))?;
        Ok(starter)
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Waits for the answer.
    pub fn ask(&self, ask: Ask, count: u64) -> Result<u64> {
        let mut request = [ask as u8; 9];
        request[1..].copy_from_slice(&count.to_ne_bytes());
        (&self.line).write_all(&request)?;
        self.receive().with_context(|| format!("asking a process for {ask:?}"))
    }

    /// A number, or the error that the other side met.
    fn receive(&self) -> io::Result<u64> {
        let mut answer = [0; 8];
        (&self.line).read_exact(&mut answer)?;
        let answer = i64::from_ne_bytes(answer);
        u64::try_from(answer).map_err(|_| io::Error::from_raw_os_error(-answer as i32))
    }
}

/// The process's life: get the memory, say so, and answer until the line is closed.
fn serve(mut line: UnixStream, bytes: usize, pages: Pages) -> io::Result<()> {
    let hold = match pages {
        Pages::Ordinary => Resident::new,
        Pages::Huge => Resident::in_huge_pages,
    };
    let held = NonZeroUsize::new(bytes).map(hold).transpose();
    send(&mut line, held.as_ref().map(|_| 0).map_err(error_number))?;
    let held = held?;
    let program = ways::small_program();
    let mut request = [0; 9];
    while line.read_exact(&mut request).is_ok() {
        let [ask, count @ ..] = request;
        let ask = Ask::ALL[usize::from(ask)];
        let answer = answer(ask, u64::from_ne_bytes(count), program.as_deref());
        send(&mut line, answer.map_err(|error| error.downcast_ref().map_or(libc::EIO, error_number)))?;
    }
    if held.is_none_or(|block| block.is_intact()) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn send(line: &mut UnixStream, answer: Result<u64, i32>) -> io::Result<()> {
    let number = answer.map_or_else(|error| -i64::from(error), |number| number as i64);
    line.write_all(&number.to_ne_bytes())
}

fn error_number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn answer(ask: Ask, count: u64, program: Option<&CStr>) -> Result<u64> {
    const VALUE: u8 = 42; // Any that a failure does not give.
    let fork = || anyhow::Ok(u64::from(start::fork(VALUE)? == VALUE));
    match ask {
        Ask::Fork => (0..count).map(|_| fork()).sum(),
        Ask::Command => {
            let program = program.ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
            (0..count).map(|_| Ok(u64::from(start::command(program)? == 0))).sum()
        }
        Ask::PageFaults => {
            let before = page_faults()?;
            (0..count).try_for_each(|_| fork().map(drop))?;
            Ok(page_faults()? - before)
        }
        Ask::PageTables => page_tables_of_a_child(),
        Ask::CpuOfChildren => {
            let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
            Ok((usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds()) as u64)
        }
    }
}

/// The page tables of a forked child, while it lives.
pub fn page_tables_of_a_child() -> Result<u64> {
    let (gate, _opener) = io::pipe().context("a pipe")?;
    let stay = || u8::from((&gate).read_exact(&mut [0]).is_err()); // Nobody ever writes: it stays until it is ended.
    // SAFETY: the child reads from a pipe; nothing here is in shared memory.
    let child = unsafe { child::fork(stay) }.context("forking")?;
    page_table_bytes(child.pid())
}
