//! Does a thread or a process sleep in the kernel, and in which system call?
//!
//! It is told only what the kernel shows, see proc_pid_status(5) and proc_pid_syscall(5). What it does not show is
//! unknown, never a no. The id of a process stands for its first thread.

use std::{fs, io, thread};

use nix::errno::Errno;
use nix::unistd::Pid;
use shared::measure::SystemClock;

/// What a thread was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It runs, or is about to; or it is stopped, or waits for a disk.
    Awake,
    /// It sleeps until somebody or something wakes it.
    Asleep(Sleep),
    /// It is gone, or dead and not yet waited for.
    Ended,
}

/// One sleep of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// How often it has gone to sleep so far: as long as this stays, it is the same sleep. None if nobody counts that.
    pub switches: Option<u64>,
    /// The call that it sleeps in; the error if the kernel does not show it (ENOSYS, EPERM or EACCES).
    pub call: Result<SystemCall, Errno>,
}

/// A system call that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemCall {
    /// Such as `libc::SYS_futex`; -1 outside of any.
    pub number: i64,
    /// As the kernel was given them; what a call does not take is left over from earlier.
    pub arguments: [u64; 6],
}

/// Looks at a thread once. The call was seen during the very sleep that is told.
///
/// # Errors
/// If /proc does not show its status.
pub fn activity_of(id: Pid) -> io::Result<Activity> {
    let before = status_of(id)?;
    let (state, switches) = before;
    match state {
        'S' => {}
        'Z' | 'X' => return Ok(Activity::Ended),
        _ => return Ok(Activity::Awake),
    }
    let shown = call_of(id);
    if status_of(id)? != before {
        return Ok(Activity::Awake); // Woken meanwhile: the call may be that of another sleep.
    }
    Ok(match shown {
        Ok(Some(call)) => Activity::Asleep(Sleep { switches, call: Ok(call) }),
        Ok(None) => Activity::Awake,
        Err(errno) => Activity::Asleep(Sleep { switches, call: Err(errno) }),
    })
}

/// Whether a thread sleeps in this system call, such as `libc::SYS_futex`; none if the kernel does not show it.
pub fn sleeps_in(id: Pid, number: i64) -> Option<bool> {
    match activity_of(id).ok()? {
        Activity::Asleep(sleep) => Some(sleep.call.ok()?.number == number),
        Activity::Awake | Activity::Ended => Some(false),
    }
}

/// Looks over and over, and lets others run in between, until there is something to tell.
///
/// None after ten seconds. That is only a bound, for what never comes: nobody waits for the time to pass.
///
/// # Errors
/// The first that a look meets.
pub fn look_until<T, E>(clock: SystemClock, mut look: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    const PATIENCE_NS: u64 = 10_000_000_000;
    let from_ns = clock.now_ns();
    loop {
        let found = look()?;
        if found.is_some() || clock.now_ns() - from_ns > PATIENCE_NS {
            return Ok(found);
        }
        thread::yield_now(); // Whoever is looked at may need this very CPU.
    }
}

/// The state of a thread in one letter, such as S, R or Z; X also if it is gone. It takes a third of the time of
/// `activity_of`, for those who do not ask for the call.
///
/// # Errors
/// If /proc does not show its status.
pub fn state_of(id: Pid) -> io::Result<char> {
    Ok(status_of(id)?.0)
}

/// Its state, and how often it has gone to sleep.
fn status_of(id: Pid) -> io::Result<(char, Option<u64>)> {
    let status = match fs::read_to_string(format!("/proc/{id}/status")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(('X', None)),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(('X', None)),
        read => read?,
    };
    let field = |name| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
    let state = field("State:").and_then(|state| state.chars().next());
    let switches = field("voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
    Ok((state.ok_or_else(|| io::Error::other("/proc does not tell its state"))?, switches))
}

/// None of one that runs.
fn call_of(id: Pid) -> Result<Option<SystemCall>, Errno> {
    let line = fs::read_to_string(format!("/proc/{id}/syscall")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::ENOSYS, // The thread is there: not every kernel is built to show it.
        _ => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    })?;
    let mut words = line.split_whitespace();
    let Some(number) = words.next().and_then(|word| word.parse().ok()) else { return Ok(None) };
    let mut arguments = [0; 6];
    for (argument, word) in arguments.iter_mut().zip(words) {
        *argument = u64::from_str_radix(word.trim_start_matches("0x"), 16).map_err(|_| Errno::EIO)?;
    }
    Ok(Some(SystemCall { number, arguments }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;

    use nix::libc;
    use nix::unistd::gettid;

    use super::*;

    #[test]
    fn a_sleeper_is_seen_in_its_own_call_alone_and_in_one_and_the_same_sleep() {
        let (mut never_written, keeps_waiting) = io::pipe().unwrap();
        let descriptor = never_written.as_raw_fd() as u64;
        let (tell, told) = channel();
        let sleeper = thread::spawn(move || {
            tell.send(gettid()).unwrap();
            never_written.read(&mut [0; 7]).unwrap()
        });
        let tid = told.recv().unwrap();
        let in_read = || -> io::Result<_> {
            Ok(match activity_of(tid)? {
                Activity::Asleep(Sleep { call: Err(_), .. }) => Some(None), // Not shown here: nothing to test.
                Activity::Asleep(sleep) if sleep.call.unwrap().number == libc::SYS_read => Some(Some(sleep)),
                _ => None,
            })
        };
        let Some(sleep) = look_until(SystemClock, in_read).unwrap().unwrap() else { return };
        let arguments = sleep.call.unwrap().arguments;
        assert_eq!((arguments[0], arguments[2]), (descriptor, 7));
        assert_eq!(activity_of(tid).unwrap(), Activity::Asleep(sleep));
        assert_eq!([libc::SYS_read, libc::SYS_futex].map(|call| sleeps_in(tid, call)), [Some(true), Some(false)]);
        drop(keeps_waiting);
        assert_eq!(sleeper.join().unwrap(), 0);
        let ended = || activity_of(tid).map(|activity| (activity == Activity::Ended).then_some(()));
        assert_eq!(look_until(SystemClock, ended).unwrap(), Some(()));
    }

    #[test]
    fn whoever_looks_is_awake() {
        assert_eq!(activity_of(gettid()).unwrap(), Activity::Awake);
        assert_eq!(sleeps_in(gettid(), libc::SYS_read), Some(false));
    }
}
