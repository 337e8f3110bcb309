//! What can a worker set for itself, and what can whoever is not bound by it still do?

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::Resource;
use nix::time::{ClockId, clock_gettime};
use process_demo::crew::Arguments;
use process_demo::limits::{self, Limit};
use process_demo::sandbox::{self, Otherwise};
use shared::measure;

use crate::allowance::{self, become_nobody, become_nobody_alone, in_force, open_file, pin_to, take_memory};

/// What a worker does, to itself or for us; it knows where the files are.
pub type Act = fn(&mut &Places, Arguments) -> Result<u64>;

/// What is set, how, and what whoever is free can do, which gives zero then.
pub const SETTINGS: [(&str, Act, Act); 10] = [
    ("RLIMIT_NOFILE (files)", |_, _| lower(Resource::RLIMIT_NOFILE, 3), open_a_fourth_file),
    ("RLIMIT_AS (memory)", |_, _| allowance::set(limits::more_address_space(4 << 20)), take_8_mib),
    // The limit counts whole seconds; zero of them are over at the next tick of the clock.
    ("RLIMIT_CPU (CPU time)", |_, _| lower(Resource::RLIMIT_CPU, 0), |_, [seconds, ..]| burn(seconds)),
    ("affinity (one CPU)", pin_to_the_last, |_, _| Ok((measure::usable_cpus().len() == 1).into())),
    ("no_new_privs", |_, _| Ok(sandbox::no_new_privileges().map(|()| 0)?), has_no_new_privileges),
    ("setresuid (C library)", |_, _| become_nobody(), read_private),
    ("setresuid (bare call)", |_, _| become_nobody_alone(), read_private),
    ("Landlock (one directory)", read_public_only, read_private),
    ("seccomp (calls refused)", |_, _| allow_few_calls(Otherwise::Refuse), read_private),
    ("seccomp (calls killed)", |_, _| allow_few_calls(Otherwise::Kill), read_private),
];

/// For whoever is to run into a limit of CPU time: within ten seconds it is noticed. All others need only answer.
pub const BURN: Arguments = [10, 0, 0];

const CONTENT: &[u8] = b"known to whoever may read it";

/// Two directories with a file each; removed when this is dropped.
pub struct Places {
    all: PathBuf,
    public: PathBuf,
    /// Its owner alone may read the file in it.
    private: PathBuf,
}

impl Places {
    pub fn make(under: &Path) -> Result<Places> {
        let all = under.join("files");
        let places = Places { public: all.join("public"), private: all.join("private"), all };
        for (directory, mode) in [(&places.public, 0o644), (&places.private, 0o600)] {
            fs::create_dir_all(directory)?;
            fs::write(directory.join("file"), CONTENT)?;
            fs::set_permissions(directory.join("file"), Permissions::from_mode(mode))?;
        }
        Ok(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.all); // What stays, the runner finds and reports.
    }
}

pub fn read_private(places: &mut &Places, _: Arguments) -> Result<u64> {
    read_in(&places.private)
}

pub fn read_public(places: &mut &Places, _: Arguments) -> Result<u64> {
    read_in(&places.public)
}

/// Landlock.
pub fn read_public_only(places: &mut &Places, _: Arguments) -> Result<u64> {
    allowance::confine_to(&[&places.public])
}

fn read_in(directory: &Path) -> Result<u64> {
    if fs::read(directory.join("file"))? == CONTENT { Ok(0) } else { Err(Errno::EIO.into()) }
}

fn lower(resource: Resource, soft: u64) -> Result<u64> {
    allowance::set(Limit::lower(resource, soft))
}

/// The numbers below 3 are open already.
fn open_a_fourth_file(_: &mut &Places, _: Arguments) -> Result<u64> {
    Ok(open_file().map(|()| 0)?)
}

fn take_8_mib(_: &mut &Places, _: Arguments) -> Result<u64> {
    Ok(take_memory(8 << 20).map(|()| 0)?)
}

/// Until the time is used, by this thread's own account, or the kernel has seen enough of it.
fn burn(seconds: u64) -> Result<u64> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let until = used()?.tv_sec() + seconds as i64;
    while used()?.tv_sec() < until {}
    Ok(0)
}

fn pin_to_the_last(_: &mut &Places, _: Arguments) -> Result<u64> {
    pin_to(measure::usable_cpus().into_iter().next_back().context("there is no CPU")?)
}

fn has_no_new_privileges(_: &mut &Places, _: Arguments) -> Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let flag = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")?.trim().parse().ok());
    flag.ok_or_else(|| Errno::ENOSYS.into())
}

/// What the worker's own life takes, and no opening of files.
fn allow_few_calls(otherwise: Otherwise) -> Result<u64> {
    let memory = [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise];
    let rest = [libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_futex, libc::SYS_exit_group];
    sandbox::no_new_privileges()?;
    in_force(sandbox::allow_only(&[memory, rest].concat(), otherwise))
}
