//! What can a worker be told to do, to itself and for us?

use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::Resource;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Pid, Uid};
use process_demo::foreign_memory;
use process_demo::limits::{self, Limit};
use process_demo::sandbox::{self, Otherwise, State};

use super::places::{CONTENT, Places};

/// Each is done by the worker to whom it is given; arguments and result are numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ping,
    /// To so many descriptors.
    LimitFiles,
    /// Opens one and keeps it.
    OpenFile,
    /// Opens and keeps as many as it can; how many?
    OpenFiles,
    /// To so many bytes more than there are now.
    LimitMemory,
    /// So many bytes of address space.
    TakeMemory,
    /// Pieces of so many bytes, as many as it can; how many bytes?
    TakeAllMemory,
    /// To so many seconds.
    LimitCpu,
    /// Computes for so many nanoseconds of CPU time.
    Burn,
    /// Runs on this CPU only.
    Pin,
    /// On how many CPUs may it run?
    CountCpus,
    /// On which does it run now?
    Cpu,
    NoNewPrivileges,
    HasNoNewPrivileges,
    BecomeNobody,
    /// By the bare system call instead of the C library's function.
    BecomeNobodyAlone,
    /// Landlock.
    ReadPublicOnly,
    RefuseCalls,
    KillForCalls,
    ReadPublicFile,
    ReadPrivateFile,
    /// Draws a secret and keeps it; which one?
    DrawSecret,
    /// Where does it lie?
    SecretAt,
    /// Lets no other process of its user look into it.
    HideMemory,
    /// The word at an address of its own memory.
    ReadHere,
    /// The word at an address in the memory of the process with this pid.
    ReadThere,
}

impl Order {
    const ALL: [Order; 26] = [
        Order::Ping,
        Order::LimitFiles,
        Order::OpenFile,
        Order::OpenFiles,
        Order::LimitMemory,
        Order::TakeMemory,
        Order::TakeAllMemory,
        Order::LimitCpu,
        Order::Burn,
        Order::Pin,
        Order::CountCpus,
        Order::Cpu,
        Order::NoNewPrivileges,
        Order::HasNoNewPrivileges,
        Order::BecomeNobody,
        Order::BecomeNobodyAlone,
        Order::ReadPublicOnly,
        Order::RefuseCalls,
        Order::KillForCalls,
        Order::ReadPublicFile,
        Order::ReadPrivateFile,
        Order::DrawSecret,
        Order::SecretAt,
        Order::HideMemory,
        Order::ReadHere,
        Order::ReadThere,
    ];

    pub fn number(self) -> u64 {
        self as u64
    }

    pub fn of(number: u64) -> io::Result<Order> {
        Order::ALL.into_iter().find(|order| order.number() == number).ok_or_else(|| Errno::EINVAL.into())
    }
}

/// What a worker has of its own.
pub struct Worker<'a> {
    places: &'a Places,
    files: Vec<File>,
    secret: Box<u64>,
}

impl Worker<'_> {
    pub fn new(places: &Places) -> Worker<'_> {
        Worker { places, files: Vec::new(), secret: Box::new(0) }
    }

    pub fn perform(&mut self, order: Order, [first, second]: [u64; 2]) -> io::Result<u64> {
        match order {
            Order::Ping => Ok(0),
            Order::LimitFiles => done(Limit::lower(Resource::RLIMIT_NOFILE, first)?.set()),
            Order::OpenFile => done(self.open_file()),
            Order::OpenFiles => until_refused(Errno::EMFILE, || self.open_file()),
            Order::LimitMemory => done(limits::more_address_space(first)?.set()),
            Order::TakeMemory => done(take_memory(first)),
            Order::TakeAllMemory => Ok(first * until_refused(Errno::ENOMEM, || take_memory(first))?),
            Order::LimitCpu => done(Limit::lower(Resource::RLIMIT_CPU, first)?.set()),
            Order::Burn => done(burn(first)),
            Order::Pin => done(pin(first as usize)),
            Order::CountCpus => count_cpus(),
            Order::Cpu => Ok(sched_getcpu()? as u64),
            Order::NoNewPrivileges => done(sandbox::no_new_privileges()),
            Order::HasNoNewPrivileges => has_no_new_privileges(),
            Order::BecomeNobody => in_force(sandbox::become_user(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY))?),
            Order::BecomeNobodyAlone => done(become_nobody_alone()),
            Order::ReadPublicOnly => self.read_public_only(),
            Order::RefuseCalls => allow_few_calls(Otherwise::Refuse),
            Order::KillForCalls => allow_few_calls(Otherwise::Kill),
            Order::ReadPublicFile => read(&self.places.public_file),
            Order::ReadPrivateFile => read(&self.places.private_file),
            Order::DrawSecret => self.draw_secret(),
            Order::SecretAt => Ok(&raw const *self.secret as u64),
            Order::HideMemory => done(set_dumpable(false).map_err(io::Error::from)),
            // SAFETY: whoever gives this order has the address from a living worker of this process, whose secret is set.
            Order::ReadHere => Ok(unsafe { (first as *const u64).read_volatile() }),
            Order::ReadThere => foreign_memory::read_word(Pid::from_raw(first as i32), second as usize),
        }
    }

    fn open_file(&mut self) -> io::Result<()> {
        self.files.push(File::open("/dev/null")?);
        Ok(())
    }

    fn read_public_only(&self) -> io::Result<u64> {
        sandbox::no_new_privileges()?;
        in_force(sandbox::read_only_beneath(&[&self.places.public])?)
    }

    fn draw_secret(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        *self.secret = u64::from_ne_bytes(bytes);
        Ok(*self.secret)
    }
}

const NOBODY: u32 = 65534; // The user whom nothing belongs to, on every Linux.

fn done(result: io::Result<()>) -> io::Result<u64> {
    result.map(|()| 0)
}

/// How often does it succeed, until it is refused for this reason? Where nothing refuses it, not for ever.
fn until_refused(reason: Errno, mut once: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    const MOST: u64 = 10_000;
    let mut successes = 0;
    while successes < MOST {
        match once() {
            Ok(()) => successes += 1,
            Err(error) if error.raw_os_error() == Some(reason as i32) => return Ok(successes),
            Err(error) => return Err(error),
        }
    }
    Ok(successes)
}

/// Mapped until the worker ends: what counts is the address space, which is taken without being filled.
fn take_memory(bytes: u64) -> io::Result<()> {
    let bytes = NonZeroUsize::new(bytes as usize).ok_or(Errno::EINVAL)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE) }?;
    Ok(())
}

/// Until the time is used, by this thread's own account, or the kernel has seen enough of it.
fn burn(time_ns: u64) -> io::Result<()> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let nanoseconds = |time: nix::sys::time::TimeSpec| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
    let until_ns = nanoseconds(used()?) + time_ns;
    while nanoseconds(used()?) < until_ns {}
    Ok(())
}

const THIS_THREAD: Pid = Pid::from_raw(0); // What the affinity calls take zero for.

fn pin(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    Ok(sched_setaffinity(THIS_THREAD, &only)?)
}

fn count_cpus() -> io::Result<u64> {
    let set = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count() as u64)
}

fn has_no_new_privileges() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let flag = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")?.trim().parse().ok());
    flag.ok_or_else(|| Errno::ENOSYS.into())
}

/// The C library changes the user in every thread, by a signal to each; the kernel itself only in the thread that asks.
fn become_nobody_alone() -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Err(Errno::EPERM.into()); // Nobody may become nobody, which changes nothing.
    }
    // SAFETY: it takes three numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) })?;
    Ok(())
}

/// What the worker's own life takes, and no opening of files.
fn allow_few_calls(otherwise: Otherwise) -> io::Result<u64> {
    let memory = [libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise];
    let rest = [libc::SYS_read, libc::SYS_write, libc::SYS_close, libc::SYS_futex, libc::SYS_exit_group];
    sandbox::no_new_privileges()?;
    in_force(sandbox::allow_only(&[memory, rest].concat(), otherwise)?)
}

fn in_force(state: State) -> io::Result<u64> {
    match state {
        State::InForce => Ok(0),
        State::Unavailable(why) => Err(why.raw_os_error().map_or(Errno::ENOSYS.into(), io::Error::from_raw_os_error)),
    }
}

fn read(file: &Path) -> io::Result<u64> {
    if fs::read(file)? == CONTENT { Ok(0) } else { Err(Errno::EIO.into()) }
}
