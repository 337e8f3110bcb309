//! What may a report hold? One of everything, fixed, for tests of what is made of it.

use shared::claims::{self, Claim};
use shared::machine::Machine;
use shared::report::*;

/// One of everything that a report may hold.
pub fn report() -> Report {
    let machine = Machine {
        cpu: Some("Some(R) Processor @ 2.00GHz".to_owned()),
        logical_cpus: Some(2),
        usable_cpus: Some(1.5),
        kernel: Some("Linux 6.18.44".to_owned()),
        memory_bytes: Some(8_354_000_896),
        virtualized: Some("yes (KVM)".to_owned()),
        page_bytes: Some(4096),
        huge_pages: Some("madvise".to_owned()),
        clock_source: None,
        clock_ns: Some(27),
        build: Some("release".to_owned()),
    };
    let mut leftovers = Leftovers { processes: Some(0), zombies: Some(0), sockets: Some(0), ..Leftovers::default() };
    (leftovers.shared_memory, leftovers.semaphores, leftovers.system_v, leftovers.files) =
        (Some(0), Some(0), Some(0), Some(0));
    let demos = vec![lost_update(), start_cost(), priority(), broken()];
    Report {
        schema: SCHEMA,
        topic: "race-demo".into(),
        version: "0.1.0".into(),
        effort: Effort::Quick,
        machine,
        demos,
        leftovers,
    }
}

/// Two programs' reports in one.
pub fn tour() -> TourReport {
    let mut second = report();
    second.topic = "process-demo".to_owned();
    second.demos.truncate(1);
    second.demos[0].verdicts = vec![ClaimVerdict {
        claim: Claim::SharedVariablesRace,
        verdict: Verdict::Qualified,
        because: "only where both may write".to_owned(),
        value: None,
        unit: None,
    }];
    let leftovers = Leftovers { zombies: Some(2), files: Some(1), ..report().leftovers };
    let topics = vec![report(), second];
    let claims = claims::scoreboard(topics.iter().flat_map(|topic| &topic.demos));
    TourReport { schema: SCHEMA, machine: report().machine, claims, topics, leftovers }
}

fn demo(name: &str, question: &str) -> DemoReport {
    DemoReport {
        name: name.to_owned(),
        question: question.to_owned(),
        answer: String::new(),
        rule: String::new(),
        spoiled: vec![],
        seconds: 0.25,
        status: Status::Ran,
        why: None,
        verdicts: vec![],
        content: vec![],
        snippets: vec![],
    }
}

fn verdict(claim: Claim, verdict: Verdict, because: &str) -> ClaimVerdict {
    ClaimVerdict { claim, verdict, because: because.to_owned(), value: Some(1.0), unit: Some("updates".to_owned()) }
}

fn column(name: &str, unit: &str, role: Role) -> Column {
    Column { name: name.to_owned(), unit: unit.to_owned(), role }
}

fn word(says: &str, mood: Mood) -> Cell {
    Cell::Word { says: says.to_owned(), mood }
}

fn lost_update() -> DemoReport {
    let text = |text: &str| Cell::Text(text.to_owned());
    let luck = Table {
        title: "A million additions by each of two threads".to_owned(),
        columns: vec![
            column("how the total is kept", "", Role::Label),
            column("additions", "", Role::X),
            column("lost", "", Role::Value),
            column("cost of one", "ns", Role::Value),
            column("exact", "", Role::Value),
        ],
        rows: vec![
            vec![
                text("load, then store"),
                Cell::Number(2e6),
                Cell::Number(6301.0),
                Cell::Interval { value: 1.254, low: 1.2, high: 1.31 },
                word("no", Mood::Bad),
            ],
            vec![
                text("fetch_add"),
                Cell::Number(2e6),
                Cell::Number(0.0),
                Cell::Interval { value: 18.47, low: 17.9, high: 19.04 },
                word("yes", Mood::Good),
            ],
            vec![
                text("a mutex around load and store, taken for every addition"),
                Cell::Number(2e6),
                Cell::Number(0.0),
                Cell::Nothing,
                word("yes", Mood::Good),
            ],
            vec![
                text("a transaction"),
                Cell::Nothing,
                Cell::Nothing,
                Cell::Skipped { skipped: "this CPU has no transactional memory".to_owned() },
                word("unknown", Mood::Neutral),
            ],
        ],
    };
    DemoReport {
        answer: "Yes: forced, two additions gave 1; by luck, 6,301 of 2,000,000 additions were lost.".to_owned(),
        rule: "The claim holds if a forced interleaving loses an update; a phenomenon that was not seen leaves it undecided.".to_owned(),
        verdicts: vec![
            verdict(Claim::SharedVariablesRace, Verdict::Holds, "two additions of one gave 1, forced by a barrier between the reads and the writes"),
            verdict(Claim::SynchronizationPreventsInterference, Verdict::Qualified, "exact as long as everybody who writes takes the same lock; 0 of 2,000,000 additions were lost"),
            verdict(Claim::RacesAreUnpredictable, Verdict::Undecided, "all 3 tries lost the same number"),
        ],
        content: vec![
            Content::Say { text: "Both threads read the total, wait for each other, then write what they read plus one.".to_owned() },
            Content::Fact(Fact { says: "An update is lost exactly when both threads read before either writes.".to_owned(), holds: true, got: "a total of 1 after two additions".to_owned() }),
            Content::Table(luck),
            Content::Say { text: "Luck needs many tries; a barrier needs one.".to_owned() },
        ],
        snippets: vec![SnippetText { path: "race-demo/snippets/lost_update.rs".to_owned(), needs: "std".to_owned(), text: "//! A lost update.\n".to_owned() }],
        ..demo("lost-update", "Two threads add one each. Can the total be one?")
    }
}

fn start_cost() -> DemoReport {
    let row = |label: &str, placement, samples: &[f64], p99, cpu_ns| {
        let samples = samples.to_vec();
        let (median, low, high) = (samples[1], samples.first().copied(), samples.last().copied());
        let (label, unit) = (label.to_owned(), "ns".to_owned());
        ComparisonRow::Measured(MeasuredRow {
            label,
            placement,
            unit,
            steps: 1,
            samples,
            median,
            low,
            high,
            p99,
            cpu_ns,
        })
    };
    let kinds = Comparison {
        title: "Starting one and waiting for its end (each timed alone, the clock's 27 ns included)".to_owned(),
        differs_in: "what is started".to_owned(),
        rows: vec![
            row("thread", Placement::Free, &[28_310.0, 29_084.0, 29_912.0], Some(61_003.0), Some(24_100.0)),
            row("fork", Placement::Free, &[151_200.0, 160_430.0, 166_800.0], Some(1_403_000.0), Some(201_700.0)),
            row("fork and exec, by std's Command", Placement::OtherCpu, &[340_100.0, 352_900.0, 371_500.0], None, None),
            ComparisonRow::Skipped { label: "fork, other CPUs".to_owned(), skipped: "one usable CPU".to_owned() },
        ],
    };
    let trend =
        |says: &str, ratio, low, high, clear| Content::Trend(Trend { says: says.to_owned(), ratio, low, high, clear });
    let lane = |label: &str, from, to| Lane { label: label.to_owned(), from, to };
    let lanes = vec![
        lane("thread 1", 0.0, 2.003),
        lane("thread 2", 0.004, 2.006),
        lane("process 1", 0.09, 1.1),
        lane("process 1", 1.1, 2.094),
        lane("process 2", 2.2, 2.2),
    ];
    DemoReport {
        answer: "A fork takes 5.31 times as long as a thread, and more with every GiB that its parent holds."
            .to_owned(),
        rule: "holds if fork against thread is clear and above 1, refuted if it is clear and below".to_owned(),
        spoiled: vec![
            "other programs used 71 % of a CPU".to_owned(),
            "the hypervisor took 2.3 % of a CPU away".to_owned(),
        ],
        seconds: 12.3456,
        verdicts: vec![verdict(
            Claim::ProcessCreationDearer,
            Verdict::Refuted,
            "no: it is the other way round in this fixed report",
        )],
        content: vec![
            Content::Comparison(kinds),
            trend("fork against thread", 5.314, Some(5.1), Some(5.5249), true),
            trend("fork and exec against fork", 0.991, Some(0.958), Some(1.0251), false),
            trend("a pthread against std's thread", 0.8, None, None, false),
            Content::Timeline(Timeline { title: "Who worked when".to_owned(), unit: "s".to_owned(), lanes }),
            Content::Say { text: "All had started before any finished.".to_owned() },
        ],
        snippets: vec![
            SnippetText {
                path: "process-demo/snippets/child.rs".to_owned(),
                needs: "nix 0.31 (process, signal)".to_owned(),
                text: String::new(),
            },
            SnippetText {
                path: "process-demo/snippets/start_ways.rs".to_owned(),
                needs: "nix 0.31 (process, signal); crossbeam-channel 0.5".to_owned(),
                text: String::new(),
            },
        ],
        ..demo("start-cost", "What does it cost to start a thread, and what a process?")
    }
}

fn priority() -> DemoReport {
    let why = "sched_setscheduler: EPERM: Operation not permitted";
    DemoReport {
        status: Status::Skipped,
        why: Some(why.to_owned()),
        verdicts: vec![verdict(Claim::OtherSyncProblems, Verdict::Skipped, why)],
        ..demo("priority-inversion", "Can a thread of low priority hold up one of high priority?")
    }
}

fn broken() -> DemoReport {
    let why = "a fact does not hold: The child's end is seen";
    DemoReport {
        status: Status::Failed,
        why: Some(why.to_owned()),
        content: vec![
            Content::Say { text: "A message of a stranger: \u{1b}[2J\u{206A}\r\nand its second line".to_owned() },
            Content::Fact(Fact { says: "The child's end is seen".to_owned(), holds: false, got: String::new() }),
        ],
        verdicts: vec![verdict(Claim::RunsIndependently, Verdict::Failed, why)],
        ..demo("supervise", "What does a parent see of its child's end?")
    }
}
