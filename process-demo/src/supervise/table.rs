//! What did each trouble cost? One row for each.

use shared::{Cell, Column, Table, stats};

use super::drained::Drained;
use super::queue::Outcome;
use super::troubles::Troubles;

pub fn of(troubles: &Troubles, drained: &Drained) -> Table {
    let number = |count: usize| Cell::Number(count as f64);
    let row = |what: &str, outcome: &Outcome| {
        let Outcome { tasks, done, repeated, recoveries_ns, seen, .. } = outcome;
        let counts = [seen.failed(), seen.restarts(), *done, tasks - done].map(number);
        let times = match recoveries_ns.iter().copied().reduce(f64::max) {
            Some(longest) => [stats::median(recoveries_ns).value, longest].map(Cell::Number),
            None => [Cell::Nothing, Cell::Nothing],
        };
        let [lost, restarts, done, undone] = counts;
        let [median, longest] = times;
        vec![Cell::Text(what.to_owned()), lost, restarts, done, undone, Cell::Number(*repeated as f64), median, longest]
    };
    let undone = drained.accepted - drained.answered;
    let [none, took] = [number(0), Cell::Number(drained.took_ns)];
    let label = Cell::Text("SIGTERM".to_owned());
    let drain =
        vec![label, none.clone(), none.clone(), number(drained.answered), number(undone), none, took.clone(), took];
    Table {
        title: "What each trouble cost, and how long it lasted".to_owned(),
        columns: vec![
            Column::label("trouble"),
            Column::value("workers lost", ""),
            Column::value("restarts", ""),
            Column::value("tasks done", ""),
            Column::value("not done", ""),
            Column::value("begun again", ""),
            Column::value("median", "ns"),
            Column::value("longest", "ns"),
        ],
        rows: vec![
            row("crash", &troubles.crashes),
            row("hang", &troubles.hangs),
            row("poison", &troubles.hopeless),
            drain,
        ],
    }
}
