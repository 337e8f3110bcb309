//! How is a crowd of idle ones made, one more at a time: threads, forked processes, programs?

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::process::{self, Command, Stdio};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, pause};
use process_demo::asleep::{look_until, state_of};
use process_demo::child::{self, Child};
use process_demo::crew::{Arguments, Crew, Kind};
use shared::ProgramRole;
use shared::measure::SystemClock;

/// A crowd without members yet.
type NewCrowd = fn() -> Result<Crowd>;

pub const KINDS: [(&str, NewCrowd); 3] = [
    ("thread", || Ok(Crowd::Threads(Crew::of(Kind::Processes, 1, || Ok(Vec::new()))?))),
    ("forked process", || Ok(Crowd::Forks(Vec::new()))),
    ("program", || Ok(Crowd::Programs(Vec::new()))),
];

/// So many idle ones of a kind. Dropping it ends them.
pub enum Crowd {
    /// In a process of their own, which has nothing else to do but to start them.
    Threads(Crew<Vec<JoinHandle<u8>>>),
    Forks(Vec<Child>),
    Programs(Vec<Program>),
}

impl Crowd {
    /// Adds as many as are missing; returns once all of them sleep.
    pub fn grow_to(&mut self, count: usize, clock: SystemClock) -> Result<()> {
        match self {
            Crowd::Threads(host) => {
                let start = |threads: &mut Vec<JoinHandle<u8>>, [count, ..]: Arguments| {
                    while threads.len() < count as usize {
                        threads.push(Builder::new().spawn(idle).context("starting a thread")?);
                    }
                    Ok(0)
                };
                host.ask(0, start, [count as u64, 0, 0])?.value()?;
            }
            Crowd::Forks(children) => {
                while children.len() < count {
                    children.push(fork_one()?);
                }
            }
            Crowd::Programs(programs) => {
                while programs.len() < count {
                    programs.push(Program::start()?);
                }
            }
        }
        let all_sleep = || self.asleep().map(|(asleep, all)| (asleep == all).then_some(()));
        look_until(clock, all_sleep)?.context("the idle ones do not sleep")
    }

    /// The processes whose memory grows with the crowd: its members, or the one that holds the threads.
    pub fn pids(&self) -> Vec<Pid> {
        match self {
            Crowd::Threads(host) => host.pid(0).into_iter().collect(),
            Crowd::Forks(children) => children.iter().map(Child::pid).collect(),
            Crowd::Programs(programs) => programs.iter().map(Program::pid).collect(),
        }
    }

    /// How many of its threads sleep, by the kernel's word, and how many there are; the one that starts threads is one
    /// more.
    pub fn asleep(&self) -> Result<(usize, usize)> {
        let (mut asleep, mut all) = (0, 0);
        for pid in self.pids() {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the threads of a process")? {
                let id = thread?.file_name().to_string_lossy().parse().context("a thread's id")?;
                asleep += usize::from(state_of(Pid::from_raw(id))? == 'S');
                all += 1;
            }
        }
        Ok((asleep, all))
    }
}

/// For ever: whoever made it ends it.
fn idle() -> u8 {
    loop {
        pause();
    }
}

pub fn fork_one() -> Result<Child> {
    // SAFETY: the child does nothing but sleep.
    unsafe { child::fork(idle) }.context("forking")
}

pub const ROLE: ProgramRole = ProgramRole { name: "memory-idle", play: |arguments| u8::from(play(arguments).is_err()) };

/// This program, started again; killed and reaped when this is dropped.
pub struct Program(process::Child);

impl Program {
    /// Not by `spawn`, which writes down the whole environment: each forked process would keep pages of this one's heap.
    fn start() -> Result<Program> {
        let mut command = Command::new("/proc/self/exe"); // Also if the file was replaced or removed meanwhile.
        command.args(["--role", ROLE.name, &getpid().to_string()]).stdout(Stdio::piped());
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

/// The program's life: it tells that it runs, and idles until its parent ends.
fn play(arguments: &[OsString]) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before that; then this has another parent by now.
    ensure!(*arguments == [OsString::from(getppid().to_string())], "the parent is gone");
    io::stdout().write_all(&[0])?;
    io::stdout().flush()?;
    idle();
    Ok(())
}
