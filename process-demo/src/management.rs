//! Can one thread be managed as one process can?

mod acts;
mod actors;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::getpid;
use process_demo::crew::Kind;
use process_demo::pidfd::PidFd;
use shared::{Cell, Claim, Demo, Extras, Ruling, Snippet, Stage, Table, Tried};

use crate::family;
use actors::{ACTORS, OWN_THREAD, PARENT};
use acts::{ACTS, Reach};

pub const DEMO: Demo = Demo {
    name: "management",
    question: "Can one thread be managed as one process can?",
    claims: &[Claim::ManagementDiffers],
    rule: "Of five acts (wait for, stop, prioritise, limit, end), those count by which a parent reaches one process alone, \
           and which a thread has tried on another of its process. Management differs if at least half of them do not \
           reach that one thread alone; in part if fewer; it is refuted if all do, and undecided if none could be tried. \
           What an act reached is looked up from outside.",
    extras: Extras::NONE,
    snippets: &[
        Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") },
        Snippet { path: "process-demo/snippets/pidfd.rs", text: include_str!("../snippets/pidfd.rs") },
    ],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    PidFd::open(getpid()).context("pidfd_open")?; // Refused, it skips all this before anything is made.
    set_child_subreaper(true).context("becoming a subreaper")?; // What loses its parent here is waited for here.
    stage.note(
        "Everybody tries everything: wait for it, see it end by a descriptor (pidfd), stop it, set its priority, \
         limit its descriptors, end it. What came of it is looked up from outside, in /proc. The first rows act on a \
         process, the last two on one of a process's threads. (The thread that is waited for is a third, which ends by \
         itself.)",
    );
    let mut rows = Vec::new();
    for (who, kind, make) in ACTORS {
        let reaches = make().and_then(|scene| acts::try_all(scene, stage.clock()));
        let reaches = match who {
            PARENT => Ok(reaches?), // Refused, there is nothing to compare with.
            _ => family::tried(reaches).with_context(|| format!("acting as {who}"))?,
        };
        rows.push(Row { who, kind, reaches: reaches.map_or_else(|why| vec![Err(why)], Vec::from) });
        family::wait_for_the_adopted(stage.clock())?;
    }
    stage.show(table(&rows));
    let waiters = tell_facts(stage, &rows);
    let (acts, differ) = compare(&rows);
    stage.rule(Claim::ManagementDiffers, judge(acts, &differ))?;
    stage.headline(format!("{} of {acts} acts reach no thread alone", differ.len()));
    let which = if differ.is_empty() { "none".to_owned() } else { differ.join(", ") };
    stage.answer(format!(
        "Of {acts} acts that reach one process alone, {} reach no thread alone: {which}. Only {} can wait for a process.",
        differ.len(),
        waiters.join(" and ")
    ));
    stage.advise("Want to stop, limit or end it alone? Make it a process: copy `child`.");
    Ok(())
}

/// Who tried, on what, and what came of each act.
struct Row {
    who: &'static str,
    kind: Kind,
    /// One for each act; or one alone, which says why there was none.
    reaches: Vec<Tried<Reach>>,
}

impl Row {
    /// None if the act was not tried.
    fn reach(&self, act: &str) -> Option<&Reach> {
        let index = ACTS.iter().position(|name| *name == act)?;
        self.reaches.get(index)?.as_ref().ok()
    }
}

fn table(rows: &[Row]) -> Table {
    let cells = |row: &Row| {
        let cell = |reach: &Tried<Reach>| {
            Cell::of(reach, |reach| match (reach, row.kind) {
                (Reach::Alone, Kind::Processes) => Cell::good("yes"),
                (Reach::Alone, Kind::Threads) => Cell::good("it alone"),
                (Reach::Whole, _) => Cell::bad("its process"),
                (Reach::Refused(why), _) => Cell::neutral(why),
            })
        };
        [row.who.into()].into_iter().chain(row.reaches.iter().map(cell)).collect()
    };
    Table::new("Who reaches what", ["who tries"].into_iter().chain(ACTS), rows.iter().map(cells))
}

/// Says who could wait for a process.
fn tell_facts(stage: &mut Stage, rows: &[Row]) -> Vec<&'static str> {
    let who_can = |act| {
        let tried = rows.iter().filter(move |row| row.kind == Kind::Processes && row.reach(act).is_some());
        let can = tried.clone().filter(move |row| row.reach(act) == Some(&Reach::Alone)).map(|row| row.who);
        (can.collect::<Vec<_>>(), tried.count())
    };
    let (waiters, tried) = who_can("wait for");
    let got = format!("{} of {tried}: {}", waiters.len(), waiters.join(", "));
    stage.fact("Of all who try, only its parent can wait for a process", waiters == [PARENT], got);
    let (watchers, tried) = who_can("see it end");
    stage.all("With a descriptor of a process, whoever tries can see it end", watchers.len(), tried);
    let of_thread = rows.iter().filter(|row| row.who == OWN_THREAD);
    let signals = of_thread.flat_map(|row| ["stop", "end"].map(|act| row.reach(act))).flatten();
    let whole = signals.clone().filter(|reach| **reach == Reach::Whole).count();
    stage.all("A signal sent to one thread stops or ends its whole process", whole, signals.count());
    waiters
}

/// Sets what a parent can do with its child beside what a thread can do with another of its process: how many acts reach
/// the process alone, and which of them do not reach the thread alone.
fn compare(rows: &[Row]) -> (usize, Vec<&'static str>) {
    let reach = |who, act| rows.iter().find(|row| row.who == who)?.reach(act);
    // Seeing an end is left out: it rests on a descriptor, which has nothing to do with who is whose.
    let acts = ACTS.into_iter().filter(|act| *act != "see it end" && reach(PARENT, act) == Some(&Reach::Alone));
    let of_thread: Vec<_> = acts.filter_map(|act| Some((act, reach(OWN_THREAD, act)?))).collect();
    let differ = of_thread.iter().filter(|(_, reach)| **reach != Reach::Alone);
    (of_thread.len(), differ.map(|(act, _)| *act).collect())
}

fn judge(acts: usize, differ: &[&str]) -> Ruling {
    let because = format!(
        "Of {acts} acts that reach one process alone, {} do not reach one thread alone: {}",
        differ.len(),
        differ.join(", ")
    );
    let ruling = match (acts, differ.len()) {
        (0, _) => Ruling::undecided("No act could be tried that reaches one process alone"),
        (_, 0) => Ruling::refuted(format!("All {acts} acts that reach one process alone reach one thread alone too")),
        (_, count) if 2 * count >= acts => Ruling::holds(because),
        (_, count) => Ruling::in_part(format!("true of {count} of {acts} acts"), because),
    };
    ruling.by(differ.len() as f64, "acts")
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    /// A parent that reaches a process by all acts, and a thread of which each act reaches what is said.
    fn world(of_thread: [Reach; 6]) -> Vec<Row> {
        let of_process = [(); 6].map(|()| Ok(Reach::Alone)).into();
        let of_thread = of_thread.map(Ok).into();
        let [parent, thread] = [(PARENT, Kind::Processes, of_process), (OWN_THREAD, Kind::Threads, of_thread)]
            .map(|(who, kind, reaches)| Row { who, kind, reaches });
        vec![parent, thread]
    }

    fn verdict(rows: &[Row]) -> Verdict {
        let (acts, differ) = compare(rows);
        judge(acts, &differ).verdict
    }

    #[test]
    fn it_holds_from_half_of_the_acts_on_and_is_refuted_by_none() {
        use Reach::{Alone, Whole};
        let refused = || Reach::Refused("ENOENT".to_owned());
        let seen = world([Alone, refused(), Whole, Alone, Whole, Whole]);
        assert_eq!((compare(&seen), verdict(&seen)), ((5, vec!["stop", "limit", "end"]), Verdict::Holds));
        assert_eq!(verdict(&world([Alone, Alone, Whole, Alone, Alone, Alone])), Verdict::Qualified);
        assert_eq!(verdict(&world([Alone, refused(), Alone, Alone, Alone, Alone])), Verdict::Refuted);
        assert_eq!(verdict(&seen[..1]), Verdict::Undecided); // No thread could be tried.
    }
}
