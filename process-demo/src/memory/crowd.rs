//! How is a crowd of idle ones made, one more at a time: threads, forked processes, programs?

use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::{Command, Stdio};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use process_demo::child::{self, Child};

use super::threads::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Thread,
    Fork,
    Program,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Thread, Kind::Fork, Kind::Program];

    pub fn label(self) -> &'static str {
        match self {
            Kind::Thread => "thread",
            Kind::Fork => "forked process",
            Kind::Program => "program",
        }
    }
}

/// So many idle ones of a kind: each sleeps in a read of one pipe. They end when this is dropped.
pub struct Crowd {
    members: Members,
    gate: PipeReader,
    _opener: PipeWriter,
}

enum Members {
    /// In a process of their own, which has nothing else to do.
    Threads(Host),
    Forks(Vec<Child>),
    Programs(Vec<Program>),
}

impl Crowd {
    /// One without members yet.
    pub fn new(kind: Kind) -> Result<Crowd> {
        let (gate, _opener) = io::pipe().context("a pipe")?;
        let members = match kind {
            Kind::Thread => Members::Threads(Host::new()?),
            Kind::Fork => Members::Forks(Vec::new()),
            Kind::Program => Members::Programs(Vec::new()),
        };
        Ok(Crowd { members, gate, _opener })
    }

    /// Adds as many as are missing; returns once all of them sleep.
    pub fn grow_to(&mut self, count: usize) -> Result<()> {
        match &mut self.members {
            Members::Threads(host) => host.grow_to(count)?,
            Members::Forks(children) => {
                while children.len() < count {
                    children.push(fork_one(&self.gate)?);
                }
            }
            Members::Programs(programs) => {
                while programs.len() < count {
                    programs.push(Program::start(&self.gate)?);
                }
            }
        }
        self.wait_until_asleep()
    }

    /// The processes whose memory grows with the crowd: its members, or the one that holds the threads.
    pub fn pids(&self) -> Vec<Pid> {
        match &self.members {
            Members::Threads(host) => vec![host.pid()],
            Members::Forks(children) => children.iter().map(Child::pid).collect(),
            Members::Programs(programs) => programs.iter().map(Program::pid).collect(),
        }
    }

    /// How many of its threads sleep, by the kernel's word, and how many there are; the main thread of the process that
    /// holds the threads is one more.
    pub fn asleep(&self) -> (usize, usize) {
        let states: Vec<char> = self.pids().into_iter().flat_map(states).collect();
        (states.iter().filter(|state| **state == 'S').count(), states.len())
    }

    fn wait_until_asleep(&self) -> Result<()> {
        const LOOKS: u32 = 10_000; // Some seconds: a bound, not a measure.
        for _ in 0..LOOKS {
            let (asleep, all) = self.asleep();
            if asleep == all {
                return Ok(());
            }
            thread::yield_now(); // Each has said that it is about to read.
        }
        bail!("the idle ones do not sleep")
    }
}

/// The state of each thread of a process.
fn states(pid: Pid) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| state(&fs::read_to_string(task.path().join("stat")).ok()?)).collect()
}

/// It follows the name, which stands in parentheses and may hold some too.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Returns once it is about to read.
pub fn fork_one(gate: &PipeReader) -> Result<Child> {
    let (mut told, tell) = io::pipe().context("a pipe")?;
    let live = move || u8::from(idle(tell, gate).is_err());
    // SAFETY: the child uses two pipes; nothing here is in shared memory.
    let child = unsafe { child::fork(live) }.context("forking")?;
    told.read_exact(&mut [0]).context("a forked process told nothing")?;
    Ok(child)
}

/// Tells that it lives, and reads what never comes.
pub fn idle(mut tell: impl Write, mut gate: impl Read) -> io::Result<()> {
    tell.write_all(&[0])?;
    tell.flush()?;
    drop(tell); // Idle, each holds no descriptor of its own.
    gate.read(&mut [0]).map(drop) // The end of the pipe is the end of the wait: any count is fine.
}

/// A process that runs this program, in a role; killed and reaped when this is dropped.
struct Program(std::process::Child);

impl Program {
    fn start(gate: &PipeReader) -> Result<Program> {
        let mut command = Command::new("/proc/self/exe"); // Also if the file was replaced or removed meanwhile.
        command.args(["--role", ROLE, &getpid().to_string()]).stdin(gate.try_clone()?).stdout(Stdio::piped());
        let mut program = Program(command.spawn().context("starting this program again")?);
        let mut told = program.0.stdout.take().context("its output was asked for")?;
        told.read_exact(&mut [0]).context("the program told nothing")?;
        Ok(program)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill(); // Not reaped yet, so the number is still its own.
        let _ = self.0.wait();
    }
}

pub const ROLE: &str = "memory-idle";

/// What the program does: nothing, until its maker ends.
pub fn play(arguments: &[OsString]) -> u8 {
    let maker = arguments.first().and_then(|pid| pid.to_str()?.parse().ok()).map(Pid::from_raw);
    // The maker may have ended before the request was made; then this has another parent by now.
    let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && maker == Some(getppid());
    u8::from(!watched || idle(io::stdout(), io::stdin()).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_after_the_name_whatever_that_is() {
        assert_eq!(state("7 (a) R (b) S 1 7 7"), Some('S'));
        assert_eq!(state("nothing"), None);
    }
}
