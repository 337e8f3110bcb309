//! One death, played in a process of its own beside all the others.

use std::fs;
use std::io::{PipeReader, Read, Write, pipe};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use process_demo::child::{Child, Exit, fork};
use shared::refused;

use crate::names::Names;
use crate::peer_death::{Dies, MECHANISMS, Mechanism, play};

/// It plays; dropping it ends that.
pub struct Scene {
    child: Child,
    report: PipeReader,
    directory: PathBuf,
}

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The survivor was told, by an end, an error or a signal.
    pub told: bool,
    pub lost: u64,
    pub left: Vec<String>,
}

/// The writer's death, and the reader's.
pub fn both(name: &str, names: &Names) -> Result<[Scene; 2]> {
    let mechanism = MECHANISMS.iter().find(|one| one.name == name).context("no such mechanism to die with")?;
    let writer = begin(mechanism, Dies::Writer, "writer", names)?;
    match begin(mechanism, Dies::Reader, "reader", names) {
        Ok(reader) => Ok([writer, reader]),
        Err(error) => {
            let _ = writer.see()?; // Ended in the middle, it would leave behind what it has made.
            Err(error)
        }
    }
}

fn begin(mechanism: &'static Mechanism, dies: Dies, who: &str, names: &Names) -> Result<Scene> {
    // Names of its own: what one scene leaves is not another's.
    let scene = format!("{}-{who}", mechanism.name.replace(' ', "-"));
    let names = Names { directory: names.directory.join(&scene), system: format!("{}-{scene}", names.system) };
    let directory = names.directory.clone();
    let (report, teller) = pipe().context("a pipe")?;
    fs::create_dir(&directory).context("a directory for what has a name")?;
    let work = move || u8::from((&teller).write_all(told(mechanism, dies, &names).as_bytes()).is_err());
    // SAFETY: nothing here is in shared memory.
    match unsafe { fork(work) }.context("starting a process") {
        Ok(child) => Ok(Scene { child, report, directory }),
        Err(error) => {
            fs::remove_dir(directory)?;
            Err(error)
        }
    }
}

fn told(mechanism: &Mechanism, dies: Dies, names: &Names) -> String {
    match play(mechanism, dies, names) {
        Ok(sight) => format!("seen\n{}\n{}\n{}", sight.answer.is_ok(), sight.lost, sight.left.join("\n")),
        Err(error) => refused(&error).map_or_else(|| format!("failed\n{error:#}"), |why| format!("refused\n{why}")),
    }
}

impl Scene {
    /// Waits until it is over. The inner error is the reason why this machine refuses it.
    pub fn see(mut self) -> Result<Result<Seen, String>> {
        let mut text = String::new();
        self.report.read_to_string(&mut text)?;
        let exit = self.child.wait()?;
        ensure!(exit == Exit::Code(0), "who played a death ended with {exit}");
        fs::remove_dir(&self.directory).context("something was left where a death was played")?;
        heard(&text)
    }
}

fn heard(text: &str) -> Result<Result<Seen, String>> {
    let (kind, rest) = text.split_once('\n').context("no report of a death")?;
    let parts: Vec<&str> = rest.splitn(3, '\n').collect();
    match (kind, &parts[..]) {
        ("seen", [told, lost, left]) => {
            let left = left.lines().map(str::to_owned).collect();
            Ok(Ok(Seen { told: *told == "true", lost: lost.parse()?, left }))
        }
        ("refused", _) => Ok(Err(rest.to_owned())),
        _ => bail!("playing a death: {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_heard_as_it_was_told() {
        let left = vec!["FIFO file".to_owned(), "port in TIME-WAIT".to_owned()];
        let all = "seen\ntrue\n7\nFIFO file\nport in TIME-WAIT";
        assert_eq!(heard(all).unwrap(), Ok(Seen { told: true, lost: 7, left }));
        assert_eq!(heard("seen\nfalse\n0\n").unwrap(), Ok(Seen { told: false, lost: 0, left: vec![] }));
        assert_eq!(heard("refused\nno queues").unwrap(), Err("no queues".to_owned()));
        assert!(heard("failed\nwhy").is_err() && heard("").is_err());
    }
}
