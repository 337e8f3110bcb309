//! How does a process that owns the cache answer those that ask it over a socket?

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::cache::{self, Found, Slot};

/// Asks for this instead of a key: how many were asked for so far?
const HOW_MANY: u64 = 0;

const ANSWER_BYTES: usize = 8 + size_of::<Slot>();

/// Answers all of them until each has hung up, or this process is ended.
pub fn own(slots: usize, mut clients: Vec<UnixStream>) -> io::Result<()> {
    let mut slots = vec![Slot::EMPTY; slots];
    let (mut count, mut answer) = (0, Vec::with_capacity(ANSWER_BYTES));
    while !clients.is_empty() {
        let mut watched: Vec<PollFd<'_>> =
            clients.iter().map(|client| PollFd::new(client.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = watched.iter().map(|one| one.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        clients.retain_mut(|client| {
            ready.next() != Some(true) || answer_one(client, &mut slots, &mut count, &mut answer).is_ok()
        });
    }
    Ok(())
}

fn answer_one(client: &mut UnixStream, slots: &mut [Slot], count: &mut u64, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut key = [0; 8];
    client.read_exact(&mut key)?;
    let key = u64::from_ne_bytes(key);
    answer.clear();
    if key == HOW_MANY {
        answer.extend(count.to_ne_bytes());
        answer.resize(ANSWER_BYTES, 0);
    } else {
        *count += 1;
        let was_there = cache::find(slots, key).is_some();
        answer.extend(u64::from(was_there).to_ne_bytes());
        let slot = if was_there { cache::find(slots, key) } else { Some(cache::put(slots, key)) };
        slot.into_iter().for_each(|slot| slot.write_to(answer));
    }
    client.write_all(answer)
}

/// One lookup by the owner.
pub fn ask(owner: &mut UnixStream, key: u64) -> io::Result<Found> {
    let answer = exchange(owner, key)?;
    let (was_there, value) = answer.split_at(8);
    Ok(Found { was_there: was_there[0] == 1, is_right: Slot::from_bytes(value).is_right(key) })
}

pub fn ask_how_many(owner: &mut UnixStream) -> io::Result<u64> {
    let answer = exchange(owner, HOW_MANY)?;
    let mut count = [0; 8];
    count.copy_from_slice(&answer[..8]);
    Ok(u64::from_ne_bytes(count))
}

fn exchange(owner: &mut UnixStream, question: u64) -> io::Result<[u8; ANSWER_BYTES]> {
    owner.write_all(&question.to_ne_bytes())?;
    let mut answer = [0; ANSWER_BYTES];
    owner.read_exact(&mut answer)?;
    Ok(answer)
}
