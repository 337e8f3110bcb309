//! Thread or process, on this machine? How long work must be before starting a worker, or a message to it, is cheap.

use crate::number::with_unit;
use crate::report::{Comparison, ComparisonRow, Content, MeasuredRow, Report};

/// A cost counts as small when it is less than this part of the whole.
const SMALL: f64 = 0.05;

/// The guide's sentences; none where the demonstrations that they rest on have not run.
pub fn sentences(topics: &[Report]) -> Vec<String> {
    let starts = comparison(topics, "process-demo", "start-cost").map(starting);
    let messages = comparison(topics, "ipc-demo", "round-trip").map(talking);
    starts.into_iter().chain(messages).flatten().collect()
}

/// What one start costs, and the shortest task that it is small beside.
fn starting(comparison: &Comparison) -> Vec<String> {
    let line = |row: &MeasuredRow| {
        let (cost, task) = (with_unit("ns", row.median), with_unit("ns", row.median / SMALL));
        format!("A worker by {} costs {cost} to start and wait for: worth it for tasks of {task} or more.", row.label)
    };
    measured(comparison).map(line).collect()
}

/// Rows that nobody can use as they are: they burn a whole CPU for as long as they wait.
const BUSY: [&str; 2] = ["spin", "yield"];

/// The fastest way to talk between threads and between processes, and the work that a message must bring with it.
fn talking(comparison: &Comparison) -> Vec<String> {
    let fastest = |who: &str| {
        let usable = |row: &&MeasuredRow| !BUSY.iter().any(|busy| row.label.starts_with(busy));
        let rows = measured(comparison).filter(move |row| row.label.ends_with(who)).filter(usable);
        rows.min_by(|a, b| a.median.total_cmp(&b.median))
    };
    let line = |who: &str| {
        let row = fastest(who)?;
        let (cost, work) = (with_unit("ns", row.median), with_unit("ns", row.median / SMALL));
        let by = row.label.trim_end_matches(who).trim_end_matches([',', ' ', '*']);
        Some(format!(
            "Two {who} ask and answer in {cost} at best ({by}): cheap if each question brings {work} of work."
        ))
    };
    ["threads", "processes"].into_iter().filter_map(line).collect()
}

fn comparison<'r>(topics: &'r [Report], topic: &str, demo: &str) -> Option<&'r Comparison> {
    let topic = topics.iter().find(|known| known.topic == topic)?;
    let demo = topic.demos.iter().find(|known| known.name == demo)?;
    demo.content.iter().find_map(|content| if let Content::Comparison(found) = content { Some(found) } else { None })
}

fn measured(comparison: &Comparison) -> impl Iterator<Item = &MeasuredRow> {
    comparison.rows.iter().filter_map(|row| if let ComparisonRow::Measured(row) = row { Some(row) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::{DemoReport, Effort, Placement};

    fn topic(name: &str, demo: &str, rows: &[(&str, f64)]) -> Report {
        let row = |&(label, median): &(&str, f64)| {
            ComparisonRow::Measured(MeasuredRow {
                label: label.to_owned(),
                placement: Placement::Free,
                unit: "ns".to_owned(),
                steps: 1,
                samples: vec![median],
                median,
                low: None,
                high: None,
                p99: None,
                cpu_ns: None,
            })
        };
        let comparison =
            Comparison { title: String::new(), differs_in: String::new(), rows: rows.iter().map(row).collect() };
        let mut report = DemoReport::new(demo, "?", "");
        report.content.push(Content::Comparison(comparison));
        Report { demos: vec![report], ..Report::new(name, Effort::Quick, Machine::default()) }
    }

    #[test]
    fn a_task_is_long_enough_at_twenty_times_the_start() {
        let said = sentences(&[topic("process-demo", "start-cost", &[("fork", 150_000.0)])]);
        assert_eq!(
            said,
            ["A worker by fork costs 150 us to start and wait for: worth it for tasks of 3.00 ms or more."]
        );
    }

    #[test]
    fn the_fastest_of_each_kind_is_named() {
        let rows = [
            ("pipe, processes", 9e3),
            ("ring*, processes", 900.0),
            ("spin*, processes", 600.0),
            ("pipe, threads", 8e3),
            ("crossbeam bounded(1), threads", 800.0),
        ];
        let said = sentences(&[topic("ipc-demo", "round-trip", &rows)]);
        assert!(said[0].contains("Two threads ask and answer in 800 ns at best (crossbeam bounded(1))"), "{said:?}");
        assert!(said[1].contains("Two processes ask and answer in 900 ns at best (ring)"), "{said:?}");
    }

    #[test]
    fn without_figures_nothing_is_said() {
        assert!(sentences(&[]).is_empty());
        assert!(sentences(&[topic("ipc-demo", "round-trip", &[])]).is_empty());
    }
}
