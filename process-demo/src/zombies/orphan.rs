//! What becomes of a process whose parent has died: does it go on, and who may wait for it now?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem::forget;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};
use process_demo::child::{self, Exit};
use shared::{Cell, Column, Mood, Role, Stage, Table};

use crate::exit_number::{done, number_of};

use super::namespace;

/// What was seen, in short.
pub struct Orphans {
    /// How many there were, and how many of them answered after their parent's end.
    pub made: usize,
    pub went_on: usize,
}

/// One orphan's fate.
struct Fate {
    /// What its grandparent was.
    grandparent: &'static str,
    new_parent: String,
    went_on: bool,
    /// Its new parent got its exit status.
    waited_for: bool,
    /// What its grandparent got, if that is another.
    others: String,
}

pub fn show(stage: &mut Stage) -> Result<Orphans> {
    stage.note(
        "A process makes a child, the child makes one too, and ends. Its own child is an orphan: from now on somebody \
         else is its parent. It tells who, and works on.",
    );
    let mut fates = vec![orphan_of(Grandparent::Ordinary)?, orphan_of(Grandparent::Subreaper)?];
    match namespace::perform(orphan_in_namespace)? {
        Ok([parent, went_on, waited_for]) => fates.push(Fate {
            grandparent: "process 1 of a namespace",
            new_parent: format!("process {parent}"),
            went_on: went_on == 1,
            waited_for: waited_for == 1,
            others: String::new(),
        }),
        Err(why) => stage.note(format!("Who adopts where there is no subreaper at all was not tried: {why}.")),
    }
    stage.table(table(&fates));
    let says = "An orphan's new parent is its nearest ancestor that is a subreaper, not its grandparent as such";
    let got: Vec<&str> = fates.iter().map(|fate| fate.new_parent.as_str()).collect();
    let as_expected = ["this program", "its grandparent", "process 1"];
    stage.fact(says, got == as_expected[..got.len()], got.join(", "));
    let went_on = fates.iter().filter(|fate| fate.went_on).count();
    let waited_for = fates.iter().filter(|fate| fate.waited_for).count();
    let got = format!("{went_on} of {} answered, {waited_for} were waited for", fates.len());
    let says = "An orphan goes on when its parent dies, and its new parent can wait for it";
    stage.fact(says, went_on == fates.len() && waited_for == fates.len(), got);
    Ok(Orphans { made: fates.len(), went_on })
}

#[derive(Clone, Copy, PartialEq)]
enum Grandparent {
    Ordinary,
    Subreaper,
}

fn orphan_of(grandparent: Grandparent) -> Result<Fate> {
    let (mut told, teller) = io::pipe().context("a pipe")?;
    let (asked, mut asker) = io::pipe().context("a pipe")?;
    let mut news = teller.try_clone().context("a pipe")?;
    let live = move || {
        let ready = if grandparent == Grandparent::Subreaper { set_child_subreaper(true) } else { Ok(()) };
        let orphan = match ready.map_err(anyhow::Error::from).and_then(|()| bereave(teller, asked)) {
            Ok(orphan) => orphan,
            Err(error) => return u8::from(tell(&mut news, [0, number_of(&error).into()]).is_err()),
        };
        let told = tell(&mut news, [orphan.as_raw(), 0]);
        // Blocks until the orphan ends, if it is this process's by now.
        let waited = waitpid(orphan, None);
        let due = match grandparent {
            Grandparent::Ordinary => Err(Errno::ECHILD),
            Grandparent::Subreaper => Ok(WaitStatus::Exited(orphan, 0)),
        };
        u8::from(told.is_err() || waited != due)
    };
    // SAFETY: the child uses pipes and makes children as this does; nothing here is in shared memory.
    let child = unsafe { child::fork(live) }.context("forking")?;
    let [orphan, error] = hear(&mut told).context("no word of the orphan")?;
    if orphan == 0 {
        return Err(io::Error::from_raw_os_error(error)).context("making an orphan");
    }
    asker.write_all(&21_i32.to_ne_bytes())?;
    let [doubled, parent] = hear(&mut told).context("no answer by the orphan")?;
    asker.write_all(&0_i32.to_ne_bytes())?; // The orphan ends.
    let (orphan, parent) = (Pid::from_raw(orphan), Pid::from_raw(parent));
    let waited = waitpid(orphan, None);
    let grandparent_pid = child.pid();
    let its_word = child.wait()? == Exit::Code(0); // That it was let wait, or not, as a grandparent of its kind is.
    let here = waited == Ok(WaitStatus::Exited(orphan, 0));
    let refused = waited.err().map(|error| format!("this program: {error:?}"));
    Ok(Fate {
        grandparent: if grandparent == Grandparent::Ordinary { "no subreaper" } else { "a subreaper" },
        new_parent: name_of(parent, grandparent_pid),
        went_on: doubled == 42,
        waited_for: its_word && (here == (grandparent == Grandparent::Ordinary)),
        others: refused.unwrap_or_else(|| if its_word { "its grandparent: ECHILD".to_owned() } else { "?".to_owned() }),
    })
}

fn name_of(parent: Pid, grandparent: Pid) -> String {
    if parent == getpid() {
        "this program".to_owned()
    } else if parent == grandparent {
        "its grandparent".to_owned()
    } else if parent == getppid() {
        "this program's runner".to_owned()
    } else {
        format!("process {parent}")
    }
}

/// Makes a child that makes one too and ends; returns the orphan's number once its parent is dead and waited for.
fn bereave(teller: PipeWriter, asked: PipeReader) -> Result<Pid> {
    let (mut born, mut cry) = io::pipe()?;
    let (mut gate, mut opener) = io::pipe()?;
    let live = move || {
        // It asked, as every child made by `child::fork`, to be killed when its parent dies; this one takes it back.
        let free = set_pdeathsig(None).is_ok() && cry.write_all(&getpid().as_raw().to_ne_bytes()).is_ok();
        drop(cry);
        u8::from(!free || answer(teller, asked).is_err())
    };
    let parent = move || {
        // SAFETY: as where this process was made.
        match unsafe { child::fork(live) } {
            Ok(orphan) => forget(orphan), // Dropped, it would be killed.
            Err(error) => return number_of(&error.into()),
        }
        u8::from(gate.read_exact(&mut [0]).is_err()) // Lives until the orphan is free of the signal.
    };
    // SAFETY: as where this process was made.
    let parent = unsafe { child::fork(parent) }?;
    let mut orphan = [0; 4];
    let heard = born.read_exact(&mut orphan);
    let _ = opener.write_all(&[0]); // It fails only if the parent has ended early, which says why by its exit code.
    done(parent.wait()?).context("the orphan's parent")?;
    heard.context("no sign of life by the orphan")?;
    Ok(Pid::from_raw(i32::from_ne_bytes(orphan)))
}

/// The orphan's life: for each number asked, its double, and who the parent is by now; zero ends it.
fn answer(mut teller: PipeWriter, mut asked: PipeReader) -> io::Result<()> {
    loop {
        let mut number = [0; 4];
        asked.read_exact(&mut number)?;
        match i32::from_ne_bytes(number) {
            0 => return Ok(()),
            number => tell(&mut teller, [2 * number, getppid().as_raw()])?,
        }
    }
}

/// The same below process 1 of a namespace, where no subreaper stands between; returns the new parent, whether
/// it went on, and whether process 1 could wait for it.
fn orphan_in_namespace() -> Result<[i32; 3]> {
    let (mut told, teller) = io::pipe()?;
    let (asked, mut asker) = io::pipe()?;
    let orphan = bereave(teller, asked)?;
    asker.write_all(&21_i32.to_ne_bytes())?;
    let [doubled, parent] = hear(&mut told)?;
    asker.write_all(&0_i32.to_ne_bytes())?;
    let waited_for = waitpid(orphan, None) == Ok(WaitStatus::Exited(orphan, 0));
    Ok([parent, (doubled == 42).into(), waited_for.into()])
}

fn tell(to: &mut PipeWriter, words: [i32; 2]) -> io::Result<()> {
    to.write_all(words.map(i32::to_ne_bytes).as_flattened())
}

fn hear(from: &mut PipeReader) -> io::Result<[i32; 2]> {
    let mut words = [[0; 4]; 2];
    from.read_exact(words.as_flattened_mut())?;
    Ok(words.map(i32::from_ne_bytes))
}

fn table(fates: &[Fate]) -> Table {
    let yes_or_no = |yes: bool| {
        let (says, mood) = if yes { ("yes", Mood::Good) } else { ("no", Mood::Bad) };
        Cell::Word { says: says.to_owned(), mood }
    };
    let row = |fate: &Fate| {
        let others = if fate.others.is_empty() { Cell::Nothing } else { Cell::Text(fate.others.clone()) };
        let [grandparent, parent] = [fate.grandparent.to_owned(), fate.new_parent.clone()].map(Cell::Text);
        vec![grandparent, parent, yes_or_no(fate.went_on), yes_or_no(fate.waited_for), others]
    };
    Table {
        title: "Who adopts an orphan".to_owned(),
        columns: vec![
            Column { name: "its grandparent is".to_owned(), unit: String::new(), role: Role::Label },
            Column::value("new parent", ""),
            Column::value("works on", ""),
            Column::value("waits for it", ""),
            Column::value("who else tries to wait", ""),
        ],
        rows: fates.iter().map(row).collect(),
    }
}
