//! Every descriptor that a snippet makes closes on exec: none can leak into a program that is started later.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_demo::event::Event;
use ipc_demo::fifo::{FifoReader, connect};
use ipc_demo::message_queue::MessageQueue;
use ipc_demo::pass_fd::{receive_fds, send_fds};
use ipc_demo::peer_credentials::Peer;
use ipc_demo::pipe_pair::pipe_pair;
use ipc_demo::shared_region::SharedRegion;
use ipc_demo::socket_pair::socket_pair;
use ipc_demo::typed::typed_pair;

/// Alone in its program: nobody else opens anything meanwhile.
#[test]
fn every_descriptor_that_a_snippet_makes_closes_on_exec() {
    let inherited = open_here();
    let ends = (pipe_pair().unwrap(), socket_pair().unwrap(), typed_pair::<u8, u8>().unwrap());
    let events = (Event::counter().unwrap(), Event::semaphore(1).unwrap());
    let region = SharedRegion::new(64).unwrap();
    let (giver, taker) = UnixStream::pair().unwrap();
    send_fds(&giver, &[region.fd(), events.0.as_fd()]).unwrap();
    let received = receive_fds(&taker, 2).unwrap();
    let peer = Peer::of(&giver).unwrap();
    let path = std::env::temp_dir().join(format!("close-on-exec-{}", std::process::id()));
    let expected = FifoReader::make(&path).unwrap();
    let fifo = (connect(&path).unwrap(), expected.accept(Duration::from_secs(60)).unwrap());
    let name = format!("/close-on-exec-{}", std::process::id());
    let queue = MessageQueue::create(&name, 1, 1).map(|made| (made, MessageQueue::open(&name).unwrap()));
    let made: Vec<String> = open_here().difference(&inherited).cloned().collect();
    assert!(made.len() >= 19, "too few to be all: {made:?}");
    for fd in made {
        assert!(closes_on_exec(&fd), "{fd}: {:?}", fs::read_link(format!("/proc/self/fd/{fd}")));
    }
    drop((ends, received, peer, fifo, queue));
}

/// But for the one that it looks with.
fn open_here() -> BTreeSet<String> {
    let listed = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let listed: Vec<_> = listed.map(|name| name.into_string().unwrap()).collect();
    listed.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

fn closes_on_exec(fd: &str) -> bool {
    const O_CLOEXEC: u32 = 0o2000000; // As /proc shows it; the same on x86-64 and 64-bit Arm.
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & O_CLOEXEC != 0
}
