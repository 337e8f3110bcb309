//! How much more do several processes get than as many threads?

use std::collections::BTreeSet;
use std::io;

use anyhow::Result;
use nix::errno::Errno;
use nix::sched::sched_getcpu;
use nix::sys::resource::Resource;
use process_demo::crew::{Crew, Kind, NOTHING, Task};
use process_demo::limits::{self, Limit};
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried, measure, tried};

use crate::allowance::{self, open_file, pin_to, take_memory};

pub const DEMO: Demo = Demo {
    name: "resources",
    question: "How much more do four processes get than four threads?",
    claims: &[Claim::MoreThanAThreadCanHave],
    rule: "Processes suit tasks that need more than a thread can have if four processes get more of each resource that is \
           counted than four threads of one process; in part if they get more of some only; refuted if of none; skipped \
           if none could be counted.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/limits.rs", text: include_str!("../snippets/limits.rs") },
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
    ],
    run,
};

const WORKERS: usize = 4;
const DESCRIPTORS: u64 = 256;
const ROOM_MIB: u64 = 64;

fn run(stage: &mut Stage) -> Result<()> {
    let most_descriptors = Limit::lower(Resource::RLIMIT_NOFILE, DESCRIPTORS)?.soft;
    stage.note(format!(
        "How much do workers get? A process may have {most_descriptors} descriptors here, and {ROOM_MIB} MiB of address \
         space more than it starts with. Each worker takes all it can, one descriptor and one MiB after the other; and \
         each goes to a CPU of its own, as long as there are some. What is missing to a limit was taken before.",
    ));
    let count = |all_they_can: fn(Kind, usize) -> Result<u64>| {
        let by = |(kind, workers)| all_they_can(kind, workers);
        let sides = [(Kind::Threads, 1), (Kind::Threads, WORKERS), (Kind::Processes, WORKERS)];
        tried(sides.into_iter().map(by).collect::<Result<Vec<u64>>>())
    };
    let shares = [
        Share { what: "descriptors", got: count(descriptors)? },
        Share { what: "MiB of address space", got: count(address_space)? },
        Share { what: "CPUs", got: count(cpus)? },
    ];
    let row = |Share { what, got }: &Share| match got {
        Ok(got) => [Cell::from(*what)].into_iter().chain(got.iter().map(|number| (*number).into())).collect(),
        Err(why) => vec![(*what).into(), Cell::Skipped { skipped: why.clone() }],
    };
    let columns = ["resource", "one thread", "4 threads", "4 processes"];
    stage.show(Table::new("What workers get, all together", columns, shares.iter().map(row)));
    for (Share { what, got }, most) in shares.iter().zip([most_descriptors, ROOM_MIB]) {
        if let Ok(got) = got {
            let says = format!("The limit of {most} {what} stops one thread that takes all it can");
            stage.fact(says, (1..=most).contains(&got[0]), format!("after {}", got[0]));
        }
    }
    tell(stage, &shares)
}

fn descriptors(kind: Kind, workers: usize) -> Result<u64> {
    let mut crew = Crew::of(kind, workers, || Ok(()))?;
    let limit: Task<()> = |(), _| allowance::set(Limit::lower(Resource::RLIMIT_NOFILE, DESCRIPTORS));
    sum(&mut crew, workers, limit)?;
    sum(&mut crew, workers, |(), _| until_refused(Errno::EMFILE, open_file))
}

fn address_space(kind: Kind, workers: usize) -> Result<u64> {
    let mut crew = Crew::of(kind, workers, || Ok(()))?;
    sum(&mut crew, workers, |(), _| allowance::set(limits::more_address_space(ROOM_MIB << 20)))?;
    sum(&mut crew, workers, |(), _| until_refused(Errno::ENOMEM, || take_memory(1 << 20)))
}

/// How many CPUs they are on, all together, when each has gone to one of its own.
fn cpus(kind: Kind, workers: usize) -> Result<u64> {
    let usable = measure::usable_cpus();
    let mut crew = Crew::of(kind, workers, || Ok(()))?;
    let mut used = BTreeSet::new();
    for worker in 0..workers {
        let cpu = usable[worker % usable.len()] as u64;
        crew.ask(worker, |(), [cpu, ..]| pin_to(cpu as usize), [cpu, 0, 0])?.value()?;
        used.insert(crew.ask(worker, |(), _| Ok(sched_getcpu()? as u64), NOTHING)?.value()?);
    }
    Ok(used.len() as u64)
}

/// One after the other: where they share what they take, the first gets it all.
fn sum(crew: &mut Crew<()>, workers: usize, task: Task<()>) -> Result<u64> {
    (0..workers).map(|worker| crew.ask(worker, task, NOTHING)?.value()).sum()
}

/// How often does it succeed, until it is refused for this reason? Where nothing refuses it, not for ever.
fn until_refused(reason: Errno, once: fn() -> io::Result<()>) -> Result<u64> {
    const MOST: u64 = 10_000;
    for successes in 0..MOST {
        match once() {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(reason as i32) => return Ok(successes),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(MOST)
}

struct Share {
    what: &'static str,
    /// By one thread, by several, and by as many processes.
    got: Tried<Vec<u64>>,
}

fn tell(stage: &mut Stage, shares: &[Share]) -> Result<()> {
    let (more, not_more) = sort(shares);
    let in_words = |(what, threads, processes): &Count| format!("{processes} {what} instead of {threads}");
    stage.rule(Claim::MoreThanAThreadCanHave, judge(&more, &not_more))?;
    let counted = more.len() + not_more.len();
    stage.headline(more.first().map_or(format!("0 of {counted} resources are more"), in_words));
    stage.answer(match more.as_slice() {
        [] => format!("Of none of {counted} resources: four processes get no more than four threads."),
        more => format!("Four processes get {}.", more.iter().map(in_words).collect::<Vec<_>>().join(", ")),
    });
    stage.advise("If one process may not have enough, start several: copy `child`.");
    Ok(())
}

/// A resource; how much four threads got, and four processes.
type Count = (&'static str, u64, u64);

/// Those of which four processes get more than four threads, and those of which they do not.
fn sort(shares: &[Share]) -> (Vec<Count>, Vec<Count>) {
    let counted = shares.iter().filter_map(|Share { what, got }| Some((*what, got.as_ref().ok()?)));
    counted.map(|(what, got)| (what, got[1], got[2])).partition(|(_, threads, processes)| processes > threads)
}

fn judge(more: &[Count], not_more: &[Count]) -> Ruling {
    let names = |counts: &[Count]| counts.iter().map(|(what, ..)| *what).collect::<Vec<_>>().join(" and ");
    match (more, not_more) {
        ([], []) => Ruling::skipped("Nothing could be counted"),
        ([], all) => Ruling::refuted(format!("Four processes get no more than four threads of {}", names(all))),
        ([(what, threads, processes), ..], rest) => {
            let because = format!("Four processes get {processes} {what}, four threads of one process {threads}");
            match rest {
                [] => Ruling::holds(because),
                rest => Ruling::in_part(format!("true of {}, not of {}", names(more), names(rest)), because),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    #[test]
    fn what_four_processes_get_more_of_decides() {
        let rule = |worlds: [Tried<Vec<u64>>; 2]| {
            let shares = ["descriptors", "CPUs"].into_iter().zip(worlds).map(|(what, got)| Share { what, got });
            let (more, not_more) = sort(&shares.collect::<Vec<_>>());
            judge(&more, &not_more)
        };
        let (more, as_much) = (|| Ok(vec![9, 9, 36]), || Ok(vec![9, 9, 9]));
        let refused = || Err("no".to_owned());
        assert_eq!(rule([more(), more()]).verdict, Verdict::Holds);
        assert_eq!(rule([more(), refused()]).verdict, Verdict::Holds);
        assert_eq!(rule([as_much(), refused()]).verdict, Verdict::Refuted);
        assert_eq!(rule([refused(), refused()]).verdict, Verdict::Skipped);
        assert_eq!(rule([more(), as_much()]).condition.unwrap().says, "true of descriptors, not of CPUs");
    }
}
