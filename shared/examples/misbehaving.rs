//! Demonstrations that misbehave, each in a way of its own: what the runner must survive and report.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use nix::mqueue::{MQ_OFlag, MqAttr, mq_open};
use nix::sys::signal::{Signal, raise};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, close, pause, setsid};
use shared::{Claim, Demo, Extras, Ruling, Snippet, Stage};

const DEMOS: &[Demo] = &[
    demo("panics", |_| panic!("out of luck")),
    demo("segfaults", |_| {
        raise(Signal::SIGSEGV)?; // The first is taken by std, which looks for an overflown stack.
        dies_of(Signal::SIGSEGV)
    }),
    demo("aborts", |_| std::process::abort()),
    demo("killed", |_| dies_of(Signal::SIGKILL)),
    demo("exits-early", |_| std::process::exit(3)),
    demo("exits-early-as-if-well", |_| std::process::exit(0)),
    demo("errs", |_| bail!("the disk is on fire")),
    demo("hangs", |_| waits_for_ever()),
    demo("stops-itself", |_| dies_of(Signal::SIGSTOP)),
    demo("floods-events", |stage| tells_for_ever(stage, "again")),
    demo("tells-at-length", |stage| tells_for_ever(stage, &"long ".repeat(13 << 20))),
    demo("floods-output", |_| prints_for_ever()),
    demo("closes-descriptors", closes_descriptors),
    demo("closes-and-lives-on", |_| {
        close_all()?;
        waits_for_ever()
    }),
    demo("prints", |stage| {
        println!("by the way");
        behaves(stage)
    }),
    demo("leaves-child", leaves_child),
    demo("leaves-zombie", leaves_zombie),
    demo("escapes", |stage| escapes(stage, &[])),
    demo("escapes-unnamed", |stage| escapes(stage, &["without-environment"])),
    demo("leaves-socket", |stage| escapes(stage, &["with-socket"])),
    demo("leaves-file", |stage| {
        fs::write(stage.directory().join("file"), "left")?;
        behaves(stage)
    }),
    demo("leaves-shm", |stage| {
        fs::write(shared_memory(stage), "left")?;
        behaves(stage)
    }),
    demo("leaves-queue", |stage| {
        let read_write = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
        let one_byte = MqAttr::new(0, 1, 1, 0);
        mq_open(stage.queue("left")?.as_str(), read_write, Mode::S_IRUSR | Mode::S_IWUSR, Some(&one_byte))?;
        behaves(stage)
    }),
    demo("lies", |stage| {
        stage.fact("one and one is three", 1 + 1 == 3, 1 + 1);
        behaves(stage)
    }),
    demo("judges-another-claim", |stage| {
        stage.rule(Claim::ThreadsUseLocks, Ruling::holds("so it says"))?;
        behaves(stage)
    }),
    demo("silent", |_| Ok(())),
    demo("does-not-answer", |stage| stage.rule(Claim::OwnPid, Ruling::holds("it has one"))),
    demo("skips", |stage| {
        stage.skip("this machine has no such thing");
        Ok(())
    }),
    // Not misbehaving, but in the middle of something when the run is ended, stopped or no longer read.
    demo("talks-much", |stage| {
        (0..5000).for_each(|line| stage.say(format!("line {line} of more than a pipe holds")));
        behaves(stage)
    }),
    demo("lingers", lingers),
    demo("waits-at-gate", waits_at_gate),
    demo("well-behaved", behaves),
];

/// Tells a process that was started by this program what it is to be, in place of a demonstration.
const PART: &str = "MISBEHAVING_PART";
/// The path of a FIFO at which `waits-at-gate` waits for whoever opens the other end.
const GATE: &str = "MISBEHAVING_GATE";

fn main() -> ExitCode {
    match std::env::var(PART).as_deref() {
        Ok("go-between") => go_between(),
        Ok("escaped") => escaped(),
        _ => shared::main(DEMOS),
    }
}

const fn demo(name: &'static str, run: fn(&mut Stage) -> Result<()>) -> Demo {
    Demo {
        name,
        question: "Does the runner survive this?",
        claims: &[Claim::OwnPid],
        rule: "It holds.",
        extras: Extras::NONE,
        snippets: &[Snippet { path: "shared/examples/nothing.rs", text: "//! Nothing.\n//!\n//! Needs: std\n" }],
        run,
    }
}

/// All that a demonstration owes; the misbehaving do it too, so that one thing alone is wrong with them.
fn behaves(stage: &mut Stage) -> Result<()> {
    let pid = std::process::id();
    stage.fact("A process has an identifier", pid > 0, pid);
    stage.rule(Claim::OwnPid, Ruling::holds(format!("it is {pid}")))?;
    stage.answer("Yes, it does.");
    Ok(())
}

fn dies_of(signal: Signal) -> Result<()> {
    raise(signal)?;
    waits_for_ever()
}

fn waits_for_ever() -> Result<()> {
    loop {
        pause();
    }
}

fn tells_for_ever(stage: &mut Stage, text: &str) -> Result<()> {
    loop {
        stage.say(text);
    }
}

fn prints_for_ever() -> Result<()> {
    loop {
        println!("again and again");
    }
}

fn closes_descriptors(stage: &mut Stage) -> Result<()> {
    close_all()?;
    behaves(stage)
}

fn close_all() -> Result<()> {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?))
        .collect::<Result<_>>()?;
    for number in numbers {
        let _ = close(number); // The one by which the directory was read is closed already.
    }
    Ok(())
}

fn leaves_child(stage: &mut Stage) -> Result<()> {
    Command::new("sleep").arg("1000").spawn().context("starting sleep")?;
    behaves(stage)
}

/// One that has ended before its parent does, which never waits for it.
fn leaves_zombie(stage: &mut Stage) -> Result<()> {
    let child = Command::new("true").spawn().context("starting true")?;
    let seen_but_not_reaped = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(Pid::from_raw(child.id() as i32)), seen_but_not_reaped).context("waiting for its end")?;
    behaves(stage)
}

fn escapes(stage: &mut Stage, options: &[&str]) -> Result<()> {
    escape(stage, options)?;
    behaves(stage)
}

/// Starts a process that leaves the group and the session of this one, and returns when it has done so.
fn escape(stage: &Stage, options: &[&str]) -> Result<()> {
    let mut go_between = Command::new("/proc/self/exe");
    if options.contains(&"without-environment") {
        go_between.env_clear();
    }
    // The name stands on its command line, by which the test finds it even without an environment.
    go_between.arg(stage.name("escaped")).args(options).env(PART, "go-between").stdout(Stdio::piped());
    let mut go_between = go_between.spawn().context("starting the go-between")?;
    go_between.stdout.take().context("its output")?.read_exact(&mut [0]).context("waiting for the escape")?;
    go_between.wait()?;
    Ok(())
}

/// In a session of its own, starts the one that escapes, and is gone: a double fork.
fn go_between() -> ExitCode {
    let _ = setsid(); // Refused only to the leader of a group, who could not be followed either.
    let started = Command::new("/proc/self/exe").args(arguments()).env(PART, "escaped").spawn();
    if started.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn escaped() -> ExitCode {
    let _ = setsid();
    let arguments = arguments();
    let name = arguments.first().map(|name| name.as_encoded_bytes().to_owned()).unwrap_or_default();
    let with_socket = arguments.iter().any(|argument| argument == "with-socket");
    let _held = with_socket.then(|| SocketAddr::from_abstract_name(name).and_then(|at| UnixListener::bind_addr(&at)));
    let _ = std::io::stdout().write_all(b"!").and_then(|()| std::io::stdout().flush()); // Says that it is out.
    loop {
        pause();
    }
}

fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

fn shared_memory(stage: &Stage) -> PathBuf {
    PathBuf::from("/dev/shm").join(stage.name("left"))
}

/// Has one of everything when the end comes from outside.
fn lingers(stage: &mut Stage) -> Result<()> {
    let _child = Command::new("sleep").arg("1000").spawn().context("starting sleep")?;
    escape(stage, &["with-socket"])?;
    fs::write(stage.directory().join("file"), "left")?;
    fs::write(shared_memory(stage), "left")?;
    stage.say("in the middle of it");
    waits_for_ever()
}

fn waits_at_gate(stage: &mut Stage) -> Result<()> {
    stage.say("at the gate");
    let gate = std::env::var_os(GATE).context("no gate given")?;
    File::open(gate).context("opening the gate")?; // Blocks until the other end is opened.
    stage.say("through the gate");
    behaves(stage)
}
