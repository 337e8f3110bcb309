//! By which means does a byte get from a child to its parent?

use std::fs;
use std::io::{IoSliceMut, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use anyhow::{Context, Result};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::shared_region::SharedRegion;
use nix::libc;
use nix::sys::signal::{Signal, raise};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, getpid};
use process_demo::child::Exit;
use process_demo::crew::{Crew, Kind, NOTHING, Reply, Task};
use shared::{Cell, Ruling, Stage, Table, Tried, tried};

/// What was tried, and whether the byte arrived.
pub struct Attempt {
    name: &'static str,
    means: Means,
    arrived: Tried<bool>,
}

/// How the claim sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// What threads use and processes, by the claim, cannot.
    Variable,
    /// One that the claim names.
    Named,
    /// One that it does not name.
    Further,
}

use Means::{Further, Named, Variable};

const NO_BYTE: u8 = 255; // No child has it: the remainders of 251 end below.

/// Does the byte arrive?
type Try<'a> = &'a dyn Fn() -> Result<bool>;

/// Each with a child of its own. What needs a name has it in the directory, or is a queue of that name.
pub fn try_all(queue: &str, directory: &Path) -> Result<Vec<Attempt>> {
    let new = || AtomicU8::new(NO_BYTE);
    let attempts: [(&str, Means, Try<'_>); 9] = [
        ("ordinary variable", Variable, &|| {
            let variable = new();
            arrives(&variable, store, |_, _, byte| Ok(variable.load(Relaxed) == byte))
        }),
        ("pipe", Named, &|| {
            let ends = pipe()?;
            arrives(&ends, |(_, to), _| write(to), |_, reply, byte| read(&ends.0, &reply, byte))
        }),
        ("socket", Named, &|| {
            let ends = UnixStream::pair()?;
            arrives(&ends, |(_, to), _| write(to), |_, reply, byte| read(&ends.0, &reply, byte))
        }),
        ("POSIX queue", Named, &|| {
            let (queue, _) = MessageQueue::create(queue, 1, 1)?; // Its name is gone: the child inherits it.
            let send = |queue: &mut &MessageQueue, _| Ok(queue.send(&[own_byte()], 0).map(|()| 0)?);
            arrives(&queue, send, |_, reply, byte| Ok(reply == SENT && queue.receive()?.bytes == [byte]))
        }),
        ("shared memory", Named, &|| {
            let region = SharedRegion::new(1)?;
            // SAFETY: the region is one zeroed byte, and lives longer than the reference.
            let byte_of_both = unsafe { &*region.as_ptr().cast::<AtomicU8>() };
            byte_of_both.store(NO_BYTE, Relaxed);
            arrives(byte_of_both, store, |_, _, byte| Ok(byte_of_both.load(Relaxed) == byte))
        }),
        ("exit status", Further, &|| {
            // SAFETY: it ends the process, and runs nothing of it.
            let exit = |_: &mut &(), _| unsafe { libc::_exit(own_byte().into()) };
            arrives(&(), exit, |_, reply, byte| Ok(reply == Reply::Gone(Exit::Code(byte.into()))))
        }),
        ("ending signal", Further, &|| {
            let end = |_: &mut &(), _| Ok(raise(one_bit(own_byte())).map(|()| 0)?);
            arrives(&(), end, |_, reply, byte| Ok(reply == Reply::Gone(Exit::Signal(one_bit(byte)))))
        }),
        ("file", Further, &|| {
            let path = directory.join("byte");
            let write = |path: &mut &Path, _| Ok(fs::write(path, [own_byte()]).map(|()| 0)?);
            let bytes = |_, _, byte| Ok(fs::read(&path)? == [byte]);
            let arrived = arrives(path.as_path(), write, bytes);
            let _ = fs::remove_file(&path); // If there is none, the child could not write it.
            arrived
        }),
        ("process_vm_readv", Further, &|| {
            let variable = new();
            arrives(&variable, store, |child, _, byte| {
                let mut found = [NO_BYTE];
                let there = RemoteIoVec { base: variable.as_ptr() as usize, len: 1 }; // A fork leaves every address.
                process_vm_readv(child, &mut [IoSliceMut::new(&mut found)], &[there]).context("process_vm_readv")?;
                Ok(found == [byte])
            })
        }),
    ];
    let outcome = |(name, means, attempt): (_, _, Try<'_>)| {
        let arrived = tried(attempt()).with_context(|| format!("sending a byte by {name}"))?;
        Ok(Attempt { name, means, arrived })
    };
    attempts.into_iter().map(outcome).collect()
}

/// Has a child hand its byte over; then the parent, which knows who it was, says whether it has got that one.
fn arrives<'a, W: Sync + ?Sized>(
    own: &'a W,
    hand_over: Task<&'a W>,
    has_arrived: impl FnOnce(Pid, Reply, u8) -> Result<bool>,
) -> Result<bool> {
    let mut crew = Crew::of(Kind::Processes, 1, || Ok(own))?;
    let child = crew.pid(0).context("it has only started")?;
    let reply = crew.ask(0, hand_over, NOTHING)?;
    if let Reply::Failed { .. } = reply {
        return reply.value().map(|_| false).context("the child");
    }
    has_arrived(child, reply, byte_of(child))
}

/// What a child chooses after the fork: nothing that its parent had in memory before.
fn own_byte() -> u8 {
    byte_of(getpid())
}

fn byte_of(child: Pid) -> u8 {
    const PRIME: i32 = 251; // The largest that fits into a byte, so that neighbours' bytes differ.
    (child.as_raw() % PRIME) as u8
}

fn one_bit(byte: u8) -> Signal {
    if byte.is_multiple_of(2) { Signal::SIGUSR1 } else { Signal::SIGUSR2 }
}

fn store(byte: &mut &AtomicU8, _: [u64; 3]) -> Result<u64> {
    byte.store(own_byte(), Relaxed); // The child's answer, which comes after it, orders this before the load.
    Ok(0)
}

fn write(mut to: impl Write) -> Result<u64> {
    Ok(to.write_all(&[own_byte()]).map(|()| 0)?)
}

/// Of a child that has not sent it, nothing would ever come.
const SENT: Reply = Reply::Done(0);

fn read(mut from: impl Read, reply: &Reply, byte: u8) -> Result<bool> {
    let mut found = [NO_BYTE];
    if *reply == SENT {
        from.read_exact(&mut found)?;
    }
    Ok(found == [byte])
}

pub fn tell(stage: &mut Stage, attempts: &[Attempt]) {
    let rows = attempts.iter().map(|attempt| {
        let named = Cell::neutral(if attempt.means == Named { "yes" } else { "no" });
        let arrived = Cell::of(&attempt.arrived, |&arrived| if arrived { Cell::good("yes") } else { Cell::bad("no") });
        vec![attempt.name.into(), named, arrived]
    });
    let title = "Does a byte that a child chose reach its parent?";
    stage.table(Table::new(title, ["by", "named by the claim", "arrived"], rows));
    let shared = variable_is_shared(attempts);
    let seen = if shared { "the parent saw the child's byte" } else { "the parent saw its own value" };
    stage.fact("A child's change of an ordinary variable does not reach its parent", !shared, seen);
    let (tried, worked) = named(attempts);
    let says = "Each named mechanism that this machine allows brings a byte from a child to its parent";
    stage.fact(says, worked == tried, format!("{worked} of {tried}"));
}

/// How many of the named mechanisms could be tried here, and how many of them brought the byte.
fn named(attempts: &[Attempt]) -> (usize, usize) {
    let tried = attempts.iter().filter(|attempt| attempt.means == Named && attempt.arrived.is_ok());
    (tried.count(), arrived(attempts, Named).len())
}

fn variable_is_shared(attempts: &[Attempt]) -> bool {
    !arrived(attempts, Variable).is_empty()
}

/// Must processes use one of the named mechanisms?
pub fn ruling(attempts: &[Attempt]) -> Ruling {
    let (tried, worked) = named(attempts);
    let further = arrived(attempts, Further);
    if tried == 0 {
        return Ruling::undecided("None of the named mechanisms could be tried here");
    }
    let named = format!("{worked} of {tried} named mechanisms carried a child's byte");
    if variable_is_shared(attempts) {
        Ruling::refuted("The parent saw its child's change of an ordinary variable")
    } else if worked == 0 {
        Ruling::refuted(named)
    } else if further.is_empty() {
        Ruling::holds(format!("{named}, and nothing else did"))
    } else {
        let others = format!("{named}, and so did {} others", further.len());
        Ruling::except(format!("for {}", further.join(", ")), others)
    }
}

fn arrived(attempts: &[Attempt], means: Means) -> Vec<&'static str> {
    let those = attempts.iter().filter(|attempt| attempt.means == means && attempt.arrived == Ok(true));
    those.map(|attempt| attempt.name).collect()
}

#[cfg(test)]
mod tests {
    use shared::Verdict::{Holds, Qualified, Refuted, Undecided};

    use super::*;

    fn attempt(means: Means, arrived: Tried<bool>) -> Attempt {
        Attempt { name: "it", means, arrived }
    }

    #[test]
    fn the_verdict_follows_from_what_arrived() {
        let lost = || attempt(Variable, Ok(false));
        let (named, further) = (|| attempt(Named, Ok(true)), |arrived| attempt(Further, Ok(arrived)));
        let verdict = |attempts: &[Attempt]| ruling(attempts).verdict;
        assert_eq!(verdict(&[lost(), named(), further(false)]), Holds);
        assert_eq!(verdict(&[lost(), named(), further(true)]), Qualified);
        assert_eq!(verdict(&[lost(), attempt(Named, Ok(false)), further(true)]), Refuted);
        assert_eq!(verdict(&[attempt(Variable, Ok(true)), named()]), Refuted);
        assert_eq!(verdict(&[lost(), attempt(Named, Err("refused".to_owned()))]), Undecided);
    }
}
