//! How does each come to stand to its target: as its parent, its child, its sibling, as a thread beside it?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, getpid, gettid, pause, setgroups, setresgid, setresuid};
use process_demo::child::{self, Child, Exit};
use shared::measure::SystemClock;

use crate::exit_number::{done, number_of};

use super::hands::{Actor, Hands, Kind, Target};
use super::{ACTS, Reach, Row, tries};

pub const PARENT: &str = "its parent";
pub const OWN_THREAD: &str = "a thread beside it";

pub fn all(clock: SystemClock) -> Result<Vec<Row>> {
    let rows = [
        (PARENT, Kind::Process, parent(clock)?),
        ("its grandparent", Kind::Process, grandparent(clock)?),
        ("its child", Kind::Process, its_child(clock)?),
        ("its sibling", Kind::Process, another(clock, Whose::SameUser)?),
        ("another user's", Kind::Process, strangers(clock)?),
        (OWN_THREAD, Kind::Thread, own_thread(clock)?),
        ("another process", Kind::Thread, foreign_thread(clock)?),
    ];
    Ok(rows.into_iter().map(|(who, kind, reaches)| Row { who, kind, reaches }).collect())
}

type Reaches = Result<[Reach; ACTS.len()]>;

fn process(pid: Pid) -> Target {
    Target { kind: Kind::Process, process: pid, id: pid }
}

fn parent(clock: SystemClock) -> Reaches {
    let target = sleeper()?;
    tries::all(&mut Actor::here(Hands::on(process(target.pid()))), process(target.pid()), clock)
}

fn grandparent(clock: SystemClock) -> Reaches {
    let (mut told, mut teller) = io::pipe().context("a pipe")?;
    let make = move || {
        let target = match sleeper() {
            Ok(target) => target,
            Err(error) => return number_of(&error),
        };
        let told = teller.write_all(&target.pid().as_raw().to_ne_bytes());
        u8::from(told.is_err() || target.wait().ok() != Some(Exit::Signal(Signal::SIGKILL)))
    };
    // SAFETY: the child makes a child as this does and writes to a pipe; nothing here is in shared memory.
    let parent = unsafe { child::fork(make) }.context("forking")?;
    let (parent, target) = hear(parent, &mut told)?;
    let target = process(target);
    let reaches = tries::all(&mut Actor::here(Hands::on(target)), target, clock)?;
    ensure!(parent.wait()? == Exit::Code(0), "its parent did not see it end by SIGKILL");
    Ok(reaches)
}

fn its_child(clock: SystemClock) -> Reaches {
    let (orders, replies, there) = lines()?;
    let (mut told, mut teller) = io::pipe().context("a pipe")?;
    let live = move || {
        let hands = Hands::on(process(getpid()));
        let act = move || {
            // It goes on when its parent, on which it acts, is dead: it has to tell.
            let free = set_pdeathsig(None).is_ok() && teller.write_all(&getpid().as_raw().to_ne_bytes()).is_ok();
            u8::from(!free || hands.obey(orders, replies).is_err())
        };
        // SAFETY: the child acts on its parent by system calls, and uses pipes.
        match unsafe { child::fork(act) } {
            Err(error) => number_of(&error.into()),
            Ok(_actor) => loop {
                pause();
            },
        }
    };
    // SAFETY: as above; nothing here is in shared memory.
    let target = unsafe { child::fork(live) }.context("forking")?;
    let (target, orphan) = hear(target, &mut told)?;
    let orphan = Orphan(orphan);
    let reaches = tries::all(&mut Actor::There { orders: there.0, replies: there.1 }, process(target.pid()), clock);
    drop((target, orphan));
    reaches
}

/// Of this process by now, which is a subreaper: killed and waited for when dropped.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(self.0, Signal::SIGKILL); // Nobody else waits for it: the number is its own.
        let _ = nix::sys::wait::waitpid(self.0, None);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    SameUser,
    OtherUser,
}

fn strangers(clock: SystemClock) -> Reaches {
    // SAFETY: the child changes its user and exits; nothing here is in shared memory.
    let probe = unsafe { child::fork(|| become_nobody().map_or_else(|errno| errno as u8, |()| 0)) };
    match probe.context("forking")?.wait()? {
        Exit::Code(0) => another(clock, Whose::OtherUser),
        Exit::Code(number) => {
            let why = format!("this user cannot become another ({:?})", Errno::from_raw(number));
            let mut reaches = ACTS.map(|_| Reach::Untried);
            reaches[0] = Reach::Skipped(why);
            Ok(reaches)
        }
        exit => bail!("a child that becomes another user: {exit}"),
    }
}

/// Another child of this process.
fn another(clock: SystemClock, whose: Whose) -> Reaches {
    let target = sleeper()?;
    let (orders, replies, there) = lines()?;
    let hands = Hands::on(process(target.pid()));
    let act = move || {
        let ready = whose == Whose::SameUser || become_nobody().is_ok();
        u8::from(!ready || hands.obey(orders, replies).is_err())
    };
    // SAFETY: the child acts on its sibling by system calls, and uses pipes; nothing here is in shared memory.
    let _actor = unsafe { child::fork(act) }.context("forking")?;
    tries::all(&mut Actor::There { orders: there.0, replies: there.1 }, process(target.pid()), clock)
}

fn become_nobody() -> nix::Result<()> {
    const NOBODY: u32 = 65_534; // The kernel's own default for a user that it cannot name.
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    set_pdeathsig(Signal::SIGKILL) // The change of user has cleared it.
}

fn own_thread(clock: SystemClock) -> Reaches {
    let (orders, replies, there) = lines()?;
    let (mut told, teller) = io::pipe().context("a pipe")?;
    let live = move || -> io::Result<()> {
        // A thread of this process as good as the one that sleeps, but one that ends.
        let joins = thread::Builder::new().spawn(|| {})?;
        let (begin, id) = crossbeam_channel::bounded(1);
        let act = move || {
            let id = id.recv().map_err(io::Error::other)?;
            let target = Target { kind: Kind::Thread, process: getpid(), id };
            Hands::that_join(target, move || joins.join().unwrap()).obey(orders, replies)
        };
        let actor = thread::Builder::new().spawn(act)?;
        let (_asleep, id) = start_sleeping(teller)?; // It sleeps on, and ends with its process.
        begin.send(id).map_err(io::Error::other)?;
        actor.join().unwrap()
    };
    // SAFETY: the child uses pipes and threads of its own; nothing here is in shared memory.
    let victim = unsafe { child::fork(|| live().map_or_else(|error| number_of(&error.into()), |()| 0)) };
    let (victim, id) = hear(victim.context("forking")?, &mut told)?;
    let target = Target { kind: Kind::Thread, process: victim.pid(), id };
    tries::all(&mut Actor::There { orders: there.0, replies: there.1 }, target, clock)
}

fn foreign_thread(clock: SystemClock) -> Reaches {
    let (mut told, teller) = io::pipe().context("a pipe")?;
    let live = move || match start_sleeping(teller) {
        Err(error) => number_of(&error.into()),
        Ok(_asleep) => loop {
            pause();
        },
    };
    // SAFETY: as for the one before.
    let victim = unsafe { child::fork(live) }.context("forking")?;
    let (victim, id) = hear(victim, &mut told)?;
    let target = Target { kind: Kind::Thread, process: victim.pid(), id };
    tries::all(&mut Actor::here(Hands::on(target)), target, clock)
}

/// A second thread that tells its id and sleeps for ever.
fn start_sleeping(mut teller: PipeWriter) -> io::Result<(JoinHandle<()>, Pid)> {
    let (send, receive) = crossbeam_channel::bounded(1);
    let sleep = move || {
        let _ = send.send(gettid()); // Its starter waits for it.
        let _ = teller.write_all(&gettid().as_raw().to_ne_bytes()); // Unheard, nobody acts on it.
        loop {
            pause();
        }
    };
    let asleep = thread::Builder::new().spawn(sleep)?;
    Ok((asleep, receive.recv().map_err(io::Error::other)?))
}

/// A child of this process that sleeps until it is ended.
fn sleeper() -> Result<Child> {
    // SAFETY: the child sleeps until a signal ends it; nothing here is in shared memory.
    unsafe {
        child::fork(|| {
            loop {
                pause();
            }
        })
    }
    .context("forking")
}

/// Two pipes: for an actor elsewhere its orders and where to reply, and for this process the other ends.
fn lines() -> Result<(PipeReader, PipeWriter, (PipeWriter, PipeReader))> {
    let (orders, order) = io::pipe().context("a pipe")?;
    let (reply, replies) = io::pipe().context("a pipe")?;
    Ok((orders, replies, (order, reply)))
}

/// The child with the id that it tells; if it ends without a word, the error that its exit code stands for.
fn hear(child: Child, told: &mut PipeReader) -> Result<(Child, Pid)> {
    let mut word = [0; 4];
    if let Err(error) = told.read_exact(&mut word) {
        done(child.wait()?).context("making a child or a thread of a child")?;
        return Err(error).context("no sign of life");
    }
    Ok((child, Pid::from_raw(i32::from_ne_bytes(word))))
}
