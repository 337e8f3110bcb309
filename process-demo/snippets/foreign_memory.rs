//! Reading the memory of another process, if the kernel lets us.
//!
//! Needs: nix 0.31 (process, uio)
//! Runs on: Linux
//! Instead: nix::sys::uio::process_vm_readv itself for many places in one call, procfs for where things lie.
//!
//! The kernel allows it to whoever may trace the process: root, or the same user, unless a security module such as Yama
//! or the target itself (`PR_SET_DUMPABLE`) forbids it. See `process_vm_readv(2)` and "Ptrace access mode checking" in
//! `ptrace(2)`.
//!
//! What it does not do: write, or stop the process while it reads: what changes meanwhile comes out torn. Nor does it
//! know whom the number means: once the process has ended, that may be a stranger.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let secret = 42u64; // In this process, so that the example needs nobody's permission.
//! let seen = read_word(nix::unistd::getpid(), &raw const secret as usize).unwrap();
//! assert_eq!(seen, 42);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Fills `into` with what stands at `address` of the process's memory.
///
/// The other process goes on meanwhile and may change what is being read: a copy of more than one word can be torn.
///
/// # Errors
/// EPERM when the kernel does not allow it, ESRCH when there is no such process, EFAULT when nothing is mapped there;
/// `UnexpectedEof` when only a part of it is mapped.
pub fn read(pid: Pid, address: usize, into: &mut [u8]) -> io::Result<()> {
    let wanted = into.len();
    let remote = [RemoteIoVec { base: address, len: wanted }];
    let copied = process_vm_readv(pid, &mut [io::IoSliceMut::new(into)], &remote)?;
    // A short count means that the rest is not mapped; trying again would not help.
    if copied == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The word at `address` of the process's memory, in this machine's byte order.
///
/// # Errors
/// As for `read`.
pub fn read_word(pid: Pid, address: usize) -> io::Result<u64> {
    let mut word = [0; size_of::<u64>()];
    read(pid, address, &mut word)?;
    Ok(u64::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::unistd::getpid;

    #[test]
    fn an_address_where_nothing_is_mapped_is_an_error() {
        let error = read_word(getpid(), 8).unwrap_err(); // The first page is never mapped.
        assert_eq!(error.raw_os_error(), Some(Errno::EFAULT as i32));
    }

    #[test]
    fn as_much_is_read_as_was_asked_for() {
        let text = *b"as much as this";
        let mut copy = [0; 7];
        read(getpid(), text.as_ptr().addr(), &mut copy).unwrap();
        assert_eq!(&copy, b"as much");
    }
}
