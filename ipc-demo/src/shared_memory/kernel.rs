//! How much has the kernel to do for a thread? Its page faults and its switches, as /proc counts them.

use std::fs;
use std::ops::{Add, Sub};

use anyhow::{Context, Result};
use nix::unistd::{Pid, getpid, gettid};

/// A thread of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub process: Pid,
    pub thread: Pid,
}

/// What the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub faults: u64,
    /// It went to sleep.
    pub voluntary: u64,
    /// Another took its CPU.
    pub involuntary: u64,
}

impl Task {
    pub fn own() -> Task {
        Task { process: getpid(), thread: gettid() }
    }

    pub fn counts(self) -> Result<Counts> {
        let text = |file: &str| fs::read_to_string(format!("/proc/{}/task/{}/{file}", self.process, self.thread));
        let (stat, status) = (text("stat").context("reading stat")?, text("status").context("reading status")?);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(Counts {
            faults: minor_faults_in(&stat).context("/proc does not count page faults")?,
            voluntary: field("voluntary_ctxt_switches:").context("/proc does not count switches")?,
            involuntary: field("nonvoluntary_ctxt_switches:").context("/proc does not count switches")?,
        })
    }
}

/// The name in parentheses may contain spaces; what follows it is numbered from the third field, see proc_pid_stat(5).
fn minor_faults_in(stat: &str) -> Option<u64> {
    const MINOR_FAULTS: usize = 10;
    stat.rsplit_once(')')?.1.split_whitespace().nth(MINOR_FAULTS - 3)?.parse().ok()
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            faults: self.faults + other.faults,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, before: Counts) -> Counts {
        Counts {
            faults: self.faults - before.faults,
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use ipc_demo::shared_region::SharedRegion;

    use super::super::memory::{WORD_BYTES, words_of};
    use super::*;

    #[test]
    fn page_faults_are_the_tenth_field_whatever_the_name_contains() {
        assert_eq!(minor_faults_in("7 (a) b) S 4 5 6 7 8 9 10 11 12"), Some(10));
    }

    #[test]
    fn the_first_touch_of_a_new_mapping_is_a_page_fault_of_the_thread_that_touches() {
        let region = SharedRegion::new(WORD_BYTES).unwrap();
        let faults = || Task::own().counts().unwrap().faults;
        let before = faults();
        words_of(&region)[0].store(1, Relaxed);
        assert!(faults() > before);
    }
}
