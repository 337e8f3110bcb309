//! How do threads idle in a process of their own, which has nothing else to do?

use std::io::{self, PipeReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, Builder, Scope};

use anyhow::{Context, Result};
use nix::libc;
use nix::unistd::Pid;
use process_demo::child::{self, Child};

/// The process; it ends with its threads when this is dropped.
pub struct Host {
    line: UnixStream,
    child: Child,
}

impl Host {
    pub fn new() -> Result<Host> {
        let (line, its_line) = UnixStream::pair().context("a socket pair")?;
        let serve = || u8::from(serve(its_line).is_err());
        // SAFETY: the child uses its socket and memory of its own; nothing here is in shared memory.
        let child = unsafe { child::fork(serve) }.context("forking")?;
        let host = Host { line, child };
        host.grow_to(0)?; // It has started once it answers.
        Ok(host)
    }

    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Starts as many as are missing.
    pub fn grow_to(&self, count: usize) -> Result<()> {
        (&self.line).write_all(&(count as u32).to_ne_bytes())?;
        let mut answer = [0; 4];
        (&self.line).read_exact(&mut answer)?;
        match i32::from_ne_bytes(answer) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)).context("starting a thread"),
        }
    }
}

/// The process's life: start threads when it is told how many there are to be, until the line is closed.
fn serve(mut line: UnixStream) -> io::Result<()> {
    let (gate, opener) = io::pipe()?;
    thread::scope(|scope| {
        let _opener = opener; // Dropped before the scope waits: the end of the pipe ends the threads.
        let (mut request, mut running) = ([0; 4], 0);
        while line.read_exact(&mut request).is_ok() {
            let grown = grow(scope, &gate, &mut running, u32::from_ne_bytes(request));
            let code = grown.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            line.write_all(&code.to_ne_bytes())?;
        }
        Ok(())
    })
}

fn grow<'scope>(
    scope: &'scope Scope<'scope, '_>,
    gate: &'scope PipeReader,
    running: &mut u32,
    count: u32,
) -> io::Result<()> {
    while *running < count {
        let (mut told, tell) = io::pipe()?;
        let live = move || super::crowd::idle(tell, gate);
        Builder::new().spawn_scoped(scope, live)?;
        told.read_exact(&mut [0])?;
        *running += 1;
    }
    Ok(())
}
