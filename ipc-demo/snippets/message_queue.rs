//! A POSIX message queue: whole messages with priorities, the most urgent first, that the kernel keeps for strangers.
//!
//! Needs: nix 0.31 (fs, mqueue, poll)
//! Runs on: Linux
//! Tests need: nix 0.31 (process)
//! Instead: ipc-channel for typed values, crossbeam-channel between threads; this one has priorities.
//!
//! A queue outlives its makers until its name is removed, so the name goes as soon as both sides have the queue open:
//! the maker drops the `QueueName` once it has heard of the other side, or at once if the other side is a forked child,
//! which needs no name. Who is killed before that leaves the name behind; put your own process id into it, and the next
//! start can tell what to remove. Containers and sandboxes often refuse queues: that is an error like any other.
//!
//! How many messages fit, and how long they are, is bounded by /proc/sys/fs/mqueue; see mq_overview(7).
//!
//! What it does not do: notice that the other side has died. `send` and `receive` have no time-out (`send_within` and
//! `receive_within` have): they wait for ever then. A caught signal does not end its waits. Whoever dies takes along
//! what it had received. Dropped, a `QueueName` removes whatever queue has that name by then.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::time::Duration;
//! use nix::sys::wait::{WaitStatus, waitpid};
//! use nix::unistd::{ForkResult, fork};
//!
//! let name = format!("/example-{}", std::process::id());
//! let (queue, name) = match MessageQueue::create(&name, 4, 16) {
//!     Ok(made) => made,
//!     Err(refused) => return Ok(println!("no queues here: {refused}")),
//! };
//! drop(name); // The child inherits the queue.
//! // SAFETY: this process has one thread, and the child only sends and exits.
//! match unsafe { fork() }? {
//!     ForkResult::Child => {
//!         let sent = queue.send(b"soon", 1).and_then(|()| queue.send(b"at once", 9));
//!         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
//!         unsafe { nix::libc::_exit(i32::from(sent.is_err())) }
//!     }
//!     ForkResult::Parent { child } => assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0)),
//! }
//! assert_eq!(queue.receive()?, Message { priority: 9, bytes: b"at once".to_vec() });
//! assert_eq!(queue.receive()?, Message { priority: 1, bytes: b"soon".to_vec() });
//! assert_eq!(queue.receive_within(Duration::from_millis(1))?, None);
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{Error, ErrorKind, Result};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_getattr, mq_open, mq_receive, mq_send, mq_unlink};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

/// One side's handle of a queue; any number of processes may send and receive by it. Closed when dropped.
#[derive(Debug)]
pub struct MessageQueue {
    queue: ManuallyDrop<MqdT>,
    message_bytes: usize,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The most urgent has the highest, up to 32767; those of one priority come in the order in which they were sent.
    pub priority: u32,
    /// As they were sent.
    pub bytes: Vec<u8>,
}

/// A queue's name in the system; removed when dropped by the process that made it. Those who have the queue keep it.
///
/// A forked child has a copy of it, whose end takes nothing away:
///
#[doc = concat!("```\nuse ", module_path!(), "::*;")]
/// use nix::sys::wait::waitpid;
/// use nix::unistd::{ForkResult, fork};
///
/// let name = format!("/kept-example-{}", std::process::id());
/// let Ok((_queue, made)) = MessageQueue::create(&name, 1, 1) else { return Ok(()) }; // Refused here.
/// // SAFETY: this process has one thread, and the child only drops its copy and exits.
/// match unsafe { fork() }? {
///     ForkResult::Child => {
///         drop(made);
///         // SAFETY: ends the child at once; nothing of the parent's is run or dropped.
///         unsafe { nix::libc::_exit(0) }
///     }
///     ForkResult::Parent { child } => waitpid(child, None)?,
/// };
/// MessageQueue::open(&name)?; // The name is still there.
/// drop(made);
/// assert!(MessageQueue::open(&name).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct QueueName {
    name: String,
    made_by: u32,
}

impl MessageQueue {
    /// A new queue for so many messages of at most so many bytes, for this user only. The name begins with a slash and
    /// has no other.
    ///
    /// Errors: EEXIST if there is one of that name, EINVAL for a size above this machine's limits, EMFILE above the
    /// user's share (RLIMIT_MSGQUEUE), ENOSYS or EACCES in many sandboxes; see mq_open(3).
    pub fn create(name: &str, messages: usize, message_bytes: usize) -> Result<(MessageQueue, QueueName)> {
        let size = |size: usize| size.try_into().map_err(|_| Errno::EINVAL);
        let sizes = MqAttr::new(0, size(messages)?, size(message_bytes)?, 0);
        let queue = open_queue(name, MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL, Some(&sizes))?;
        let name = QueueName { name: name.to_owned(), made_by: process::id() };
        Ok((MessageQueue { queue, message_bytes }, name))
    }

    /// Opens a queue that another process has made. Errors: ENOENT if there is none of that name, EACCES if it is
    /// another user's; see mq_open(3).
    pub fn open(name: &str) -> Result<MessageQueue> {
        let mut opened = MessageQueue { queue: open_queue(name, MQ_OFlag::empty(), None)?, message_bytes: 0 };
        opened.message_bytes = mq_getattr(&opened.queue)?.msgsize() as usize; // The kernel allows no negative one.
        Ok(opened)
    }

    /// Sends one message; blocks while the queue is full. Errors: EMSGSIZE for too long a message, EINVAL for a priority
    /// above 32767; see mq_send(3).
    pub fn send(&self, message: &[u8], priority: u32) -> Result<()> {
        self.send_until(message, priority, None)
    }

    /// The same, but blocks no longer than this: the error `TimedOut` then. No time at all only tries.
    pub fn send_within(&self, message: &[u8], priority: u32, time: Duration) -> Result<()> {
        self.send_until(message, priority, Instant::now().checked_add(time)) // What no clock can show is for ever.
    }

    /// Waits for a message and takes the most urgent one. Errors: see mq_receive(3).
    pub fn receive(&self) -> Result<Message> {
        loop {
            if let Some(message) = self.receive_until(None)? {
                return Ok(message);
            }
        }
    }

    /// The same, but no longer than this; none if the time is up. No time at all only looks.
    pub fn receive_within(&self, time: Duration) -> Result<Option<Message>> {
        self.receive_until(Instant::now().checked_add(time))
    }

    fn send_until(&self, message: &[u8], priority: u32, deadline: Option<Instant>) -> Result<()> {
        loop {
            match mq_send(&self.queue, message, priority) {
                Ok(()) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !wait_until_ready(self.as_fd(), PollFlags::POLLOUT, deadline)? {
                        return Err(Error::new(ErrorKind::TimedOut, "the message queue stayed full"));
                    } // Ready is a hint: another sender may have been faster.
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive_until(&self, deadline: Option<Instant>) -> Result<Option<Message>> {
        let (mut bytes, mut priority) = (vec![0; self.message_bytes], 0);
        loop {
            match mq_receive(&self.queue, &mut bytes, &mut priority) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(Some(Message { priority, bytes }));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !wait_until_ready(self.as_fd(), PollFlags::POLLIN, deadline)? {
                        return Ok(None);
                    } // Ready is a hint: another receiver may have been faster.
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for MessageQueue {
    /// To poll beside sockets and pipes, which POSIX does not promise and Linux offers.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here, and nobody uses it afterwards.
        let queue = unsafe { ManuallyDrop::take(&mut self.queue) };
        let _ = mq_close(queue); // It fails only for what is no queue.
    }
}

impl Drop for QueueName {
    fn drop(&mut self) {
        // A forked child has a copy of this; its end must not take the name away.
        if process::id() == self.made_by {
            let _ = mq_unlink(self.name.as_str()); // Somebody else may have removed it already.
        }
    }
}

/// It never blocks by itself: poll waits, whose time-out no change of the clock can stretch. (nix lacks mq_timedsend.)
fn open_queue(name: &str, how: MQ_OFlag, sizes: Option<&MqAttr>) -> Result<ManuallyDrop<MqdT>> {
    let flags = how | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC | MQ_OFlag::O_NONBLOCK;
    Ok(ManuallyDrop::new(mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, sizes)?))
}

/// Waits until the descriptor is ready, or has failed; false when the time is up. No deadline waits for ever.
fn wait_until_ready(fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let rounded_up = left.map(|left| left.saturating_add(Duration::from_micros(999)));
        let timeout = rounded_up.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        match poll(&mut [PollFd::new(fd, events)], timeout) {
            Ok(0) if left.is_some_and(|left| !left.is_zero()) => {} // Poll's longest wait is 24 days: look again.
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// None where this machine refuses queues: then there is nothing to test.
    fn queue(test: &str) -> Option<(MessageQueue, QueueName)> {
        MessageQueue::create(&name(test), 2, 8).map_err(|refused| eprintln!("skipped: {refused}")).ok()
    }

    fn name(test: &str) -> String {
        format!("/message-queue-{test}-{}", process::id())
    }

    #[test]
    fn the_most_urgent_comes_first_and_equals_in_order() {
        let Some((queue, _name)) = queue("order") else { return };
        let send = |bytes: &[u8], priority| queue.send_within(bytes, priority, Duration::ZERO).unwrap();
        send(b"low", 0);
        send(b"high", 32767);
        assert_eq!(queue.receive().unwrap().bytes, b"high");
        send(b"also low", 0);
        assert_eq!(queue.receive().unwrap(), Message { priority: 0, bytes: b"low".to_vec() });
        assert_eq!(queue.receive().unwrap().bytes, b"also low");
        assert_eq!(queue.receive_within(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn a_full_queue_lets_nobody_in_before_somebody_takes_one_out() {
        let Some((queue, _name)) = queue("full") else { return };
        queue.send(b"1", 0).unwrap();
        queue.send(b"2", 0).unwrap();
        let refused = queue.send_within(b"3", 0, Duration::from_millis(1)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        thread::scope(|scope| {
            let sending = scope.spawn(|| queue.send(b"3", 0).unwrap());
            assert_eq!(queue.receive().unwrap().bytes, b"1");
            sending.join().unwrap();
        });
        assert_eq!(queue.receive().unwrap().bytes, b"2");
        assert_eq!(queue.receive().unwrap().bytes, b"3");
    }

    #[test]
    fn too_long_and_too_urgent_are_errors() {
        let Some((queue, _name)) = queue("refused") else { return };
        let code = |sent: Result<()>| sent.unwrap_err().raw_os_error();
        assert_eq!(code(queue.send(&[0; 9], 0)), Some(Errno::EMSGSIZE as i32));
        assert_eq!(code(queue.send(&[0; 8], 32768)), Some(Errno::EINVAL as i32));
        queue.send(&[], 0).unwrap(); // An empty message is a message.
        assert_eq!(queue.receive().unwrap().bytes, []);
    }

    #[test]
    fn the_name_goes_and_the_queue_stays() {
        let Some((ours, guard)) = queue("name") else { return };
        assert_eq!(MessageQueue::create(&name("name"), 1, 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let theirs = MessageQueue::open(&name("name")).unwrap();
        drop(guard);
        assert_eq!(MessageQueue::open(&name("name")).unwrap_err().kind(), ErrorKind::NotFound);
        theirs.send(b"still", 0).unwrap();
        assert_eq!(ours.receive().unwrap().bytes, b"still");
    }
}
