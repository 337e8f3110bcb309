//! Which machine are the figures of, and what did the run leave on it?

use super::ink::Ink;
use super::wrap::{hanging, plain};
use super::{Extent, Look};
use crate::machine::Machine;
use crate::number::{chosen_with_unit, count, with_unit};
use crate::report::Leftovers;

/// The machine that all figures are of.
pub fn machine(machine: &Machine, look: Look) -> String {
    let look = look.usable();
    let text = match look.extent {
        Extent::Brief => hanging("", &Ink::Faint.on(&in_short(machine)), look.width),
        Extent::Full => in_full(machine, look),
    };
    look.finish(&format!("{text}\n"))
}

fn in_short(machine: &Machine) -> String {
    let cpus = match (machine.usable_cpus, machine.logical_cpus) {
        (Some(usable), Some(logical)) if usable < logical as f64 => format!("{usable} of {logical} CPUs"),
        (_, Some(1)) => "1 CPU".to_owned(),
        (_, Some(logical)) => format!("{logical} CPUs"),
        _ => "CPUs unknown".to_owned(),
    };
    let known = |value: &Option<String>| value.as_deref().map(plain);
    let is_virtual = machine.virtualized.as_deref().is_some_and(|says| says.starts_with("yes"));
    let virtual_machine = is_virtual.then(|| "virtual machine".to_owned());
    let debug = machine.build.as_deref().is_some_and(|build| build == "debug").then(|| Ink::Doubt.on("debug build"));
    let parts = [known(&machine.cpu), Some(cpus), virtual_machine, known(&machine.kernel), debug];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn in_full(machine: &Machine, look: Look) -> String {
    let text = |value: &Option<String>| plain(value.as_deref().unwrap_or(UNKNOWN));
    let number =
        |unit: &str, value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| chosen_with_unit(unit, value));
    let logical = number("", machine.logical_cpus.map(|cpus| cpus as f64));
    let usable = number("", machine.usable_cpus);
    let memory = machine.memory_bytes.map_or(UNKNOWN.to_owned(), |bytes| with_unit("bytes", bytes as f64));
    let page = number("bytes", machine.page_bytes.map(|bytes| bytes as f64));
    let clock = number("ns", machine.clock_ns.map(|cost| cost as f64));
    let lines = [
        ("CPU", format!("{}; {logical} logical, {usable} usable", text(&machine.cpu))),
        ("memory", format!("{memory}, in pages of {page}; huge pages: {}", text(&machine.huge_pages))),
        ("kernel", format!("{}; in a virtual machine: {}", text(&machine.kernel), text(&machine.virtualized))),
        ("clock", format!("{}, {clock} a read", text(&machine.clock_source))),
        ("build", text(&machine.build)),
    ];
    let line = |(name, says): &(&str, String)| {
        hanging(&format!("  {}", Ink::Faint.on(&format!("{name:<8}"))), says, look.width)
    };
    lines.iter().map(line).collect()
}

const UNKNOWN: &str = "unknown";

/// What the run left behind, and where nobody could look.
pub fn leftovers(leftovers: &Leftovers, look: Look) -> String {
    let look = look.usable();
    let is_clean = leftovers.found() == 0 && leftovers.classes().iter().all(|(_, number)| number.is_some());
    if look.extent == Extent::Brief && is_clean {
        return look.finish(&format!("{}\n", Ink::Good.on("Nothing was left behind.")));
    }
    let (mut none, mut found, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (name, number) in leftovers.classes() {
        match number {
            Some(0) => none.push(name.to_owned()),
            Some(number) => found.push(format!("{name}: {}", count(number))),
            None => unknown.push(name.to_owned()),
        }
    }
    let mut text = String::new();
    let mut line = |words: String, names: &[String]| {
        text += &hanging("", &format!("{words} {}.", names.join(", ")), look.width);
    };
    if !found.is_empty() {
        line(Ink::Bad.on("LEFT BEHIND:"), &found);
    } else if !none.is_empty() {
        line(format!("{} no", Ink::Good.on("Nothing was left behind:")), &none);
    }
    if !unknown.is_empty() {
        line(Ink::Doubt.on("Not counted:"), &unknown);
    }
    look.finish(&text)
}
