//! Where do the threads of a process stand while they sleep?

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::thread::{self, Builder};

use anyhow::Result;
use crossbeam_channel::bounded;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use process_demo::asleep::look_until;
use shared::measure::SystemClock;
use threads_demo::thread_identity::{Registers, ThreadIdentity, registers, tids};

/// What one thread knows of itself, and what is known of it while it sleeps.
pub(super) struct Seen {
    pub(super) name: &'static str,
    pub(super) identity: ThreadIdentity,
    pub(super) local: usize,
    pub(super) asleep: Option<io::Result<Registers>>, // None of the first thread: it is the one that looks.
}

type FallAsleep = Box<dyn FnOnce() + Send>;

/// Three threads fall asleep in three different calls while the first one looks at them; also the number of threads
/// that /proc lists meanwhile.
pub(super) fn look(clock: SystemClock) -> Result<(Vec<Seen>, Vec<Pid>)> {
    thread::scope(|scope| {
        let (tell, told) = bounded(3);
        // While this end of each is open, its thread sleeps; on the way out, also by an error, all are dropped.
        let (_keeps_recv_waiting, never_sent) = bounded::<()>(0);
        let (mut never_written, _keeps_read_waiting) = io::pipe()?;
        let (never_ready, _keeps_poll_waiting) = io::pipe()?;
        let sleepers: [(&str, FallAsleep); 3] = [
            ("in recv", Box::new(move || _ = never_sent.recv())),
            ("in read", Box::new(move || _ = never_written.read(&mut [0]))),
            ("in poll", Box::new(move || _ = poll(&mut [readable(&never_ready)], PollTimeout::NONE))),
        ];
        for (name, fall_asleep) in sleepers {
            let tell = tell.clone();
            let life = move || {
                let _ = tell.send(introduce(name)); // Unheard only if the first thread has given up already.
                fall_asleep();
            };
            Builder::new().spawn_scoped(scope, life)?;
        }
        let mut threads = vec![introduce("first")?];
        for seen in told.iter().take(3) {
            let seen = seen?;
            let found = look_until(clock, || registers(seen.identity.tid));
            let asleep = Some(found.and_then(|found| found.ok_or_else(|| io::Error::other("never seen asleep"))));
            threads.push(Seen { asleep, ..seen });
        }
        threads[1..].sort_by_key(|seen| seen.name);
        Ok((threads, tids()?))
    })
}

fn readable(pipe: &PipeReader) -> PollFd<'_> {
    PollFd::new(pipe.as_fd(), PollFlags::POLLIN)
}

fn introduce(name: &'static str) -> io::Result<Seen> {
    let local = 0_u8;
    let local = std::ptr::from_ref(&local).addr();
    Ok(Seen { name, identity: ThreadIdentity::of_caller()?, local, asleep: None })
}
