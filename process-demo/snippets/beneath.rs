//! A file that a stranger names, opened beneath a root directory that no name leads out of.
//!
//! Needs: nix 0.31 (fs)
//! Tests need: nix 0.31 (fs, user); tempfile 3
//! Runs on: Linux
//! Instead: cap-std to write files too, or to follow links that stay inside; this one only reads.
//!
//! Whoever checks a path and then opens it is late: in between, a part of the path may have become a symbolic link. Here
//! the kernel checks each step as it takes it.
//!
//! What it does not do: guard against the administrator: a hard link in the root is a file of the root; so is what is
//! mounted there; and a device in the root is opened before it is refused. It has no time-out: a file system that hangs
//! keeps it waiting for ever.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::Read;
//!
//! let directory = tempfile::tempdir().unwrap();
//! std::fs::write(directory.path().join("a b.txt"), "hello").unwrap();
//! let root = Root::new(directory.path()).unwrap();
//!
//! let path = path_of("/a%20b.txt?version=2").unwrap();
//! let mut text = String::new();
//! root.open(&path).unwrap().file.read_to_string(&mut text).unwrap();
//! assert_eq!(text, "hello");
//!
//! let outside = path_of("/../../etc/passwd").unwrap();
//! assert!(matches!(root.open(&outside), Err(Refusal::Missing)));
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::{fmt, io};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

/// The path below the root that the target of a request names: without its query, percent-decoded, and with `index.html`
/// where it ends with a slash.
///
/// # Errors
/// `Malformed` if the target does not start with a slash, or has a `%` without two hexadecimal digits, an encoded NUL,
/// which would end the path early, or an encoded slash, which somebody before us may have taken for a part of a name.
pub fn path_of(target: &str) -> Result<Cow<'_, Path>, Refusal> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if !path.starts_with('/') {
        return Err(Refusal::Malformed);
    }
    let relative = path.trim_start_matches('/').as_bytes();
    if !relative.contains(&b'%') && relative.last().is_some_and(|last| *last != b'/') {
        return Ok(Cow::Borrowed(Path::new(OsStr::from_bytes(relative)))); // Most are so: nothing to allocate.
    }
    let mut decoded = Vec::with_capacity(relative.len() + INDEX.len());
    let mut rest = relative;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = if *first == b'%' { encoded(after).ok_or(Refusal::Malformed)? } else { (*first, after) };
        decoded.push(byte);
        rest = after;
    }
    if decoded.last().is_none_or(|last| *last == b'/') {
        decoded.extend(INDEX);
    }
    Ok(Cow::Owned(PathBuf::from(OsString::from_vec(decoded))))
}

/// A directory below which files may be opened.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    lookup: Lookup,
}

impl Root {
    /// The directory is held open: renaming it later changes nothing. It may be reached by a symbolic link.
    ///
    /// # Errors
    /// As `open(2)` says: ENOENT, ENOTDIR, EACCES.
    pub fn new(directory: &Path) -> io::Result<Root> {
        let directory = nix::fcntl::open(directory, DIRECTORY, Mode::empty())?;
        // Kernels before 5.6 do not have the call, and some sandboxes forbid it.
        let in_one_call = openat2(&directory, ".", OpenHow::new().flags(DIRECTORY).resolve(INSIDE)).is_ok();
        Ok(Root { directory, lookup: if in_one_call { Lookup::InOneCall } else { Lookup::StepByStep } })
    }

    /// Opens a regular file for reading, without following any symbolic link; never blocks, not on a FIFO either.
    ///
    /// # Errors
    /// A `Refusal`; nothing stays open then.
    pub fn open(&self, path: &Path) -> Result<Found, Refusal> {
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(Refusal::Missing); // `a/../b` may exist, but who sends that wants to know something else.
        }
        let opened = match self.lookup {
            Lookup::InOneCall => in_one_call(self.directory.as_fd(), path),
            Lookup::StepByStep => step_by_step(self.directory.as_fd(), path),
        };
        let file = File::from(opened.map_err(Refusal::from)?);
        let metadata = file.metadata().map_err(Refusal::Failed)?; // Of what is open, not of what the path names by now.
        match metadata.file_type() {
            kind if kind.is_file() => Ok(Found { file, metadata }),
            kind if kind.is_dir() => Err(Refusal::Directory),
            _ => Err(Refusal::Forbidden),
        }
    }
}

/// A regular file, open for reading at its start.
#[derive(Debug)]
pub struct Found {
    /// To be read from.
    pub file: File,
    /// Its size and the time of its last change, among others, when it was opened.
    pub metadata: Metadata,
}

/// Why there is no file.
#[derive(Debug)]
pub enum Refusal {
    /// The target cannot be understood (HTTP: 400).
    Malformed,
    /// Nothing is there, or a symbolic link, which counts as nothing (404).
    Missing,
    /// Something is there that may not be read, or is neither a file nor a directory (403).
    Forbidden,
    /// A directory is there, and the path does not end with a slash (301 to the same with a slash).
    Directory,
    /// The machine would not: no descriptor free, a broken disk (503).
    Failed(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed => f.write_str("the path cannot be understood"),
            Refusal::Missing => f.write_str("there is no such file"),
            Refusal::Forbidden => f.write_str("this may not be read"),
            Refusal::Directory => f.write_str("this is a directory"),
            Refusal::Failed(error) => write!(f, "the file could not be opened: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Refusal {
        match error {
            // ELOOP: a symbolic link; EXDEV: a path that leads out; ENOTDIR: a file, or a link, where a directory should be.
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::ENAMETOOLONG => Refusal::Missing,
            // ENXIO: a socket, or a device that is not plugged in.
            Errno::EACCES | Errno::EPERM | Errno::ENXIO => Refusal::Forbidden,
            Errno::EINVAL => Refusal::Malformed, // A NUL in the path.
            other => Refusal::Failed(other.into()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Lookup {
    InOneCall,
    StepByStep,
}

const INDEX: &[u8] = b"index.html";
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
// Without O_NONBLOCK the open of a FIFO waits for a writer, perhaps for ever. A regular file does not heed it.
const FILE: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
const INSIDE: ResolveFlag =
    ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS).union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

fn in_one_call(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    loop {
        match openat2(root, path, OpenHow::new().flags(FILE).resolve(INSIDE)) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Each directory is held open while the next name is looked up in it, and no name is followed if it is a link.
fn step_by_step(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let mut parts = path.components().filter(|part| matches!(part, Component::Normal(_))).peekable();
    let mut directory: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let from = directory.as_ref().map_or(root, |directory| directory.as_fd());
        let flags = if parts.peek().is_some() { DIRECTORY } else { FILE };
        let opened = openat(from, part.as_os_str(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        if parts.peek().is_none() {
            return Ok(opened);
        }
        directory = Some(opened);
    }
    openat(root, ".", FILE | OFlag::O_NOFOLLOW, Mode::empty()) // No name at all: the root itself.
}

/// The byte that two hexadecimal digits stand for, and what follows them; none if it may not stand in a path.
fn encoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (digits, rest) = text.split_at_checked(2)?;
    let byte = u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?;
    (byte != 0 && byte != b'/').then_some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use nix::unistd::{Uid, mkfifo, setfsuid};
    use tempfile::TempDir;

    const OURS: &str = "ours";
    const SECRET: &str = "secret";

    /// A root with what a server may have, beside a secret; the root is opened with both lookups.
    fn site() -> (TempDir, [Root; 2]) {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("root/folder")).unwrap();
        fs::create_dir(at("outside")).unwrap();
        for (name, text) in [
            ("root/index.html", OURS),
            ("root/a b", OURS),
            ("root/folder/index.html", OURS),
            ("root/folder/file", OURS),
            ("outside/file", SECRET),
            ("root-of-another", SECRET),
        ] {
            fs::write(at(name), text).unwrap();
        }
        symlink("../outside/file", at("root/link")).unwrap();
        symlink(at("outside/file"), at("root/absolute-link")).unwrap();
        symlink("../outside", at("root/linked")).unwrap();
        symlink("folder/file", at("root/link-inside")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        mkfifo(&at("root/fifo"), Mode::S_IRWXU).unwrap();
        let root = Root::new(&at("root")).unwrap();
        let step_by_step = Root { lookup: Lookup::StepByStep, ..Root::new(&at("root")).unwrap() };
        (place, [root, step_by_step])
    }

    /// What a request for the target gets: the text of the file, or why not.
    fn get(root: &Root, target: &str) -> Result<String, Refusal> {
        let mut text = String::new();
        root.open(&path_of(target)?)?.file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn a_file_is_found_by_each_of_its_names() {
        let (_place, roots) = site();
        for root in &roots {
            for target in
                ["/", "//", "/?a=/../b", "/index.html#part", "/folder/", "/folder//file", "/./folder/./file", "/a%20b"]
            {
                assert_eq!(get(root, target).unwrap(), OURS, "{target} {root:?}");
            }
        }
    }

    #[test]
    fn no_name_leads_out_of_the_root() {
        let (place, roots) = site();
        let absolute = place.path().join("outside/file");
        let absolute = absolute.to_str().unwrap();
        let twice = format!("/{absolute}");
        for root in &roots {
            for target in [
                "/../outside/file",
                "/../../etc/passwd",
                "/folder/../../outside/file",
                "/folder/../index.html",
                "/%2e%2e/outside/file",
                "/%2E./outside/file",
                "/..",
                "/../",
                "/../root-of-another",
                "/link",
                "/absolute-link",
                "/linked/file",
                "/linked/",
                "/link-inside",
                "/magic/etc/passwd",
                "/link/",
                "/nothing",
                "/folder/nothing",
                "/index.html/",
                "/index.html/more",
                "/..%5coutside%5cfile",
                absolute,
                &twice,
            ] {
                let got = get(root, target);
                assert!(matches!(got, Err(Refusal::Missing)), "{target} {root:?} {got:?}");
            }
        }
    }

    #[test]
    fn a_target_that_could_mean_two_things_is_refused() {
        for target in
            ["", "*", "index.html", "http://host/", "/%", "/%2", "/%2g", "/%+1", "/a%00", "/..%2foutside", "/%é0"]
        {
            assert!(matches!(path_of(target), Err(Refusal::Malformed)), "{target}");
        }
        let (_place, [root, _]) = site();
        assert!(matches!(root.open(Path::new("a\0b")), Err(Refusal::Malformed)));
    }

    #[test]
    fn only_regular_files_are_opened_and_a_fifo_blocks_nobody() {
        let (_place, roots) = site();
        for root in &roots {
            assert!(matches!(get(root, "/fifo"), Err(Refusal::Forbidden)), "{root:?}");
            assert!(matches!(get(root, "/folder"), Err(Refusal::Directory)), "{root:?}");
            assert!(matches!(root.open(Path::new("")), Err(Refusal::Directory | Refusal::Missing)), "{root:?}");
        }
    }

    #[test]
    fn what_may_not_be_read_is_forbidden() {
        let (place, roots) = site();
        let mode = |name: &str, mode| {
            fs::set_permissions(place.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("", 0o755);
        mode("root", 0o755);
        mode("root/a b", 0o644);
        mode("root/index.html", 0);
        let look = || {
            // Root may read everything; but a thread may look at files as somebody else.
            setfsuid(if Uid::effective().is_root() { Uid::from_raw(65534) } else { Uid::effective() });
            for root in &roots {
                assert_eq!(get(root, "/a%20b").unwrap(), OURS, "{root:?}");
                assert!(matches!(get(root, "/"), Err(Refusal::Forbidden)), "{root:?}");
            }
        };
        thread::scope(|s| s.spawn(look).join().unwrap());
    }

    #[test]
    fn a_link_swapped_in_during_the_request_leads_nowhere() {
        const TRIES: usize = 10_000;
        let (place, roots) = site();
        let at = |name: &str| place.path().join(name);
        let stop = AtomicBool::new(false);
        let swap = |name: &str, link: &str| {
            let away = format!("{name}-away");
            while !stop.load(Relaxed) {
                for (from, to) in [(name, &*away), (link, name), (name, link), (&*away, name)] {
                    fs::rename(at("root").join(from), at("root").join(to)).unwrap();
                }
            }
        };
        thread::scope(|s| {
            s.spawn(|| swap("folder", "linked"));
            s.spawn(|| swap("a b", "link"));
            let requests = roots.iter().flat_map(|root| [(root, "/folder/file"), (root, "/a%20b")]).cycle();
            let mut answers = requests.take(4 * TRIES).map(|(root, target)| get(root, target));
            let wrong = answers.find(|answer| match answer {
                Ok(text) => text != OURS,
                Err(refusal) => !matches!(refusal, Refusal::Missing),
            });
            stop.store(true, Relaxed); // Publishes nothing: the threads only end.
            assert!(wrong.is_none(), "{wrong:?}");
        });
    }
}
