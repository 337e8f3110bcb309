//! Does the runner survive whatever a demonstration does, say what it was, and leave nothing behind?
//!
//! The demonstrations are those of `examples/misbehaving.rs`, which `cargo test` builds beside the tests.

#[path = "fixtures/run.rs"]
mod run;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::{Pid, ttyname};
use serde_json::Value;

use run::{Run, program, state, text, wait_until};

#[test]
fn every_misbehaviour_is_named_and_the_next_demonstration_still_runs() {
    // It panics when it cannot tell any more; a debug build of std aborts when it then drops a closed descriptor.
    let without_descriptors = if cfg!(debug_assertions) { "SIGABRT" } else { "101" };
    let cases: &[(&str, &[&str])] = &[
        ("panics", &["panicked", "101", "out of luck"]),
        ("segfaults", &["SIGSEGV"]),
        ("aborts", &["SIGABRT"]),
        ("killed", &["SIGKILL"]),
        ("exits-early", &["exit code 3"]),
        ("exits-early-as-if-well", &["exit code 0"]),
        ("errs", &["the disk is on fire"]),
        ("floods-events", &["flooded"]),
        ("tells-at-length", &["flooded"]),
        ("floods-output", &["flooded", "again and again"]),
        ("closes-descriptors", &[without_descriptors]),
        ("closes-and-lives-on", &["closed its event channel"]),
        ("prints", &["printed by itself", "by the way"]),
        ("leaves-child", &["left behind", "process"]),
        ("leaves-zombie", &["left behind", "zombie"]),
        ("escapes", &["left behind", "process"]),
        ("escapes-unnamed", &["left behind", "process"]),
        ("leaves-socket", &["left behind", "socket", "process"]),
        ("leaves-file", &["left behind", "file"]),
        ("leaves-shm", &["left behind", "shared memory"]),
        ("leaves-queue", &["left behind", "queue"]),
        ("lies", &["a fact does not hold", "one and one is three"]),
        ("judges-another-claim", &["does not declare"]),
        ("silent", &["no verdict on the claim"]),
        ("does-not-answer", &["not answered"]),
    ];
    let wrong: Vec<String> =
        cases.iter().flat_map(|(name, reasons)| judge(name, reasons, &["--deadline", "60"])).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_demonstration_without_an_end_is_ended_at_its_deadline() {
    let wrong: Vec<String> = ["hangs", "stops-itself"]
        .iter()
        .flat_map(|name| judge(name, &["no answer in 1 s"], &["--deadline", "1"]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_skipped_demonstration_fails_nothing() {
    let run = Run::start(&["skips", "well-behaved", "--json", "-"]);
    let (output, left) = run.end();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(report["demos"][0]["status"], "skipped");
    assert_eq!(report["demos"][0]["why"], "this machine has no such thing");
    assert_eq!(report["demos"][1]["status"], "ran");
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_interrupt_ends_everything_and_leaves_nothing() {
    // Whoever started the tests may have had these ignored (`nohup`, `&` in a script), which children inherit.
    for ends in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { signal(ends, SigHandler::SigDfl) }.unwrap();
    }
    for (ends, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut run = Run::start(&["lingers", "well-behaved"]);
        run.read_until("in the middle of it");
        assert!(run.left().len() >= 5, "process, child, escaped, file, shared memory, socket: {:?}", run.left());
        kill(run.pid(), ends).unwrap();
        let (output, left) = run.end();
        assert_eq!(output.status.code(), Some(code), "{ends}: {}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("well-behaved"), "{ends}: the next demonstration ran all the same");
        assert_eq!(left, [""; 0], "{ends}");
    }
}

#[test]
fn an_interrupt_cuts_the_document_short_but_not_off() {
    let mut run = Run::start(&["well-behaved", "lingers", "--json", "report.json"]);
    run.read_until("in the middle of it");
    kill(run.pid(), Signal::SIGTERM).unwrap();
    run.wait();
    let report: Value = serde_json::from_slice(&fs::read(run.directory.path().join("report.json")).unwrap()).unwrap();
    let lingers = report["demos"].as_array().unwrap().iter().find(|demo| demo["name"] == "lingers").unwrap();
    assert_eq!(lingers["status"], "failed");
    assert!(lingers["why"].as_str().unwrap().contains("SIGTERM"), "{lingers}");
}

#[test]
fn a_hang_up_that_is_ignored_does_not_end_the_run() {
    let script = "trap '' HUP; exec \"$0\" waits-at-gate";
    let mut run = Run::start_by(Command::new("sh").args(["-c", script]).arg(program()));
    run.read_until("at the gate");
    kill(run.pid(), Signal::SIGHUP).unwrap();
    run.open_gate();
    run.read_until("through the gate");
    assert_eq!(run.end().0.status.code(), Some(0));
}

#[test]
fn a_run_that_is_started_with_its_childrens_end_ignored_watches_them_all_the_same() {
    let script = "trap '' CHLD; exec \"$0\" well-behaved leaves-child";
    let (output, left) = Run::start_by(Command::new("sh").args(["-c", script]).arg(program())).end();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("left behind: 1 processes"), "{}", text(&output.stdout));
    assert_eq!(left, [""; 0]);
}

#[test]
fn nothing_outlives_a_runner_that_is_killed() {
    let mut run = Run::start(&["lingers", "well-behaved"]);
    run.read_until("in the middle of it");
    kill(run.pid(), Signal::SIGKILL).unwrap();
    assert_eq!(run.wait().signal(), Some(Signal::SIGKILL as i32));
    wait_until("all that the killed runner left is gone", || run.left(), |left| left.is_empty());
}

#[test]
fn a_stopped_run_stops_and_goes_on() {
    let mut run = Run::start(&["waits-at-gate", "well-behaved"]);
    run.read_until("at the gate");
    let performer = run.performer();
    kill(run.pid(), Signal::SIGTSTP).unwrap();
    wait_until("the demonstration is stopped", || state(performer), |state| *state == Some('T'));
    wait_until("the runner is stopped", || state(run.pid()), |state| *state == Some('T'));
    kill(run.pid(), Signal::SIGCONT).unwrap();
    wait_until("the demonstration goes on", || state(performer), |state| state.is_some_and(|state| state != 'T'));
    run.open_gate();
    run.read_until("through the gate");
    let (output, left) = run.end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_run_whose_reader_reads_nothing_stops_with_its_demonstration() {
    let mut run = Run::start(&["talks-much"]);
    run.read_until("line 0 ");
    let performer = run.performer();
    // It tells more than the pipe and the socket hold: once it sleeps, its runner waits for the reader.
    wait_until("the demonstration cannot go on", || state(performer), |state| *state == Some('S'));
    kill(run.pid(), Signal::SIGTSTP).unwrap();
    wait_until("the runner is stopped", || state(run.pid()), |state| *state == Some('T'));
    wait_until("the demonstration is stopped", || state(performer), |state| *state == Some('T'));
    kill(run.pid(), Signal::SIGCONT).unwrap();
    wait_until("the demonstration goes on", || state(performer), |state| *state != Some('T'));
    assert_eq!(run.end().0.status.code(), Some(0));
}

#[test]
fn a_stop_does_not_count_against_the_deadline() {
    let mut run = Run::start(&["waits-at-gate", "--deadline", "2"]);
    run.read_until("at the gate");
    kill(run.pid(), Signal::SIGTSTP).unwrap();
    wait_until("the runner is stopped", || state(run.pid()), |state| *state == Some('T'));
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(3) {
        yield_now(); // The deadline passes: that this takes time is the subject.
    }
    kill(run.pid(), Signal::SIGCONT).unwrap();
    run.open_gate();
    assert_eq!(run.end().0.status.code(), Some(0));
}

#[test]
fn a_slow_reader_does_not_count_against_the_deadline() {
    // Long enough for a busy machine: the demonstration's own time does count.
    let mut run = Run::start(&["talks-much", "--deadline", "10"]);
    run.read_until("line 0 ");
    sleep(Duration::from_secs(11)); // The deadline passes: that this takes time is the subject.
    let (output, _) = run.end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout[output.stdout.len() - 1000..]));
}

#[test]
fn an_interrupt_does_not_wait_for_a_reader_that_reads_nothing() {
    // The document goes to the end that this test reads only afterwards, and is more than a pipe holds.
    let script = "exec \"$0\" talks-much lingers --json - 3>&1 >&2 2>&3 3>&-";
    let mut run = Run::start_by(Command::new("sh").args(["-c", script]).arg(program()));
    run.read_until("in the middle of it");
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(run.wait().code(), Some(143));
    assert_eq!(run.left(), [""; 0]);
}

#[test]
fn a_terminal_that_takes_nothing_does_not_make_the_run_deaf_to_signals() {
    for ends in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let terminal = openpty(None, None).unwrap();
        let name = ttyname(&terminal.slave).unwrap();
        let script = "trap - INT TERM HUP; exec \"$0\" talks-much >\"$1\" 2>&1";
        let mut run = Run::start_by(Command::new("sh").args(["-c", script]).arg(program()).arg(name));
        let sleeps = |pid: Option<Pid>| pid.and_then(state) == Some('S');
        let full = || sleeps(run.try_performer()) && sleeps(Some(run.pid()));
        // It tells more than all the buffers hold, and nobody reads.
        wait_until("twice in a row, neither can go on", || full() && full(), |full| *full);
        kill(run.pid(), ends).unwrap();
        assert_eq!(run.wait().code(), Some(128 + ends as i32), "{ends}");
        assert_eq!(run.left(), [""; 0]);
    }
}

#[test]
fn an_orphan_of_somebody_else_that_comes_to_the_runner_lives_on() {
    let script =
        "mkfifo go; (sleep 600 >stranger 2>&1 <stranger & echo $! >number; read _ <go) & exec \"$0\" waits-at-gate";
    let script = format!(": >stranger; {script}");
    let mut run = Run::start_by(Command::new("sh").args(["-c", &script]).arg(program()));
    run.read_until("at the gate"); // Now the runner takes in orphans.
    let number = run.directory.path().join("number");
    let stranger: i32 = fs::read_to_string(number).unwrap().trim().parse().unwrap();
    fs::write(run.directory.path().join("go"), "\n").unwrap();
    let parent = || fs::read_to_string(format!("/proc/{stranger}/stat")).unwrap();
    let parent = || parent().rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse::<i32>().unwrap();
    wait_until("the runner has the orphan", parent, |parent| *parent == run.pid().as_raw());
    run.open_gate();
    let (output, _) = run.end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    kill(Pid::from_raw(stranger), Signal::SIGKILL).expect("it lives");
}

#[test]
fn a_system_v_object_that_anybody_may_have_made_is_not_counted() {
    let mut run = Run::start(&["waits-at-gate"]);
    run.read_until("at the gate");
    // SAFETY: it takes three numbers.
    let id = unsafe { nix::libc::semget(nix::libc::IPC_PRIVATE, 1, nix::libc::IPC_CREAT | 0o600) };
    run.open_gate();
    let (output, _) = run.end();
    // SAFETY: as above; the semaphore is this test's.
    let removed = unsafe { nix::libc::semctl(id, 0, nix::libc::IPC_RMID) };
    assert_eq!((output.status.code(), removed), (Some(0), 0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("Not counted: System V objects"), "{}", text(&output.stdout));
}

#[test]
fn a_child_that_a_shell_left_to_the_runner_is_none_of_its_leftovers() {
    let script = "mkfifo through; cat <through & exec \"$0\" well-behaved skips >through";
    let (output, _) = Run::start_by(Command::new("sh").args(["-c", script]).arg(program())).end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Nothing was left behind"), "{}", text(&output.stdout));
}

#[test]
fn a_demonstration_that_cannot_be_started_fails_and_the_document_is_written() {
    let script = "TMPDIR=no/such/directory exec \"$0\" well-behaved skips --json -";
    let (output, _) = Run::start_by(Command::new("sh").args(["-c", script]).arg(program())).end();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for demo in report["demos"].as_array().unwrap() {
        assert_eq!(demo["status"], "failed");
        assert!(demo["why"].as_str().unwrap().contains("no/such/directory"), "{demo}");
    }
    assert_eq!(report["demos"].as_array().unwrap().len(), 2);
}

#[test]
fn a_document_that_cannot_be_written_fails_the_run() {
    let (output, left) = Run::start(&["well-behaved", "--json", "/dev/full"]).end();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write"), "{}", text(&output.stderr));
    assert_eq!(left, [""; 0]);
}

#[test]
fn the_temporary_directory_is_private() {
    let mut run = Run::start(&["waits-at-gate"]);
    run.read_until("at the gate");
    let directory = fs::read_dir(run.directory.path().join("tmp")).unwrap().next().unwrap().unwrap();
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o077, 0);
    run.open_gate();
    assert_eq!(run.end().0.status.code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let mut run = Run::start(&["talks-much", "well-behaved"]);
    run.read_until("");
    run.stdout = None;
    let (output, left) = run.end();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_usage_error_exits_2_and_says_what_there_is() {
    let cases: &[(&[&str], &str)] = &[
        (&["well-behavd"], "'well-behaved'"),
        (&["--efort", "quick"], "--effort"),
        (&["--effort", "quik"], "quick"),
        (&["--set", "task_s=1"], "no parameters"),
        (&["--source", "panic"], "'panics'"),
        (&["--input", "file"], "--input"),
        (&["--explain", "own-pi"], "'own-pid'"),
        (&["--role", "any"], "--role is for the demonstrations alone"),
        (&["--deadline", "0"], "--deadline"),
        (&["--json", "no/such/directory/report.json"], "no/such/directory"),
    ];
    for (arguments, says) in cases {
        let (output, left) = Run::start(arguments).end();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
        assert_eq!((text(&output.stdout).as_str(), left), ("", vec![]), "{arguments:?}");
    }
}

#[test]
fn a_document_on_stdout_stands_there_alone() {
    let (output, left) = Run::start(&["prints", "well-behaved", "--json", "-"]).end();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], 2);
    assert_eq!(report["topic"], "misbehaving");
    assert_eq!(report["demos"][1]["verdicts"][0]["claim"], "own-pid");
    assert_eq!(report["leftovers"]["processes"], 0);
    assert!(text(&output.stderr).contains("Yes, it does."), "the narration goes to stderr");
    assert_eq!(left, [""; 0]);
}

#[test]
fn the_list_gives_each_name_with_its_question() {
    let (output, _) = Run::start(&["--list"]).end();
    let listed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(listed.lines().all(|line| line.split('\t').count() == 2), "{listed}");
    assert_eq!(listed.lines().next(), Some("panics\tDoes the runner survive this?"));
    assert_eq!(listed.lines().last(), Some("well-behaved\tDoes the runner survive this?"));
}

#[test]
fn a_claim_is_explained_by_the_rules_here_and_the_names_elsewhere() {
    let (output, left) = Run::start(&["--explain", "own-pid"]).end();
    let explained = text(&output.stdout);
    assert_eq!((output.status.code(), left), (Some(0), vec![]));
    assert!(explained.starts_with("A process is a running program with an identifier of its own."), "{explained}");
    assert!(
        explained.contains("misbehaving well-behaved\n  Does the runner survive this?\n  It holds.\n"),
        "{explained}"
    );
    assert!(explained.contains("Answered too by: process-demo address-space"), "{explained}");
}

#[test]
fn in_short_what_holds_is_counted_and_in_full_it_is_shown() {
    for (options, shown, hidden) in [
        (&["well-behaved"][..], "[ok] 1 fact held.", "[ok] A process has an identifier"),
        (&["well-behaved", "--full"], "[ok] A process has an identifier", "1 fact held"),
        (&["lies"], "expected: one and one is three\n        seen: 2\n", "[ok]"),
    ] {
        let narration = text(&Run::start(options).end().0.stdout);
        assert!(narration.contains(shown) && !narration.contains(hidden), "{narration}");
    }
}

#[test]
fn the_source_is_the_snippet_s_own_text() {
    let (output, _) = Run::start(&["--source", "well-behaved"]).end();
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(
        shown.contains("shared/examples/nothing.rs") && shown.contains("//! Nothing.\n//!\n//! Needs: std\n"),
        "{shown}"
    );
}

/// Runs one that misbehaves and the well-behaved one after it; returns all that is not as it should be.
fn judge(name: &str, reasons: &[&str], options: &[&str]) -> Vec<String> {
    let mut arguments = vec![name, "well-behaved", "--json", "-"];
    arguments.extend(options);
    let (output, left) = Run::start(&arguments).end();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let [bad, good] = [0, 1].map(|index| &report["demos"][index]);
    let why = bad["why"].as_str().unwrap_or_default();
    let mut wrong = Vec::new();
    let mut check = |holds: bool, says: String| {
        if !holds {
            wrong.push(format!("{name}: {says}"));
        }
    };
    check(output.status.code() == Some(1), format!("{}; {}", output.status, text(&output.stderr)));
    check(bad["status"] == "failed", format!("its status is {}", bad["status"]));
    check(bad["verdicts"][0]["verdict"] == "failed", format!("its verdicts are {}", bad["verdicts"]));
    for reason in reasons {
        check(why.contains(reason), format!("'{reason}' is not in the reason: {why}"));
    }
    check(why.len() < 500, format!("the reason is {} bytes long", why.len()));
    check(good["name"] == "well-behaved" && good["status"] == "ran", format!("the next one: {good}"));
    check(left.is_empty(), format!("it left {left:?}"));
    wrong
}
