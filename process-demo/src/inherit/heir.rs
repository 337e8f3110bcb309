//! What does an heir get: a new thread, a forked child, another program? Its parent and it look in turn.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getpid, getppid, gettid};
use process_demo::crew::{Arguments, Crew, Kind};
use process_demo::spawn::{self, WithParent};
use shared::{Tried, tried};

use super::things::{BY_HEIR, COPY, GONE, LATER, OWN, Place, RESET, SAME, SET, SHARED, THINGS, Thing};

/// The columns.
pub const THREAD: usize = 0;
pub const FORK: usize = 1;
pub const EXEC: usize = 2;
pub const SPAWN: usize = 3;

type Word = &'static str;
const HALF: &str = "half shared"; // Only one of the two sees the other's change.
const WORDS: [Word; 7] = [SHARED, COPY, SAME, OWN, RESET, GONE, HALF];

/// What becomes of a thing. The parent is a process of its own each time, so no cell changes another.
pub fn observe(thing: usize, column: usize) -> Result<Tried<Word>> {
    let mut parent = Crew::of(Kind::Processes, 1, || Ok(()))?;
    let see = |_: &mut (), [thing, column, _]: Arguments| {
        let word = pass_on(thing as usize, column as usize)?;
        Ok(WORDS.iter().position(|known| *known == word).context("an unknown word")? as u64)
    };
    let seen = parent.ask(0, see, [thing as u64, column as u64, 0])?.value();
    tried(seen.map(|word| WORDS[word as usize])).context(THINGS[thing].name)
}

/// The parent makes the thing, sets it and makes an heir; then they look at it and change it in turn.
fn pass_on(index: usize, column: usize) -> Result<Word> {
    let Thing { make, look, change, .. } = THINGS[index];
    let on_the_stack = AtomicU64::new(0);
    let place = make(&on_the_stack)?;
    let before = look(place);
    change.map_or(Ok(()), |change| change(place, SET))?;
    let see = |place| look(place).ok_or(Errno::ENOSYS).context("this kernel does not show it");
    let set = see(place)?;
    beside_an_heir(column, index, place, |ask| {
        let first = ask(JUST_LOOK)?;
        let Some(change) = change else {
            let heir = first.context("no id")?.parse()?;
            return Ok(if see(heir)? == see(place)? { SAME } else { OWN }); // Meanwhile the heir waits.
        };
        if first.as_ref() != Some(&set) {
            return Ok(match first {
                None => GONE,
                first if first == before => RESET,
                Some(_) => OWN,
            });
        }
        let changed = ask(BY_HEIR)?;
        let reached = look(place);
        change(place, LATER)?;
        Ok(word(&[first, changed, reached, look(place), ask(JUST_LOOK)?]))
    })
}

/// What follows from what was seen: by the heir before and after its change, then by the parent before and after its own,
/// and by the heir at last.
fn word<T: PartialEq>([first, changed, reached, later, last]: &[Option<T>; 5]) -> Word {
    let to_parent = changed != first && reached == changed;
    let to_heir = later != reached && last == later;
    match (to_parent, to_heir) {
        (true, true) => SHARED,
        (true, false) if later.is_none() => SHARED, // The heir has ended it, for both.
        (false, false) if changed != first && later != reached => COPY,
        _ => HALF,
    }
}

const JUST_LOOK: u64 = 0;

/// Has an heir tell what it sees, after it has given the thing this value.
type Ask<'l> = &'l mut dyn FnMut(u64) -> Result<Option<String>>;

/// Makes an heir that lives until `meet` is done.
fn beside_an_heir(column: usize, index: usize, place: Place, meet: impl FnOnce(Ask) -> Result<Word>) -> Result<Word> {
    let (mut line, its_line) = UnixStream::pair().context("a socket pair")?;
    let meet = move || {
        let mut answers = BufReader::new(line.try_clone()?).lines();
        meet(&mut |value| {
            writeln!(line, "{value}")?;
            let seen = answers.next().context("the heir has ended early")??;
            Ok(Some(seen).filter(|seen| !seen.is_empty()))
        })
    };
    let arguments = ["--role", ROLE, &index.to_string(), &place.to_string()].map(OsString::from);
    match column {
        THREAD => thread::scope(|scope| {
            let live = || obey(its_line, index, place);
            thread::Builder::new().spawn_scoped(scope, live).context("starting a thread")?;
            meet() // It closes the line at its end, so the thread ends.
        }),
        FORK => beside_a_child(|| obey(its_line, index, place), meet),
        EXEC => {
            let mut program = Command::new("/proc/self/exe");
            program.args(arguments).stdin(OwnedFd::from(its_line));
            beside_a_child(move || Err(program.exec().into()), meet) // An exec returns only if it fails.
        }
        _ => {
            let arguments = arguments.each_ref().map(OsString::as_os_str);
            let _heir = spawn::spawn(ROLE, &arguments, &[its_line.as_fd()], WithParent::End).context("spawning")?;
            drop(its_line);
            meet()
        }
    }
}

/// A fork beside whatever threads there are: what becomes of those is a question here, and `child` would refuse.
fn beside_a_child(work: impl FnOnce() -> Result<()>, meet: impl FnOnce() -> Result<Word>) -> Result<Word> {
    let parent = getpid();
    // SAFETY: a second thread, if there is one, sleeps until it gets a message, and holds no lock.
    match unsafe { fork() }.context("forking")? {
        ForkResult::Child => {
            if set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent {
                let _ = work(); // If it fails, the parent sees the line end.
            }
            // SAFETY: it ends the child without running anything of the parent's.
            unsafe { libc::_exit(1) }
        }
        ForkResult::Parent { child } => {
            drop(work); // With the heir's end of the line.
            let met = meet();
            let _ = kill(child, Signal::SIGKILL); // Not reaped yet, so the number is still its own.
            waitpid(child, None)?;
            met
        }
    }
}

/// The heir's life: as often as it is told a value, it gives it to the thing and says what it sees; of what nobody can
/// change, its own id instead.
fn obey(line: UnixStream, index: usize, place: Place) -> Result<()> {
    let Thing { look, change, .. } = THINGS[index];
    for value in BufReader::new(&line).lines() {
        let seen = match (value?.parse()?, change) {
            (_, None) => Some(gettid().to_string()),
            (JUST_LOOK, _) => look(place),
            (value, Some(change)) => change(place, value).map(|()| look(place))?,
        };
        writeln!(&line, "{}", seen.unwrap_or_default())?;
    }
    Ok(())
}

/// The role of this program after an exec.
pub const ROLE: &str = "inherit-heir";

pub fn play(arguments: &[OsString]) -> u8 {
    u8::from(inherit(arguments).is_err())
}

fn inherit(arguments: &[OsString]) -> Result<()> {
    let numbers: Vec<u64> = arguments.iter().filter_map(|word| word.to_str()?.parse().ok()).collect();
    let &[index, place] = numbers.as_slice() else { bail!("which thing, and where?") };
    let line: OwnedFd = match spawn::role()? {
        Some(mut role) => role.descriptors.pop().context("no line was handed over")?,
        None => io::stdin().as_fd().try_clone_to_owned()?,
    };
    obey(line.into(), index as usize, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: [u64; 5]) -> Word {
        word(&values.map(|value| (value > 0).then_some(value)))
    }

    #[test]
    fn the_word_follows_from_who_sees_whose_change() {
        assert_eq!(of([1, 2, 2, 3, 3]), SHARED);
        assert_eq!(of([1, 2, 1, 3, 2]), COPY);
        assert_eq!(of([1, 0, 0, 0, 0]), SHARED); // Ended by the heir, and ended for the parent.
    }

    #[test]
    fn what_comes_through_in_one_direction_only_is_neither_shared_nor_a_copy() {
        assert_eq!(of([1, 2, 2, 3, 2]), HALF);
        assert_eq!(of([1, 1, 1, 3, 3]), HALF); // The heir could not change what the parent could.
        assert_eq!(of([1, 1, 1, 1, 1]), HALF); // Nor could anybody.
    }
}
