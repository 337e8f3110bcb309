//! The memory of a process, or of a family of processes: resident (RSS), its share (PSS) and its own alone (USS).
//!
//! Needs: nix 0.31 (process)
//! Runs on: Linux
//! Instead: sysinfo on other systems, procfs for all else that /proc tells of a process.
//!
//! A page that several processes map (a library, or whatever a fork has not copied yet) is in the RSS of each of them.
//! The PSS divides it by their number, and the USS leaves it out. See `proc_pid_smaps(5)`.
//!
//! What it does not do: watch: each call looks anew, at one process after the other. It is not for the inside of what
//! is timed, since the kernel walks all pages. Nor does it know whom a number means: once the process has ended, that
//! may be a stranger.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use nix::unistd::{ForkResult, fork, getpid};
//!
//! # nix::sys::prctl::set_name(c"\xc3").unwrap(); // A program's name may be cut inside a letter.
//! let held = vec![1u8; 8 << 20]; // Written to: memory that was only asked for is not there yet.
//! let (gate, opener) = std::io::pipe().unwrap();
//! // SAFETY: an example runs alone on its main thread, and the child only waits and exits.
//! let child = match unsafe { fork() }.unwrap() {
//!     ForkResult::Parent { child } => child,
//!     ForkResult::Child => {
//!         drop(opener); // While any copy is open, the child never sees the end.
//!         let _ = std::io::Read::read(&mut &gate, &mut [0]);
//!         // SAFETY: it ends the child without running anything of it.
//!         unsafe { nix::libc::_exit(0) }
//!     }
//! };
//! let both = of_family(&[getpid(), child]).unwrap();
//! assert!(both.rss_bytes >= 2 * (8 << 20)); // Each of the two has the 8 MiB in its RSS,
//! assert!(both.pss_bytes + (8 << 20) <= both.rss_bytes); // but they are there once,
//! assert!(of(getpid()).unwrap().uss_bytes < 8 << 20); // and belong to neither alone.
//! drop(opener);
//! nix::sys::wait::waitpid(child, None).unwrap();
//! assert_eq!(of(child).unwrap_err().to_string(), "No such process (os error 3)");
//! # assert_eq!(held[0], 1);
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::ops::Add;
use std::{fs, io};

use nix::errno::Errno;
use nix::unistd::Pid;

/// What one process has in memory, or the sum over several. All in bytes.
///
/// Huge pages that were reserved for it (hugetlbfs) and most of what the kernel keeps for it (its stacks in the kernel,
/// its descriptors) are in none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every page that it maps and that is in memory. A sum counts a shared page once for each process that maps it.
    pub rss_bytes: u64,
    /// The same, but a page that n processes map counts one n-th. Only this one adds up: the sum over all processes that
    /// share is the memory that is really there. For one process it changes when another starts or ends.
    pub pss_bytes: u64,
    /// The pages that no other process maps: what its end would give back. A sum leaves out what the family shares.
    pub uss_bytes: u64,
    /// What has been written to swap. A sum counts a shared page once for each process that maps it.
    pub swap_bytes: u64,
    /// The kernel's lists of where its pages lie (`VmPTE`): each process has its own, so they add up.
    pub page_table_bytes: u64,
}

/// The memory of one process, of which nothing is remembered: ask again to see it change.
///
/// The kernel walks all of its pages for this, and holds off its changes to its own map meanwhile: some 50 us for a small
/// process, some ms for each GiB. So never ask inside of what is timed.
///
/// # Errors
/// ESRCH when there is no such process, or it has ended and was only not waited for yet; EACCES when the kernel does
/// not let this process look, which takes the same user or root (as `ptrace(2)` does).
pub fn of(pid: Pid) -> io::Result<Memory> {
    let maps = match proc_text(pid, "smaps_rollup") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => proc_text(pid, "smaps"), // Linux before 4.14 has no sums.
        maps => maps,
    };
    let status = maps.and_then(|maps| Ok((maps, proc_text(pid, "status")?)));
    let (maps, status) = status.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::ESRCH.into(),
        _ => error,
    })?;
    // What has ended has no memory to tell about, nor has a thread of the kernel's own.
    sums_in(&maps, &status).ok_or_else(|| Errno::ESRCH.into())
}

/// The sum over these processes; name each of them once.
///
/// They are looked at one after the other: what moves between them meanwhile may count twice or not at all.
///
/// # Errors
/// As for `of`, if it fails for one of them.
pub fn of_family(pids: &[Pid]) -> io::Result<Memory> {
    pids.iter().try_fold(Memory::default(), |sum, &pid| Ok(sum + of(pid)?))
}

impl Add for Memory {
    type Output = Memory;

    fn add(self, other: Memory) -> Memory {
        Memory {
            rss_bytes: self.rss_bytes + other.rss_bytes,
            pss_bytes: self.pss_bytes + other.pss_bytes,
            uss_bytes: self.uss_bytes + other.uss_bytes,
            swap_bytes: self.swap_bytes + other.swap_bytes,
            page_table_bytes: self.page_table_bytes + other.page_table_bytes,
        }
    }
}

fn proc_text(pid: Pid, file: &str) -> io::Result<String> {
    // The names in it may be any bytes.
    fs::read(format!("/proc/{pid}/{file}")).map(|text| String::from_utf8_lossy(&text).into_owned())
}

fn sums_in(maps: &str, status: &str) -> Option<Memory> {
    Some(Memory {
        rss_bytes: sum_bytes(maps, "Rss:")?,
        pss_bytes: sum_bytes(maps, "Pss:")?,
        uss_bytes: sum_bytes(maps, "Private_Clean:")? + sum_bytes(maps, "Private_Dirty:")?,
        swap_bytes: sum_bytes(maps, "Swap:").unwrap_or(0), // A kernel without swap has no such line.
        page_table_bytes: sum_bytes(status, "VmPTE:")?,
    })
}

/// The sum of all lines `FIELD  123 kB`; none if there is no such line.
fn sum_bytes(text: &str, field: &str) -> Option<u64> {
    let number = |line: &str| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    text.lines().filter_map(number).map(|kib| kib * 1024).reduce(u64::add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tone\nVmPTE:\t      52 kB\nVmSwap:\t       0 kB\n";

    #[test]
    fn the_fields_of_all_mappings_add_up() {
        let one = "7f00-7f01 r-xp 0 fe:00 1 /lib\nRss: 8 kB\nPss: 3 kB\nPss_Dirty: 1 kB\nPrivate_Clean: 1 kB\n";
        let other = "Private_Dirty: 2 kB\nSwap: 4 kB\nSwapPss: 2 kB\nRss: 4 kB\nPss: 4 kB\nPrivate_Clean: 0 kB\n";
        let kib = |number: u64| number * 1024;
        let both = Memory {
            rss_bytes: kib(12),
            pss_bytes: kib(7),
            uss_bytes: kib(3),
            swap_bytes: kib(4),
            page_table_bytes: kib(52),
        };
        assert_eq!(sums_in(&format!("{one}{other}"), STATUS), Some(both));
        assert_eq!((both + both).rss_bytes, kib(24));
    }

    #[test]
    fn what_has_ended_has_no_memory_to_tell_about() {
        assert_eq!(sums_in("", STATUS), None);
        assert_eq!(sums_in("Rss: 1 kB\nPss: 1 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 0 kB\n", "Name:\tone\n"), None);
    }

    #[test]
    fn what_belongs_to_it_alone_is_part_of_its_share_and_that_of_what_is_resident() {
        let own = of(nix::unistd::getpid()).unwrap();
        assert!(own.page_table_bytes > 0);
        assert!(0 < own.uss_bytes && own.uss_bytes <= own.pss_bytes && own.pss_bytes <= own.rss_bytes, "{own:?}");
    }

    #[test]
    fn a_process_that_is_not_there_and_one_that_may_not_be_read_are_told_apart() {
        let nobody = Pid::from_raw(i32::MAX); // Above the highest number that Linux ever gives, 2^22.
        assert_eq!(of(nobody).unwrap_err().raw_os_error(), Some(Errno::ESRCH as i32));
        if let Err(error) = of(Pid::from_raw(1)) {
            let code = error.raw_os_error(); // Where others' processes are hidden, it seems not to be there.
            assert!([Errno::EACCES as i32, Errno::ESRCH as i32].map(Some).contains(&code), "{error}");
        }
    }
}
