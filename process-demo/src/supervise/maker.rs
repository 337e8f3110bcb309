//! A supervisor in a process of its own, whose workers answer this process: so it can be stopped, asked to stop, killed.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, close, getpid};
use process_demo::child::{self, Child, Exit};
use process_demo::supervisor::{Event, Policy, Supervisor, WhenMakerDies, Worker};

use super::pieces::Pieces;

/// The supervisor's process, and its workers as this process sees them.
pub struct Maker<'a> {
    child: Option<Child>,
    log: PipeReader,
    pub workers: Vec<Answering<'a>>,
}

/// A worker at the other end of a socket.
pub struct Answering<'a> {
    line: Option<UnixStream>,
    pub pid: Pid,
    pieces: &'a Pieces,
}

const ACCEPTED: u8 = b'a';
const PATIENCE: Duration = Duration::from_secs(5); // A bound: who does not answer is to fail a fact, not to hang it.

impl<'a> Maker<'a> {
    /// Returns once every worker runs. From then on this process inherits whoever is orphaned below it.
    pub fn start(policy: Policy, declared: &[WhenMakerDies], pieces: &'a Pieces) -> Result<Maker<'a>> {
        set_child_subreaper(true).context("becoming the one who inherits orphans")?;
        let (log, logger) = io::pipe().context("a pipe for the events")?;
        let pairs: io::Result<Vec<_>> = declared.iter().map(|_| UnixStream::pair()).collect();
        let (lines, theirs): (Vec<_>, Vec<_>) = pairs.context("a socket pair")?.into_iter().unzip();
        let our_ends: Vec<RawFd> = lines.iter().map(AsRawFd::as_raw_fd).collect();
        let life = move || {
            // Else the workers would have copies of our ends, and never see that we are gone.
            our_ends.into_iter().for_each(|end| _ = close(end));
            u8::from(supervise(policy, declared, &theirs, pieces, &logger).is_err())
        };
        // SAFETY: the child uses its pipe and sockets and memory of its own; nothing here is in shared memory.
        let child = unsafe { child::fork(life) }.context("forking a supervisor")?;
        let mut maker = Maker { child: Some(child), log, workers: Vec::new() };
        // Of every start first: where one is refused, the workers that were started before end at once.
        if let Err(error) = lines.iter().try_for_each(|_| maker.hear_of_a_start()) {
            drop(lines); // Whoever runs on sees that, and ends; the maker's drop waits for that.
            return Err(error).context("starting a worker");
        }
        for line in lines {
            maker.workers.push(Answering::meet(line, pieces).context("a worker that was just started")?);
        }
        Ok(maker)
    }

    fn hear_of_a_start(&mut self) -> io::Result<()> {
        match self.hear()? {
            'n' => Err(io::Error::from_raw_os_error(u32::from(self.hear()?) as i32)),
            _ => Ok(()),
        }
    }

    pub fn pid(&self) -> Pid {
        self.child.as_ref().expect("it has not ended yet").pid()
    }

    /// The next event, as one letter; blocks until there is one.
    pub fn hear(&mut self) -> io::Result<char> {
        let mut letter = [0];
        self.log.read_exact(&mut letter)?;
        Ok(letter[0].into())
    }

    pub fn stop(&self) -> Result<bool> {
        kill(self.pid(), Signal::SIGSTOP).context("stopping the supervisor")?;
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).context("waiting for its stop")?;
        Ok(matches!(status, WaitStatus::Stopped(..)))
    }

    pub fn go_on(&self) -> Result<()> {
        kill(self.pid(), Signal::SIGCONT).context("continuing the supervisor")
    }

    pub fn send(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("sending {signal} to the supervisor"))
    }

    /// Waits for the supervisor's end; the workers that outlive it are this process's to reap from now on.
    pub fn end(&mut self) -> Result<Exit> {
        let child = self.child.take().context("it has ended before")?;
        child.wait().context("waiting for the supervisor")
    }
}

impl Drop for Maker<'_> {
    /// Whatever went wrong, nobody is left.
    fn drop(&mut self) {
        drop(self.child.take()); // Its workers are this process's children from now on.
        for worker in self.workers.drain(..) {
            if waitpid(worker.pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive) {
                let _ = kill(worker.pid, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
                let _ = waitpid(worker.pid, None);
            }
        }
        while waitpid(None, None).is_ok() {} // Who was never met sees that its socket is closed, and ends.
    }
}

impl<'a> Answering<'a> {
    /// The first thing that a worker tells is its pid.
    fn meet(line: UnixStream, pieces: &'a Pieces) -> io::Result<Answering<'a>> {
        line.set_read_timeout(Some(PATIENCE))?;
        let pid = i32::from_ne_bytes(read_answer(&line)?);
        Ok(Answering { line: Some(line), pid: Pid::from_raw(pid), pieces })
    }

    /// Gives it a task; returns once it has accepted it.
    pub fn give(&self, task: usize) -> io::Result<()> {
        let mut line = self.line()?;
        line.write_all(&task.to_ne_bytes())?;
        if read_answer(line)? == [ACCEPTED] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Lets it do the task that it has accepted; is the result right?
    pub fn take(&self, task: usize) -> io::Result<bool> {
        let mut line = self.line()?;
        line.write_all(&[0])?;
        Ok(u64::from_ne_bytes(read_answer(line)?) == self.pieces.checksum(task))
    }

    /// How many of these tasks it does, one after the other, until it fails to answer.
    pub fn does(&self, tasks: std::ops::Range<usize>) -> usize {
        let done = |&task: &usize| self.give(task).and_then(|()| self.take(task)).unwrap_or(false);
        tasks.take_while(done).count()
    }

    /// Nobody will give it a task any more.
    pub fn leave_alone(&mut self) {
        self.line = None;
    }

    fn line(&self) -> io::Result<&UnixStream> {
        self.line.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// So many bytes from a worker.
fn read_answer<const COUNT: usize>(mut line: &UnixStream) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    match line.read_exact(&mut bytes) {
        // Its own number means 'refused by this machine' elsewhere; here a worker does not do its duty.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        other => other.map(|()| bytes),
    }
}

/// The supervisor's life.
fn supervise(
    policy: Policy,
    declared: &[WhenMakerDies],
    lines: &[UnixStream],
    pieces: &Pieces,
    mut log: &PipeWriter,
) -> io::Result<()> {
    let serve = |worker: &Worker<'_>| u8::from(serve(worker, &lines[worker.slot()], pieces).is_err());
    // SAFETY: the workers use sockets and memory of their own; nothing here is in shared memory.
    let mut supervisor = unsafe { Supervisor::new(policy, declared, serve) }?;
    while let Some(event) = supervisor.next_event()? {
        let letter = match event {
            Event::Started { .. } => 's',
            Event::NotStarted { error, .. } => {
                log.write_all(&[b'n', error as i32 as u8])?; // This machine refuses a process: nothing of the rest follows.
                return Err(error.into());
            }
            Event::Ended { exit, .. } if exit.success() => 'e',
            Event::Draining => 'd',
            Event::Drained { killed: 0 } => 'D',
            _ => '!', // Nothing else is to happen here.
        };
        log.write_all(&[letter as u8])?;
    }
    Ok(())
}

/// A worker's life: it accepts a task, waits until it may do it, and answers.
fn serve(worker: &Worker<'_>, mut line: &UnixStream, pieces: &Pieces) -> io::Result<()> {
    line.write_all(&getpid().as_raw().to_ne_bytes())?;
    while worker.goes_on() {
        worker.rest(); // It may wait for work as long as it takes.
        if !is_offered(worker, line) {
            continue;
        }
        let mut task = [0; size_of::<usize>()];
        match line.read_exact(&mut task) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()), // No more tasks, ever.
            other => other?,
        }
        line.write_all(&[ACCEPTED])?;
        line.read_exact(&mut [0])?; // It still rests: what it waits for may take its time.
        worker.beat();
        line.write_all(&pieces.checksum(usize::from_ne_bytes(task)).to_ne_bytes())?;
    }
    Ok(())
}

/// Sleeps until there is a task, or a request to stop: the latter goes first.
fn is_offered(worker: &Worker<'_>, line: &UnixStream) -> bool {
    let mut watched = [worker.stop_request(), line.as_fd()].map(|it| PollFd::new(it, PollFlags::POLLIN));
    let _ = poll(&mut watched, PollTimeout::NONE); // Interrupted is as good as woken: the caller asks again.
    let [stop, task] = watched.map(|it| it.any().unwrap_or(false));
    task && !stop
}

/// The process's state as one letter (`T`: stopped), and its parent; none once it is gone. (proc_pid_stat(5))
pub fn state_and_parent(pid: Pid) -> Option<(char, Pid)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace(); // The name before may hold anything.
    Some((fields.next()?.chars().next()?, Pid::from_raw(fields.next()?.parse().ok()?)))
}
