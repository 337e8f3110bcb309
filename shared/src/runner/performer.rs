//! The process in which one demonstration runs: told what to do by its parent, and ending with it.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, dup2_stdin, getppid};

use super::run::Run;
use super::signals::unblock_all;
use crate::cli::Options;
use crate::demo::Demo;
use crate::refused::refused;
use crate::report::Event;
use crate::stage::Stage;

/// Runs the one demonstration named. Its events go out by descriptor 0, where the parent put the socket.
pub(super) fn perform(demos: &'static [Demo], options: &Options) -> ExitCode {
    let staged = prepare(demos, options);
    let (demo, mut stage) = match staged {
        Ok(staged) => staged,
        Err(error) => {
            anstream::eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let error = match (demo.run)(&mut stage) {
        Ok(()) => None,
        Err(error) => {
            let why = refused(&error);
            why.iter().for_each(|why| stage.skip(why));
            why.is_none().then(|| format!("{error:#}"))
        }
    };
    let code = if error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    stage.tell_checks();
    stage.tell(Event::End { error });
    code
}

/// Plays the role named first, with the other arguments.
pub(super) fn play(demos: &'static [Demo], arguments: &[OsString]) -> ExitCode {
    let role = arguments
        .first()
        .and_then(|name| demos.iter().flat_map(|demo| demo.extras.roles).find(|role| role.name == name));
    match (Run::inherited(), role) {
        (Some(_), Some(role)) => ExitCode::from((role.play)(&arguments[1..])),
        // By hand it would wait for a partner that is not there.
        _ => {
            anstream::eprintln!("--role is for the demonstrations alone: name a demonstration without it");
            ExitCode::from(2)
        }
    }
}

fn prepare(demos: &'static [Demo], options: &Options) -> Result<(&'static Demo, Stage)> {
    let run = Run::inherited().context("--perform is for the runner alone: name a demonstration without it")?;
    die_with_parent(run.runner)?;
    unblock_all()?;
    run.mark()?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbidding core dumps")?;
    let events = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().context("the event channel")?);
    let nothing = std::fs::File::open("/dev/null").context("/dev/null")?;
    dup2_stdin(&nothing).context("closing stdin")?;
    let demo = options.selected(demos).into_iter().next().context("no demonstration named")?;
    let (claims, settings, events) = (demo.claims, options.settings(demo), Box::new(events));
    let mut stage = Stage::new(claims, settings, events, options.effort, run.directory(), run.prefix());
    stage.input = options.input.clone();
    Ok((demo, stage))
}

/// Killed when the runner dies, also if that happened before this line.
fn die_with_parent(runner: Pid) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")?;
    ensure!(getppid() == runner, "the runner is gone");
    Ok(())
}
