//! Does a byte arrive? One attempt for each way, each with a child of its own.

use std::fs;
use std::io::IoSliceMut;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::shared_region::SharedRegion;
use ipc_demo::socket_pair::socket_pair;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::signal::{Signal, raise};
use nix::sys::stat::Mode;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use process_demo::child::{Child, Exit, fork};

const NO_BYTE: u8 = 255; // No child has it: the remainders of 251 end below.

/// The byte that a child chooses after the fork: nothing that its parent had in memory before.
fn byte_of(child: Pid) -> u8 {
    const PRIME: i32 = 251; // The largest that fits into a byte, so that neighbours' bytes differ.
    (child.as_raw() % PRIME) as u8
}

/// A child that hands its byte over, and exits with what that returns.
fn child(hand_over: impl FnOnce(u8) -> Result<u8>) -> Result<Child> {
    let work = move || hand_over(byte_of(getpid())).unwrap_or(NO_BYTE);
    // SAFETY: what the children use are descriptors and atomic bytes; nothing in shared memory is owned by a value.
    unsafe { fork(work) }.context("starting a process")
}

pub fn by_variable() -> Result<bool> {
    let variable = AtomicU8::new(NO_BYTE);
    let child = child(|byte| {
        variable.store(byte, Relaxed); // In the child's copy of the page, unless the claim errs.
        Ok(0)
    })?;
    let expected = byte_of(child.pid());
    ensure!(child.wait()? == Exit::Code(0), "the child failed");
    Ok(variable.load(Relaxed) == expected)
}

pub fn by_pipe() -> Result<bool> {
    let (mut ours, mut theirs) = pipe_pair()?;
    let child = child(move |byte| Ok(theirs.send(&[byte]).map(|()| 0)?))?;
    let mut byte = [NO_BYTE];
    Ok(ours.receive(&mut byte)? && byte == [byte_of(child.pid())])
}

pub fn by_socket() -> Result<bool> {
    let (mut ours, mut theirs) = socket_pair()?;
    let child = child(move |byte| Ok(theirs.send(&[byte]).map(|()| 0)?))?;
    let mut byte = [NO_BYTE];
    Ok(ours.receive(&mut byte)? && byte == [byte_of(child.pid())])
}

pub fn by_queue(name: &str) -> Result<bool> {
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
    let one_byte = MqAttr::new(0, 1, 1, 0);
    let queue = mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&one_byte)).context("mq_open")?;
    mq_unlink(name).context("mq_unlink")?; // The child inherits it: nobody needs the name, so it cannot be left behind.
    let child = child(|byte| Ok(mq_send(&queue, &[byte], 0).map(|()| 0)?))?;
    let expected = byte_of(child.pid());
    ensure!(child.wait()? == Exit::Code(0), "the child failed"); // Then its message is there, and nobody waits in vain.
    let mut byte = [NO_BYTE];
    mq_receive(&queue, &mut byte, &mut 0).context("mq_receive")?;
    mq_close(queue).context("mq_close")?;
    Ok(byte == [expected])
}

pub fn by_shared_memory() -> Result<bool> {
    let region = SharedRegion::new(1)?;
    // SAFETY: the region is one zeroed byte, and lives longer than the reference.
    let shared = unsafe { &*region.as_ptr().cast::<AtomicU8>() };
    shared.store(NO_BYTE, Relaxed);
    let child = child(|byte| {
        shared.store(byte, Relaxed); // Waiting for the child's end orders this before the load.
        Ok(0)
    })?;
    let expected = byte_of(child.pid());
    ensure!(child.wait()? == Exit::Code(0), "the child failed");
    Ok(shared.load(Relaxed) == expected)
}

pub fn by_exit_status() -> Result<bool> {
    let child = child(Ok)?;
    let expected = byte_of(child.pid());
    Ok(child.wait()? == Exit::Code(expected.into()))
}

pub fn by_signal() -> Result<bool> {
    let signal_of = |byte: u8| if byte.is_multiple_of(2) { Signal::SIGUSR1 } else { Signal::SIGUSR2 };
    let child = child(|byte| Ok(raise(signal_of(byte)).map(|()| NO_BYTE)?))?;
    let expected = byte_of(child.pid());
    Ok(child.wait()? == Exit::Signal(signal_of(expected)))
}

pub fn by_file(directory: &Path) -> Result<bool> {
    let path = directory.join("byte");
    let child = child(|byte| Ok(fs::write(&path, [byte]).map(|()| 0)?))?;
    let expected = byte_of(child.pid());
    ensure!(child.wait()? == Exit::Code(0), "the child failed");
    let bytes = fs::read(&path)?;
    fs::remove_file(&path)?;
    Ok(bytes == [expected])
}

pub fn by_reading_its_memory() -> Result<bool> {
    let variable = AtomicU8::new(NO_BYTE);
    let child = child(|byte| {
        variable.store(byte, Relaxed);
        Ok(raise(Signal::SIGSTOP).map(|()| 0)?) // It must live to be read, and the parent must know when.
    })?;
    let stopped = waitpid(child.pid(), Some(WaitPidFlag::WUNTRACED)).context("waiting for the child to stop")?;
    ensure!(matches!(stopped, WaitStatus::Stopped(..)), "the child did not stop");
    let mut byte = [NO_BYTE];
    let there = RemoteIoVec { base: variable.as_ptr() as usize, len: 1 }; // A fork leaves every address as it was.
    process_vm_readv(child.pid(), &mut [IoSliceMut::new(&mut byte)], &[there]).context("process_vm_readv")?;
    Ok(byte == [byte_of(child.pid())])
}
