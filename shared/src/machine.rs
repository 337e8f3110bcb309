//! Which machine is this? What cannot be read is none, never a failure.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use nix::sys::utsname::uname;
use nix::unistd::{SysconfVar, sysconf};
use procfs::process::Process;
use procfs::{CpuInfo, Current, Meminfo, ProcessCGroups};
use serde::{Deserialize, Serialize};

use crate::measure::usable_cpus;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: Option<String>,
    pub logical_cpus: Option<u64>,
    /// What the affinity mask and the cgroup's quota leave.
    pub usable_cpus: Option<f64>,
    pub kernel: Option<String>,
    pub memory_bytes: Option<u64>,
    pub virtualized: Option<String>,
    pub page_bytes: Option<u64>,
    pub huge_pages: Option<String>,
    pub clock_source: Option<String>,
    pub clock_ns: Option<u64>,
    pub build: Option<String>,
}

impl Machine {
    /// Looks around. `clock_ns` is what one read of the clock costs, which only the clock's owner knows.
    pub fn read(clock_ns: Option<u64>) -> Machine {
        let cpus = CpuInfo::current().ok();
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        Machine {
            cpu: cpus.as_ref().and_then(|cpus| cpu_model(cpus, line("/proc/device-tree/model"))),
            logical_cpus: number_of(SysconfVar::_NPROCESSORS_ONLN),
            usable_cpus: Some(at_most_quota(usable_cpus().len() as f64, cpu_quota())),
            kernel: uname().ok().map(|name| text_of(name.sysname()) + " " + &text_of(name.release())),
            memory_bytes: Meminfo::current().ok().map(|memory| memory.mem_total),
            virtualized: cpus.and_then(|cpus| virtualization(&cpus, &firmware_names())),
            page_bytes: number_of(SysconfVar::PAGE_SIZE),
            huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|modes| bracketed(&modes)),
            clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_ns,
            build: Some(build.to_owned()),
        }
    }
}

/// x86 names its model; Arm has numbers for the core's maker and design, so there the board's name goes first.
fn cpu_model(cpus: &CpuInfo, board: Option<String>) -> Option<String> {
    if let Some(model) = cpus.model_name(0) {
        return Some(model.to_owned());
    }
    let core = cpus.get_field(0, "CPU implementer").zip(cpus.get_field(0, "CPU part"));
    let core = core.map(|(maker, part)| format!("Arm core, implementer {maker}, part {part}"));
    match (board, core) {
        (Some(board), Some(core)) => Some(format!("{board} ({core})")),
        (board, core) => board.or(core),
    }
}

/// "no" only where the CPU would tell: x86 has a flag for it, other architectures have none.
fn virtualization(cpus: &CpuInfo, names: &str) -> Option<String> {
    const HYPERVISORS: &[(&str, &str)] = &[
        ("KVM", "KVM"),
        ("QEMU", "QEMU"),
        ("Google Compute Engine", "KVM, Google"),
        ("Amazon EC2", "Amazon EC2"),
        ("VMware", "VMware"),
        ("VirtualBox", "VirtualBox"),
        ("Virtual Machine", "Hyper-V"), // As Microsoft names its product, so after those that are called more than that.
        ("Parallels", "Parallels"),
        ("Apple Virtualization", "Apple"),
        ("Xen", "Xen"),
        ("xen", "Xen"),
        ("HVM domU", "Xen"),
        ("OpenStack", "OpenStack"),
        ("Alibaba Cloud", "Alibaba Cloud"),
        ("Bochs", "Bochs"),
    ];
    let by_name = HYPERVISORS.iter().find(|(name, _)| names.contains(name)).map(|(_, says)| *says);
    let flagged = cpus.flags(0).map(|flags| flags.contains(&"hypervisor"));
    match (flagged, by_name) {
        (Some(true), None) => Some("yes".to_owned()),
        // A bare machine of a cloud bears the cloud's name; only a guest of the old Xen kind lacks the flag.
        (Some(false), name) if name != Some("Xen") => Some("no".to_owned()),
        (_, Some(name)) => Some(format!("yes ({name})")),
        (_, None) => None,
    }
}

/// What the firmware and the kernel call this machine and what runs below it.
fn firmware_names() -> String {
    let places = [
        "/sys/hypervisor/type",
        "/proc/device-tree/hypervisor/compatible",
        "/sys/class/dmi/id/product_name",
        "/sys/class/dmi/id/sys_vendor",
    ];
    places.iter().filter_map(|place| line(place)).collect::<Vec<_>>().join("; ")
}

/// How many CPUs the tightest quota of this process's groups allows; none without a quota.
fn cpu_quota() -> Option<f64> {
    let quotas = own_groups().into_iter().filter_map(|directory| {
        let read = |name: &str| read_to_string(directory.join(name)).ok();
        let unified = read("cpu.max").and_then(|both| quota(both.trim()));
        unified
            .or_else(|| quota(&format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())))
    });
    quotas.min_by(f64::total_cmp)
}

/// The directories of this process's groups in which quotas, and what they did, may stand; none if unreadable.
pub(crate) fn own_groups() -> Vec<PathBuf> {
    let groups = Process::myself().and_then(|process| process.cgroups());
    groups.map(|groups| quota_directories(&groups)).unwrap_or_default()
}

/// Where quotas may stand: every group from this process's own up to the root, in version 2 and in version 1.
///
/// In a container the path may be the host's, and only the root, which is the container's own group, exists.
fn quota_directories(groups: &ProcessCGroups) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for group in groups {
        let roots: &[&str] = if group.hierarchy == 0 {
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        } else if group.controllers.iter().any(|controller| controller == "cpu") {
            &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
        } else {
            &[]
        };
        for root in roots {
            let inside = Path::new(group.pathname.trim_start_matches('/'));
            directories.extend(inside.ancestors().map(|path| Path::new(root).join(path)));
        }
    }
    directories
}

/// "quota period" in microseconds, as CPUs; none for "max" or -1, which mean no quota.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn at_most_quota(cpus: f64, quota: Option<f64>) -> f64 {
    quota.map_or(cpus, |quota| cpus.min(quota))
}

/// The chosen word of a list: "madvise" of "always [madvise] never".
fn bracketed(modes: &str) -> Option<String> {
    let (_, rest) = modes.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// A small file's text without the ends that files of the kernel and of firmware have; none if it says nothing.
fn line(path: &str) -> Option<String> {
    let text = read_to_string(path).ok()?.replace('\0', " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number_of(variable: SysconfVar) -> Option<u64> {
    sysconf(variable).ok().flatten().and_then(|number| u64::try_from(number).ok())
}

fn text_of(name: &std::ffi::OsStr) -> String {
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead;

    use super::*;

    fn cpus(text: &str) -> CpuInfo {
        CpuInfo::from_buf_read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_cpu_is_named_by_its_model_its_board_or_its_numbers() {
        let x86 = cpus("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t: fpu\n\nprocessor\t: 1\n");
        let arm = cpus("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n");
        let numbers = "Arm core, implementer 0x41, part 0xd0c";
        assert_eq!(cpu_model(&x86, None).unwrap(), "Some CPU @ 2.00GHz");
        assert_eq!(cpu_model(&arm, None).unwrap(), numbers);
        assert_eq!(cpu_model(&arm, Some("A Board".to_owned())).unwrap(), format!("A Board ({numbers})"));
        assert_eq!(cpu_model(&cpus("processor : 0\n"), None), None);
    }

    #[test]
    fn a_virtual_machine_is_known_by_its_flag_or_its_name() {
        let virtual_cpu = cpus("processor\t: 0\nflags\t: fpu hypervisor sse\n");
        let real_cpu = cpus("processor\t: 0\nflags\t: fpu sse\n");
        let arm = cpus("processor\t: 0\nCPU part\t: 0xd0c\n");
        assert_eq!(virtualization(&virtual_cpu, "").unwrap(), "yes");
        assert_eq!(virtualization(&virtual_cpu, "KVM; Red Hat").unwrap(), "yes (KVM)");
        assert_eq!(virtualization(&virtual_cpu, "VMware7,1; VMware, Inc.").unwrap(), "yes (VMware)");
        assert_eq!(virtualization(&real_cpu, "m5.metal; Amazon EC2").unwrap(), "no");
        assert_eq!(virtualization(&real_cpu, "xen").unwrap(), "yes (Xen)");
        assert_eq!(virtualization(&real_cpu, "ThinkPad").unwrap(), "no");
        assert_eq!(virtualization(&arm, "linux,kvm KVM").unwrap(), "yes (KVM)");
        assert_eq!(virtualization(&arm, "Raspberry Pi"), None);
    }

    #[test]
    fn a_quota_is_read_in_both_versions_and_limits_the_cpus() {
        assert_eq!(quota("150000 100000"), Some(1.5));
        assert_eq!(quota("max 100000"), None);
        assert_eq!(quota("-1 100000"), None);
        assert_eq!(quota("100000 0"), None);
        assert_eq!(quota("nonsense"), None);
        assert_eq!(at_most_quota(4.0, Some(1.5)), 1.5);
        assert_eq!(at_most_quota(1.0, Some(1.5)), 1.0);
        assert_eq!(at_most_quota(4.0, None), 4.0);
    }

    #[test]
    fn quotas_are_looked_for_from_the_own_group_up_to_the_root() {
        let text = "4:memory:/m\n2:cpu,cpuacct:/a\n0::/a/b\n";
        let groups = ProcessCGroups::from_buf_read(text.as_bytes()).unwrap();
        let found: Vec<_> = quota_directories(&groups).iter().map(|path| path.display().to_string()).collect();
        let with_end = |path: &str| found.iter().any(|found| found.trim_end_matches('/') == path);
        for wanted in ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup", "/sys/fs/cgroup/cpu/a"] {
            assert!(with_end(wanted), "{wanted} in {found:?}");
        }
        assert!(found.iter().all(|path| !path.ends_with("/m")));
    }

    #[test]
    fn the_bracketed_word_is_the_mode() {
        assert_eq!(bracketed("always [madvise] never").unwrap(), "madvise");
        assert_eq!(bracketed("always"), None);
    }

    #[test]
    fn every_linux_tells_its_kernel_its_pages_and_its_cpus() {
        let machine = Machine::read(Some(25));
        assert!(machine.kernel.unwrap().starts_with("Linux "));
        assert!(machine.page_bytes.unwrap().is_power_of_two());
        let (logical, usable) = (machine.logical_cpus.unwrap() as f64, machine.usable_cpus.unwrap());
        assert!(usable > 0.0 && usable <= logical, "{usable} of {logical}");
        assert_eq!(machine.clock_ns, Some(25));
    }
}
