//! A counter in a file that several processes change.
//!
//! Needs: nix 0.31 (fs)
//! Runs on: Linux
//! Instead: std::fs::File::lock (Rust 1.89) or fd-lock for any file; tempfile to replace a file as a whole.
//!
//! Each call opens the file anew, and that is the point: a lock by flock(2) belongs to the open file, not to the
//! process or thread. Processes that inherit one open file, or threads that share one, do not exclude each other.
//!
//! What it does not do: bind those who do not take the lock. It has no time-out: it waits for ever if its holder lives
//! and does not go on. If its holder dies, the kernel unlocks. A caught signal does not end its waits. Killed within
//! `create`, a process leaves a file without a count, an error for everybody else. Who waits while the file is replaced
//! adds to the old one. Nothing is forced to the disk.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! let path = std::env::temp_dir().join(format!("file-counter-example-{}", std::process::id()));
//! create(&path)?;
//! std::thread::scope(|s| {
//!     let workers: Vec<_> = (0..2).map(|_| s.spawn(|| add_locked(&path))).collect();
//!     workers.into_iter().try_for_each(|worker| worker.join().unwrap())
//! })?;
//! assert_eq!(total(&path)?, 2);
//! std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::fs::{File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Makes a file that holds a count of zero, as eight bytes, the lowest first.
///
/// Errors: `AlreadyExists` if there is such a file; otherwise what open(2) and write(2) say.
pub fn create(path: &Path) -> Result<()> {
    write(&File::create_new(path)?, 0)
}

/// The count as it is now; other processes may be adding.
///
/// Errors: `UnexpectedEof` if the file is shorter than a count; otherwise what open(2) and read(2) say.
pub fn total(path: &Path) -> Result<u64> {
    read(&File::open(path)?)
}

/// The bug: adds one by a read and a separate write, and does something else in between.
///
/// The kernel makes each of them whole, and still the addition of another process fits between the two.
///
/// Errors: as for `total`, and what write(2) says.
pub fn add_in_two_steps(path: &Path, meanwhile: impl FnOnce()) -> Result<()> {
    let file = open(path)?;
    let seen = read(&file)?;
    meanwhile();
    write(&file, seen.wrapping_add(1))
}

/// The fix: adds one while it holds the file's lock. Blocks while another process or thread holds it.
///
/// The lock is advisory: it binds those who take it, and nobody else. The kernel releases it when its holder dies. The
/// count wraps around at the end.
///
/// Errors: as for `total`, and what write(2) and flock(2) say.
pub fn add_locked(path: &Path) -> Result<()> {
    let file = lock(open(path)?)?;
    let seen = read(&file)?;
    write(&file, seen.wrapping_add(1)) // Dropped after it, the lock lets the next one read what was written.
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn lock(mut file: File) -> Result<Flock<File>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EINTR)) => file = back, // A signal came while it waited.
            Err((_, error)) => return Err(error.into()),
        }
    }
}

fn read(file: &File) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

fn write(file: &File, total: u64) -> Result<()> {
    file.write_all_at(&total.to_le_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::remove_file;
    use std::path::PathBuf;
    use std::{env, process, thread};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Scratch {
            let path = env::temp_dir().join(format!("file-counter-{test}-{}", process::id()));
            create(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = remove_file(&self.0); // Best effort: a test that fails has told more important things.
        }
    }

    #[test]
    fn an_addition_in_the_middle_of_two_steps_is_lost() {
        let file = Scratch::new("lost");
        add_in_two_steps(&file.0, || add_locked(&file.0).unwrap()).unwrap();
        assert_eq!(total(&file.0).unwrap(), 1);
    }

    #[test]
    fn a_lock_loses_nothing() {
        let file = Scratch::new("locked");
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..500).for_each(|_| add_locked(&file.0).unwrap()));
            }
        });
        assert_eq!(total(&file.0).unwrap(), 2000);
    }

    #[test]
    fn two_that_share_one_open_file_do_not_exclude_each_other() {
        let file = Scratch::new("shared");
        let (one, same) = (open(&file.0).unwrap(), open(&file.0).unwrap());
        let inherited = one.try_clone().unwrap();
        let _held = lock(one).unwrap();
        assert!(Flock::lock(inherited, FlockArg::LockExclusiveNonblock).is_ok()); // Its drop unlocks both: they are one.
        let _held = lock(open(&file.0).unwrap());
        assert_eq!(Flock::lock(same, FlockArg::LockExclusiveNonblock).unwrap_err().1, Errno::EWOULDBLOCK);
    }

    #[test]
    fn the_count_wraps_around_at_the_end() {
        let file = Scratch::new("end");
        write(&open(&file.0).unwrap(), u64::MAX).unwrap();
        add_locked(&file.0).unwrap();
        assert_eq!(total(&file.0).unwrap(), 0);
    }

    #[test]
    fn a_file_that_is_no_counter_is_an_error() {
        let file = Scratch::new("short");
        open(&file.0).unwrap().set_len(3).unwrap();
        assert_eq!(total(&file.0).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(create(&file.0).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    }
}
