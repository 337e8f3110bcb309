//! Who tries? Its parent, its child, its sibling, a thread beside it: the first worker of a crew each.

use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use nix::unistd::{Gid, Pid, Uid, pause, setgroups, setresgid, setresuid};
use process_demo::crew::{Arguments, Crew, Kind, NOTHING};
use process_demo::pidfd::PidFd;

use crate::family::go_on_as_child;

/// What whoever tries has for itself.
#[derive(Default)]
pub struct Actor {
    /// Its child, which may have children too; or a child with a thread.
    child: Option<Crew<Vec<Crew<()>>>>,
    /// The descriptor that it has opened.
    pub descriptor: Option<PidFd>,
    /// Waits for a thread of its process that ends by itself.
    pub other_thread: Option<JoinHandle<()>>,
}

/// Whose first worker acts on a process, or on a thread of it.
pub struct Scene {
    pub crew: Crew<Actor>,
    pub process: Pid,
    /// The thread's own; a process's is its pid again.
    pub id: Pid,
}

pub const PARENT: &str = "its parent";
pub const OWN_THREAD: &str = "a thread beside it";

/// Sets a scene.
type Set = fn() -> Result<Scene>;

/// Each acts on a process, or on a thread.
pub const ACTORS: [(&str, Kind, Set); 7] = [
    (PARENT, Kind::Processes, || of_a_child(Kind::Processes)),
    ("its grandparent", Kind::Processes, grandparent),
    ("its child", Kind::Processes, its_child),
    ("its sibling", Kind::Processes, || beside(Kind::Processes)),
    ("another user's", Kind::Processes, another_users),
    (OWN_THREAD, Kind::Threads, || beside(Kind::Threads)),
    ("another process", Kind::Threads, || of_a_child(Kind::Threads)),
];

fn parent(of: Kind) -> Result<Crew<Actor>> {
    let enlist = || Ok(Actor { child: Some(Crew::of(of, 1, || Ok(Vec::new()))?), ..Actor::default() });
    Crew::of(Kind::Processes, 1, enlist)
}

/// Acts on its child, or on a thread of its child.
fn of_a_child(kind: Kind) -> Result<Scene> {
    let mut crew = parent(kind)?;
    let pid = |own: &mut Actor, _: Arguments| number(own.child.as_ref().and_then(|child| child.pid(0)));
    let tid = |own: &mut Actor, _: Arguments| number(own.child.as_ref().map(|child| child.tid(0)));
    let [process, id] = [crew.ask(0, pid, NOTHING)?, crew.ask(0, tid, NOTHING)?];
    Ok(Scene { process: pid_of(process.value()?), id: pid_of(id.value()?), crew })
}

fn grandparent() -> Result<Scene> {
    let mut crew = parent(Kind::Processes)?;
    let have_a_grandchild = |own: &mut Actor, _: Arguments| {
        let bear = |born: &mut Vec<Crew<()>>, _: Arguments| {
            born.push(Crew::of(Kind::Processes, 1, || Ok(()))?);
            number(born[0].pid(0))
        };
        own.child.as_mut().context("no child")?.ask(0, bear, NOTHING)?.value()
    };
    let process = pid_of(crew.ask(0, have_a_grandchild, NOTHING)?.value()?);
    Ok(Scene { process, id: process, crew })
}

fn its_child() -> Result<Scene> {
    let enlist = || {
        go_on_as_child(|_| {
            loop {
                pause();
            }
        })?;
        Ok(Actor::default())
    };
    let crew = Crew::of(Kind::Processes, 1, enlist)?;
    let process = crew.pid(0).context("its parent has ended")?;
    Ok(Scene { process, id: process, crew })
}

/// Acts on the second worker of the same crew.
fn beside(kind: Kind) -> Result<Scene> {
    let enlist = || {
        let other_thread = match kind {
            Kind::Threads => Some(Builder::new().spawn(|| {})?),
            Kind::Processes => None,
        };
        Ok(Actor { other_thread, ..Actor::default() })
    };
    let crew = Crew::of(kind, 2, enlist)?;
    Ok(Scene { process: crew.pid(1).context("a worker has ended")?, id: crew.tid(1), crew })
}

fn another_users() -> Result<Scene> {
    const NOBODY: u32 = 65_534; // The kernel's own default for a user that it cannot name.
    let mut scene = beside(Kind::Processes)?;
    let become_nobody = |_: &mut Actor, _: Arguments| {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        Ok(0)
    };
    scene.crew.ask(0, become_nobody, NOTHING)?.value().context("becoming another user")?;
    Ok(scene)
}

fn number(pid: Option<Pid>) -> Result<u64> {
    Ok(pid.context("a process has ended")?.as_raw().unsigned_abs().into())
}

pub fn pid_of(number: u64) -> Pid {
    Pid::from_raw(number as i32)
}
