//! The tour over five well-behaved programs: what it writes, resumes, survives and leaves.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Only a bound on waiting for what must come: no fact depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAMS: [&str; 5] = ["threads-demo", "process-demo", "ipc-demo", "sync-demo", "race-demo"];

/// A folder with the tour and, under the names of the five programs, the well-behaved one.
struct Place {
    directory: TempDir,
}

impl Place {
    /// By links, not copies: a file still open for writing in a fork of another test's thread cannot be executed.
    fn new() -> Place {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let tour = Path::new(env!("CARGO_BIN_EXE_tour"));
        let program = tour.with_file_name("examples").join("well_behaved");
        assert!(program.exists(), "build it first: cargo build -p shared --example well_behaved");
        fs::hard_link(tour, directory.path().join("tour")).unwrap();
        PROGRAMS.iter().for_each(|name| fs::hard_link(&program, directory.path().join(name)).unwrap());
        Place { directory }
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out put")
    }

    fn tour(&self) -> Command {
        let mut command = Command::new(self.directory.path().join("tour"));
        command.args(["run", "--effort", "quick", "--out"]).arg(self.out()).stdin(Stdio::null());
        // The processes of this test are known by where their temporary files go.
        command.env("TMPDIR", self.directory.path());
        // In the background of a shell without job control SIGINT is ignored, under nohup SIGHUP, by whatever starts there.
        let obey = || {
            // SAFETY: no handler of ours is involved.
            unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
            // SAFETY: the same.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }?;
            Ok(())
        };
        // SAFETY: between fork and exec this makes two system calls.
        unsafe { command.pre_exec(obey) };
        command
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.out().join("report.json")).unwrap()).unwrap()
    }

    fn demos(&self) -> Vec<String> {
        let report = self.report();
        let topics = report["topics"].as_array().unwrap().iter();
        let names = topics.flat_map(|topic| topic["demos"].as_array().unwrap().iter());
        names.map(|demo| format!("{} {}", demo["name"].as_str().unwrap(), demo["status"].as_str().unwrap())).collect()
    }

    /// Starts a tour whose every second demonstration waits for ever, and returns once the first of them does.
    fn waiting_tour(&self) -> Child {
        let tour = self.tour().env("WELL_BEHAVED_WAITS", "1").stdout(Stdio::null()).spawn().unwrap();
        until("a demonstration waits", || self.processes().iter().any(|line| line.contains("second\0--perform")));
        tour
    }

    /// The command line of every living process started in this place.
    fn processes(&self) -> Vec<String> {
        self.read_of_each("cmdline").into_iter().filter(|line| !line.is_empty()).collect()
    }

    /// How many of the tour, the program that it runs and the demonstration are stopped; their janitor never is.
    fn stopped(&self) -> usize {
        self.read_of_each("stat").iter().filter(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T')).count()
    }

    /// A file of /proc for every process started in this place.
    fn read_of_each(&self, file: &str) -> Vec<String> {
        self.started().iter().filter_map(|pid| fs::read_to_string(pid.join(file)).ok()).collect()
    }

    /// Every process started in this place, by its directory in /proc.
    fn started(&self) -> Vec<PathBuf> {
        let here = self.directory.path().to_string_lossy().into_owned();
        let ours = |pid: &PathBuf| fs::read(pid.join("environ")).is_ok_and(|text| contains(&text, here.as_bytes()));
        fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).filter(ours).collect()
    }

    fn nothing_is_left(&self) {
        until("nothing is left", || {
            let listed = fs::read_dir(self.directory.path()).unwrap();
            let names = listed.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            self.processes().is_empty() && !names.into_iter().any(|name| name.starts_with("tvp-"))
        });
    }
}

impl Drop for Place {
    /// A test that fails in the middle leaves nobody behind either.
    fn drop(&mut self) {
        let numbers = self.started().into_iter().filter_map(|pid| pid.file_name()?.to_str()?.parse().ok());
        for pid in numbers {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // It may have ended since.
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Looks again and again, without a rest; what never comes fails.
fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let from = Instant::now();
    while !seen() {
        assert!(from.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::yield_now();
    }
}

fn send(tour: &Child, signal: Signal) {
    kill(Pid::from_raw(tour.id() as i32), signal).unwrap();
}

fn exit_code(status: ExitStatus) -> Option<i32> {
    assert_eq!(status.signal(), None);
    status.code()
}

#[test]
fn the_five_are_run_merged_and_written() {
    let place = Place::new();
    let output = place.tour().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.demos(), ["first ran", "second ran"].repeat(5));
    let report = place.report();
    assert_eq!(report["claims"][0]["claim"], "own-pid");
    assert_eq!(report["claims"][0]["verdict"], "qualified", "one holds, one refutes");
    assert_eq!(report["leftovers"]["processes"], 0);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown.to_lowercase().lines().filter(|line| line.contains("told so")).count(),
        10 + 1,
        "one line each:\n{shown}"
    );
    let text = fs::read_to_string(place.out().join("report.txt")).unwrap();
    assert_eq!(text.matches("Does it behave?").count(), 10, "the file has everything");
    place.nothing_is_left();
}

#[test]
fn full_prints_everything() {
    let place = Place::new();
    let output = place.tour().arg("--full").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().matches("Does it behave?").count(), 10);
}

#[test]
fn a_claim_is_explained_by_every_program_that_answers_it() {
    let place = Place::new();
    let tour = |claim: &str| {
        let output = Command::new(place.directory.path().join("tour")).args(["explain", claim]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (code, explained) = tour("threads-use-locks"); // Which sync-demo answers, as the list of claims says.
    assert_eq!(code, Some(0), "{explained}");
    assert_eq!(explained.matches("Threads use locks and condition variables").count(), 1, "{explained}");
    assert!(explained.contains("\nsync-demo second\n  Does it behave?\n  as told\n"), "{explained}");
    let (code, refused) = tour("threads-use-lock");
    assert_eq!(code, Some(2));
    assert!(refused.contains("'threads-use-locks'"), "{refused}");
}

#[test]
fn an_interrupted_tour_keeps_what_it_has_and_goes_on_from_there() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new();
        let mut tour = place.waiting_tour();
        send(&tour, signal);
        assert_eq!(exit_code(tour.wait().unwrap()), Some(code));
        place.nothing_is_left();
        assert_eq!(place.demos(), ["first ran"]);
        let output = place.tour().arg("--resume").output().unwrap();
        assert!(output.status.success());
        assert_eq!(place.demos().len(), 10);
        let again = place.tour().arg("--resume").output().unwrap();
        assert!(again.status.success());
        let shown = String::from_utf8(again.stdout).unwrap();
        assert_eq!(
            shown.to_lowercase().lines().filter(|line| line.contains("told so")).count(),
            1,
            "nothing was due:\n{shown}"
        );
    }
}

#[test]
fn a_killed_tour_leaves_nothing() {
    let place = Place::new();
    let mut tour = place.waiting_tour();
    tour.kill().unwrap();
    tour.wait().unwrap();
    place.nothing_is_left();
    assert_eq!(place.demos(), ["first ran"], "what was done is on the disk");
}

#[test]
fn a_killed_program_fails_its_demonstration_and_the_tour_goes_on() {
    let place = Place::new();
    let mut tour = place.tour().env("WELL_BEHAVED_WAITS", "1").stdout(Stdio::null()).spawn().unwrap();
    for name in PROGRAMS {
        let runner = place.directory.path().join(name).to_string_lossy().into_owned() + "\0second";
        let pid = || {
            let all = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
            let line = |pid: &PathBuf| fs::read_to_string(pid.join("cmdline")).unwrap_or_default();
            let mut found = all.filter(|pid| line(pid).starts_with(&runner));
            found.next()?.file_name()?.to_str()?.parse().ok()
        };
        let mut found: Option<i32> = None;
        until("the program runs", || {
            found = pid();
            found.is_some() && place.processes().iter().any(|line| line.contains("second\0--perform"))
        });
        kill(Pid::from_raw(found.unwrap()), Signal::SIGKILL).unwrap();
        until("its demonstration ended", || {
            !place.processes().iter().any(|line| line.contains("second\0--perform")) || pid().is_none()
        });
    }
    assert_eq!(exit_code(tour.wait().unwrap()), Some(1));
    assert_eq!(place.demos(), ["first ran", "second failed"].repeat(5));
    place.nothing_is_left();
}

#[test]
fn the_terminals_stop_stops_all_and_continuing_continues() {
    let place = Place::new();
    let mut tour = place.waiting_tour();
    send(&tour, Signal::SIGTSTP);
    until("tour, program and demonstration are stopped", || place.stopped() == 3);
    send(&tour, Signal::SIGCONT);
    until("all go on", || place.stopped() == 0);
    send(&tour, Signal::SIGINT);
    assert_eq!(exit_code(tour.wait().unwrap()), Some(130));
    place.nothing_is_left();
}

#[test]
fn what_cannot_work_is_said_in_one_sentence() {
    let place = Place::new();
    fs::remove_file(place.directory.path().join("ipc-demo")).unwrap();
    let missing = place.tour().output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    let says = String::from_utf8(missing.stderr).unwrap();
    assert!(says.contains("ipc-demo is not built") && says.lines().count() == 1, "{says}");

    let place = Place::new();
    fs::write(place.out(), "a file, no directory").unwrap();
    let unwritable = place.tour().output().unwrap();
    assert_eq!(unwritable.status.code(), Some(2));
    assert!(String::from_utf8(unwritable.stderr).unwrap().contains("cannot make"));
}

#[test]
fn another_effort_or_another_document_is_not_resumed() {
    let place = Place::new();
    place.tour().output().unwrap();
    let other = Command::new(place.directory.path().join("tour"))
        .args(["run", "--resume", "--effort", "normal", "--out"])
        .arg(place.out())
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8(other.stderr).unwrap().contains("another --effort"));
    fs::write(place.out().join("report.json"), "{}").unwrap();
    let broken = place.tour().arg("--resume").output().unwrap();
    assert_eq!(broken.status.code(), Some(2));
    assert!(String::from_utf8(broken.stderr).unwrap().contains("no report of this tour"));
}

#[test]
fn a_reader_that_goes_away_ends_the_tour_quietly() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.tour().stdout(writer).stderr(Stdio::piped()).process_group(0).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    place.nothing_is_left();
}
