//! Who holds a lock on a file when its holder makes another task, and what gives it up?

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use process_demo::child;
use process_demo::crew::{self, Crew, NOTHING};
use shared::{Cell, Column, Mood, Stage, Table};

use super::files::{borrowed, survivor, unnamed};
use super::thing::{How, InTurn, Places, Site, Thing};

pub const FLOCK: Thing = Thing {
    name: "lock by flock",
    how: How::InTurn(InTurn {
        set_up,
        look: |places| Kind::Flock.look(places),
        change: |places, _| Kind::Flock.toggle(places),
    }),
};

pub const RECORD: Thing = Thing {
    name: "lock by fcntl",
    how: How::InTurn(InTurn {
        set_up,
        look: |places| Kind::Record.look(places),
        change: |places, _| Kind::Record.toggle(places),
    }),
};

pub const OPEN_FILE: Thing = Thing {
    name: "lock by fcntl, OFD",
    how: How::InTurn(InTurn {
        set_up,
        look: |places| Kind::OpenFile.look(places),
        change: |places, _| Kind::OpenFile.toggle(places),
    }),
};

#[derive(Clone, Copy)]
enum Kind {
    Flock,
    /// POSIX's, of a process (F_SETLK).
    Record,
    /// Of an open file description (F_OFD_SETLK).
    OpenFile,
}

/// A file opened twice: to be locked by the first descriptor, and to see by the second, which is never closed, whether it is.
fn set_up(site: &Site) -> Result<Places> {
    let file = unnamed(site)?;
    let witness = opened_again(&file).context("opening a file again")?;
    Ok([survivor(file)?, survivor(witness)?])
}

fn opened_again(file: &impl std::os::fd::AsRawFd) -> io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Kind {
    /// 1 if the caller holds the lock, 0 if nobody does, none if it is somebody else's.
    fn look(self, places: &Places) -> Option<u64> {
        let [own, witness] = places.map(|place| borrowed(&[place; 2]));
        if !self.is_held(witness?).ok()? {
            return Some(0);
        }
        self.lock(own?).is_ok().then_some(1) // Who holds it may lock it again.
    }

    fn toggle(self, places: &Places) -> io::Result<()> {
        let own = borrowed(places).ok_or(io::ErrorKind::NotFound)?;
        let done = if self.look(places) == Some(1) { self.unlock(own) } else { self.lock(own) };
        done.map_err(|errno| match errno {
            Errno::EINVAL | Errno::ENOLCK => Errno::EOPNOTSUPP.into(), // This file system, or this kernel, has none.
            other => other.into(),
        })
    }

    fn lock(self, file: BorrowedFd) -> nix::Result<()> {
        match self {
            Kind::Flock => flock(file, libc::LOCK_EX),
            Kind::Record => fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))).map(drop),
            Kind::OpenFile => fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).map(drop),
        }
    }

    fn unlock(self, file: BorrowedFd) -> nix::Result<()> {
        match self {
            Kind::Flock => flock(file, libc::LOCK_UN),
            Kind::Record => fcntl(file, FcntlArg::F_SETLK(&whole(libc::F_UNLCK))).map(drop),
            Kind::OpenFile => fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_UNLCK))).map(drop),
        }
    }

    fn is_held(self, witness: BorrowedFd) -> nix::Result<bool> {
        if let Kind::Flock = self {
            return match flock(witness, libc::LOCK_EX) {
                Err(Errno::EWOULDBLOCK) => Ok(true),
                taken => taken.and_then(|()| flock(witness, libc::LOCK_UN)).map(|()| false),
            };
        }
        // Asked for the other open file, since a process is never in its own way: it sees the locks of both kinds.
        let mut found = whole(libc::F_WRLCK);
        fcntl(witness, FcntlArg::F_OFD_GETLK(&mut found))?;
        Ok(i32::from(found.l_type) != libc::F_UNLCK)
    }
}

fn flock(file: BorrowedFd, operation: i32) -> nix::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: it takes numbers only. (nix's own ties the lock to a value that unlocks when dropped.)
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) }).map(drop)
}

/// Of the whole file.
fn whole(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

/// What might take a lock away from its holder.
#[derive(Clone, Copy)]
enum Act {
    /// One of the holder's threads opens the file once more, and closes that.
    ThreadCloses,
    /// A forked process closes the descriptor that it was born with, and ends.
    ForkedCloses,
}

const ROWS: [(&str, Kind); 3] = [("flock", Kind::Flock), ("fcntl", Kind::Record), ("fcntl, OFD", Kind::OpenFile)];
const ACTS: [Act; 2] = [Act::ThreadCloses, Act::ForkedCloses];

/// The famous trap of locks by fcntl, beside the others.
pub fn show_closing(stage: &mut Stage) -> Result<()> {
    let directory = stage.directory().to_owned();
    let kept = |kind| ACTS.map(|act| in_a_process(&directory, kind, act));
    let rows = ROWS.map(|(name, kind)| (name, kept(kind)));
    let cell = |kept: &Result<bool>| match kept {
        Ok(true) => Cell::Word { says: "held".to_owned(), mood: Mood::Good },
        Ok(false) => Cell::Word { says: "lost".to_owned(), mood: Mood::Bad },
        Err(why) => Cell::Skipped { skipped: format!("{why:#}") },
    };
    let row = |(name, kept): &(&str, [Result<bool>; 2])| {
        [Cell::Text((*name).to_owned())].into_iter().chain(kept.iter().map(cell)).collect()
    };
    stage.table(Table {
        title: "Is a lock on a file still held?".to_owned(),
        columns: vec![
            Column::label("locked by"),
            Column::value("after a thread reopened and closed the file", ""),
            Column::value("after a forked child closed its copy", ""),
        ],
        rows: rows.iter().map(row).collect(),
    });
    if rows.iter().flat_map(|(_, kept)| kept).all(Result::is_ok) {
        let held = rows.map(|(_, kept)| kept.map(|held| held.is_ok_and(|held| held)));
        let says = "Only a lock by fcntl is lost when its process closes any descriptor of the file";
        let got = held.as_flattened().iter().filter(|held| !**held).count();
        stage.fact(says, held == [[true, true], [false, true], [true, true]], format!("{got} of 6 lost"));
    }
    Ok(())
}

/// Is the lock still held after the act? Tried in a process of its own.
fn in_a_process(directory: &Path, kind: Kind, act: Act) -> Result<bool> {
    let mut holder = Crew::of(crew::Kind::Processes, 1, || Ok((directory, kind, act)))?;
    let try_it = |(directory, kind, act): &mut (&Path, Kind, Act), _| Ok(holds_after(directory, *kind, *act)?.into());
    let held = holder.ask(0, try_it, NOTHING)?.value();
    Ok(held.context("this file system has no such lock, or nothing could be made to try it with")? == 1)
}

fn holds_after(directory: &Path, kind: Kind, act: Act) -> Result<bool> {
    let [own, witness] = set_up(&Site { directory, stack_word: 0 })?;
    let file = borrowed(&[own; 2]).context("no descriptor")?;
    kind.lock(file)?;
    match act {
        Act::ThreadCloses => {
            let open_and_close = || opened_again(&file).map(drop);
            thread::scope(|scope| {
                let thread = thread::Builder::new().spawn_scoped(scope, open_and_close)?;
                thread.join().unwrap()
            })?;
        }
        Act::ForkedCloses => {
            // SAFETY: the child closes a copy of a descriptor, which is its own.
            let child = unsafe { child::fork(|| u8::from(libc::close(own as RawFd) != 0)) }?;
            child.wait()?;
        }
    }
    Ok(kind.is_held(borrowed(&[witness; 2]).context("no descriptor")?)?)
}
