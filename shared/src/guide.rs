//! Thread or process, on this machine? How long work must be before starting a worker, or a message to it, is cheap.

use crate::number::with_unit;
use crate::report::{ComparisonRow, Content, MeasuredRow, Report, RowRole};

/// A cost counts as small when it is less than this part of the whole.
const SMALL: f64 = 0.05;

/// The comparisons that the guide reads, by their keys.
const STARTS: &str = "start";
const ROUND_TRIPS: &str = "round-trip";

/// The guide's sentences; none where the demonstrations that they rest on have not run.
pub fn sentences(topics: &[Report]) -> Vec<String> {
    let starts = [("thread", RowRole::Threads), ("process", RowRole::Processes)].map(|(who, role)| {
        let row = fastest(topics, STARTS, role)?;
        let (cost, task) = (with_unit("ns", row.median), with_unit("ns", row.median / SMALL));
        Some(format!("Starting a {who} costs {cost} ({}): worth it for a task of {task} or more.", row.label))
    });
    let talks = [("thread", RowRole::Threads), ("process", RowRole::Processes)].map(|(who, role)| {
        let row = fastest(topics, ROUND_TRIPS, role)?;
        let (cost, work) = (with_unit("ns", row.median), with_unit("ns", row.median / SMALL));
        Some(format!(
            "A question to another {who} and its answer cost {cost} ({}): worth it for {work} of work.",
            row.key
        ))
    });
    starts.into_iter().chain(talks).flatten().collect()
}

/// The quickest row of a role in the comparison of that key; a row that burns a CPU while it waits has another role.
fn fastest<'r>(topics: &'r [Report], key: &str, role: RowRole) -> Option<&'r MeasuredRow> {
    let contents = topics.iter().flat_map(|topic| &topic.demos).flat_map(|demo| &demo.content);
    let mut comparisons = contents.filter_map(|item| match &item.content {
        Content::Comparison(found) if found.key.as_deref() == Some(key) => Some(found),
        _ => None,
    });
    let rows = comparisons.next()?.rows.iter().filter_map(|row| match row {
        ComparisonRow::Measured(row) if row.role == Some(role) => Some(row),
        _ => None,
    });
    rows.min_by(|a, b| a.median.total_cmp(&b.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::{Comparison, DemoReport, Effort, Item, Placement};

    fn topic(key: &str, rows: &[(&str, RowRole, f64)]) -> Report {
        let row = |&(name, role, median): &(&str, RowRole, f64)| {
            ComparisonRow::Measured(MeasuredRow {
                label: format!("by {name}"),
                key: name.to_owned(),
                role: Some(role),
                detail: false,
                placement: Placement::Free,
                cpus: Vec::new(),
                unit: "ns".to_owned(),
                steps: 1,
                samples: vec![median],
                rounds: vec![0],
                median,
                low: None,
                high: None,
                p99: None,
                cpu_ns: None,
            })
        };
        let comparison = Comparison {
            key: Some(key.to_owned()),
            title: String::new(),
            differs_in: String::new(),
            rows: rows.iter().map(row).collect(),
        };
        let mut report = DemoReport::new("any", "?", "");
        report.content.push(Item { content: Content::Comparison(comparison), detail: true });
        Report { demos: vec![report], ..Report::new("any", Effort::Quick, Machine::default()) }
    }

    #[test]
    fn a_task_is_long_enough_at_twenty_times_the_start() {
        let said = sentences(&[topic("start", &[("fork", RowRole::Processes, 150_000.0)])]);
        assert_eq!(said, ["Starting a process costs 150 us (by fork): worth it for a task of 3.00 ms or more."]);
    }

    #[test]
    fn the_fastest_of_each_role_is_named_whatever_its_label_says_and_the_busy_ones_are_not() {
        let rows = [
            ("pipe", RowRole::Processes, 9e3),
            ("ring", RowRole::Processes, 900.0),
            ("spin", RowRole::Busy, 600.0),
            ("pipe", RowRole::Threads, 8e3),
            ("crossbeam", RowRole::Threads, 800.0),
        ];
        let said = sentences(&[topic("round-trip", &rows)]);
        assert!(said[0].starts_with("A question to another thread and its answer cost 800 ns (crossbeam)"), "{said:?}");
        assert!(said[1].starts_with("A question to another process and its answer cost 900 ns (ring)"), "{said:?}");
    }

    #[test]
    fn without_figures_nothing_is_said() {
        assert!(sentences(&[]).is_empty());
        assert!(sentences(&[topic("round-trip", &[])]).is_empty());
        assert!(sentences(&[topic("another", &[("ring", RowRole::Threads, 1.0)])]).is_empty());
    }
}
