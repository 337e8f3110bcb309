//! What may a report hold? One of everything, fixed, for tests of what is made of it.

use std::collections::BTreeMap;

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
        snippets: snippets(),
        leftovers,
    }
}

fn snippets() -> BTreeMap<String, SnippetText> {
    let snippet = |path: &str, needs: &str, text: &str| {
        (path.to_owned(), SnippetText { needs: needs.to_owned(), text: text.to_owned() })
    };
    BTreeMap::from([
        snippet("race-demo/snippets/lost_update.rs", "std", "//! A lost update.\n"),
        snippet("process-demo/snippets/child.rs", "nix 0.31 (process, signal)", ""),
        snippet("process-demo/snippets/start.rs", "nix 0.31 (process, signal); crossbeam-channel 0.5", ""),
    ])
}

/// Two programs' reports in one.
pub fn tour() -> TourReport {
    let mut second = report();
    second.topic = "process-demo".to_owned();
    second.demos.truncate(1);
    second.demos[0].verdicts = vec![ClaimVerdict {
        claim: Claim::SharedVariablesRace,
        ruling: Ruling::only_if("both may write", "Of 2,000,000 additions by one writer none was lost"),
    }];
    let leftovers = Leftovers { zombies: Some(2), files: Some(1), ..report().leftovers };
    let topics = vec![report(), second];
    let claims = claims::scoreboard(&topics);
    TourReport { schema: SCHEMA, machine: report().machine, claims, topics, leftovers }
}

fn demo(name: &str, question: &str) -> DemoReport {
    DemoReport { seconds: 0.25, ..DemoReport::new(name, question, "") }
}

fn given(claim: Claim, ruling: Ruling) -> ClaimVerdict {
    ClaimVerdict { claim, ruling: ruling.by(1.0, "updates") }
}

fn failed(claim: Claim, why: &str) -> ClaimVerdict {
    ClaimVerdict { claim, ruling: Ruling { verdict: Verdict::Failed, ..Ruling::skipped(why) } }
}

/// What is shown in short.
fn shown(content: Content) -> Item {
    Item { content, detail: false }
}

fn detail(content: Content) -> Item {
    Item { content, detail: true }
}

fn say(text: &str) -> Content {
    Content::Say { text: text.to_owned() }
}

fn fact(says: &str, holds: bool, got: &str) -> Content {
    Content::Fact(Fact { says: says.to_owned(), holds, got: got.to_owned() })
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
    let sign = |sign, says: &str, mood| Sign { sign, says: says.to_owned(), mood };
    let row = |label: &str, cells: String| MapRow { label: label.to_owned(), cells };
    let orders = Map {
        title: "What each of the orders comes to".to_owned(),
        legend: vec![
            sign('.', "both additions are kept", Mood::Good),
            sign('!', "one is lost", Mood::Bad),
            sign('?', "nobody could tell, which never occurs here", Mood::Neutral),
        ],
        rows: vec![
            row("load and store", format!(".{}.", "!".repeat(118))),
            row("fetch_add", ".".repeat(120)),
            row("not tried", String::new()),
        ],
    };
    DemoReport {
        headline: "6,301 of 2,000,000 additions lost".to_owned(),
        answer: "Yes: forced, two additions gave 1; by luck, 6,301 of 2,000,000 additions were lost.".to_owned(),
        advice: "Add by one atomic step: copy `lost_update`.".to_owned(),
        rule: "The claim holds if a forced interleaving loses an update; a phenomenon that was not seen leaves it \
               undecided."
            .to_owned(),
        verdicts: vec![
            given(Claim::SharedVariablesRace, Ruling::holds("two additions of one gave 1, forced by a barrier")),
            given(
                Claim::SynchronizationPreventsInterference,
                Ruling::only_if("everybody who writes takes the same lock", "0 of 2,000,000 additions were lost."),
            ),
            given(Claim::OneAtATime, Ruling::except("a semaphore, which admits as many as it has permits", "3 of 3")),
            given(
                Claim::ManagementDiffers,
                Ruling::in_part("stop, limit and end reach a process, not a thread", "3 of 5 acts"),
            ),
            given(Claim::RacesAreUnpredictable, Ruling::undecided("all 3 tries lost the same number")),
        ],
        content: vec![
            detail(say("Both threads read the total, wait for each other, then write what they read plus one.")),
            shown(fact(
                "An update is lost exactly when both threads read before either writes.",
                true,
                "a total of 1 after two additions",
            )),
            detail(fact("Every addition was counted", true, "4 of 4")),
            shown(Content::Table(luck)),
            detail(Content::Map(orders)),
            detail(say("Luck needs many tries; a barrier needs one.")),
        ],
        snippets: vec!["race-demo/snippets/lost_update.rs".to_owned()],
        ..demo("lost-update", "Two threads add one each. Can the total be one?")
    }
}

fn start_cost() -> DemoReport {
    let row = |label: &str, placement, samples: &[f64], p99, cpu_ns| {
        let samples = samples.to_vec();
        let (median, low, high) = (samples[1], samples.first().copied(), samples.last().copied());
        let role = if label == "thread" { RowRole::Threads } else { RowRole::Processes };
        ComparisonRow::Measured(MeasuredRow {
            label: label.to_owned(),
            key: label.to_owned(),
            role: Some(role),
            detail: label == "vfork",
            placement,
            cpus: if placement == Placement::Free { vec![] } else { vec![1, 0] },
            unit: "ns".to_owned(),
            steps: 1,
            rounds: (0..samples.len()).collect(),
            samples,
            median,
            low,
            high,
            p99,
            cpu_ns,
        })
    };
    let kinds = Comparison {
        key: Some("start".to_owned()),
        title: "Starting one and waiting for its end (each timed alone, the clock's 27 ns included)".to_owned(),
        differs_in: "what is started".to_owned(),
        rows: vec![
            row("thread", Placement::Free, &[28_310.0, 29_084.0, 29_912.0], Some(61_003.0), Some(24_100.0)),
            row("fork", Placement::Free, &[151_200.0, 160_430.0, 166_800.0], Some(1_403_000.0), Some(201_700.0)),
            row("vfork", Placement::Free, &[101_000.0, 102_500.0, 103_333.0], None, Some(99_000.0)),
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
        headline: "29.1 us a thread, 160 us a fork".to_owned(),
        advice: "Start a process for a task of 3 ms or more: copy `start`.".to_owned(),
        answer: "A fork takes 5.31 times as long as a thread, and more with every GiB that its parent holds."
            .to_owned(),
        rule: "holds if fork against thread is clear and above 1, refuted if it is clear and below".to_owned(),
        spoiled: vec![
            "other programs used 71 % of a CPU".to_owned(),
            "the hypervisor took 2.3 % of a CPU away".to_owned(),
        ],
        seconds: 12.3456,
        verdicts: vec![given(
            Claim::ProcessCreationDearer,
            Ruling::refuted("no: it is the other way round in this fixed report"),
        )],
        content: vec![
            shown(Content::Comparison(kinds)),
            detail(trend("fork against thread", 5.314, Some(5.1), Some(5.5249), true)),
            detail(trend("fork and exec against fork", 0.991, Some(0.958), Some(1.0251), false)),
            detail(trend("a pthread against std's thread", 0.008_55, None, None, true)),
            detail(Content::Timeline(Timeline { title: "Who worked when".to_owned(), unit: "s".to_owned(), lanes })),
            shown(fact("A child that ended is waited for", true, "")),
            shown(say("All had started before any finished.")),
        ],
        snippets: vec!["process-demo/snippets/child.rs".to_owned(), "process-demo/snippets/start.rs".to_owned()],
        ..demo("start-cost", "What does it cost to start a thread, and what a process?")
    }
}

fn priority() -> DemoReport {
    let why = "sched_setscheduler: EPERM: Operation not permitted";
    DemoReport {
        status: Status::Skipped,
        why: Some(why.to_owned()),
        verdicts: vec![given(Claim::OtherSyncProblems, Ruling::skipped(why))],
        ..demo("priority-inversion", "Can a thread of low priority hold up one of high priority?")
    }
}

fn broken() -> DemoReport {
    let why = "a fact does not hold: The child's end is seen";
    DemoReport {
        status: Status::Failed,
        why: Some(why.to_owned()),
        content: vec![
            shown(say("A message of a stranger: \u{1b}[2J\u{206A}\r\nand its second line")),
            shown(fact("The child's end is seen", false, "")),
            detail(fact("Every message came whole", false, "11 of 12")),
        ],
        verdicts: vec![failed(Claim::RunsIndependently, why)],
        ..demo("supervise", "What does a parent see of its child's end?")
    }
}
