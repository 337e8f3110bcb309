//! The tour's document: grows by one demonstration at a time, and is whole on the disk after each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::claims;
use crate::report::{Effort, Leftovers, Report, SCHEMA, Status, TourReport};

pub(super) struct Document {
    directory: PathBuf,
    topics: Vec<Report>,
}

impl Document {
    /// Makes the directory; to resume, reads what is there, but for what failed.
    pub(super) fn open(directory: &Path, effort: Effort, resume: bool) -> Result<Document> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let mut document = Document { directory: directory.to_owned(), topics: Vec::new() };
        if resume {
            document.load(effort)?;
        }
        document.save_if_new()?;
        Ok(document)
    }

    fn load(&mut self, effort: Effort) -> Result<()> {
        let path = self.directory.join("report.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // Nothing yet: all is due.
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let report: TourReport =
            serde_json::from_slice(&text).with_context(|| format!("{} is no report of this tour", path.display()))?;
        ensure!(report.schema == SCHEMA, "{} has schema {}, not {SCHEMA}", path.display(), report.schema);
        self.topics = report.topics;
        for topic in &mut self.topics {
            ensure!(topic.effort == effort, "{} was made with another --effort", path.display());
            topic.demos.retain(|demo| demo.status != Status::Failed);
        }
        self.topics.retain(|topic| !topic.demos.is_empty());
        Ok(())
    }

    /// A directory that cannot be written shows before the first demonstration, not after it.
    fn save_if_new(&self) -> Result<()> {
        if self.topics.is_empty() { self.save() } else { Ok(()) }
    }

    pub(super) fn has(&self, topic: &str, demo: &str) -> bool {
        self.topics.iter().any(|known| known.topic == topic && known.demos.iter().any(|known| known.name == demo))
    }

    /// Adds one more run of a topic to what is known of it. A snippet stands in the first topic that has it, once.
    pub(super) fn add(&mut self, mut report: Report) {
        report.snippets.retain(|path, _| self.topics.iter().all(|known| !known.snippets.contains_key(path)));
        match self.topics.iter_mut().find(|known| known.topic == report.topic) {
            None => self.topics.push(report),
            Some(known) => {
                known.leftovers = known.leftovers.and(&report.leftovers);
                known.demos.extend(report.demos);
                known.snippets.extend(report.snippets);
            }
        }
    }

    pub(super) fn merged(&self) -> TourReport {
        let leftovers = self.topics.iter().map(|topic| topic.leftovers).reduce(|sum, one| sum.and(&one));
        TourReport {
            schema: SCHEMA,
            machine: self.topics.first().map(|topic| topic.machine.clone()).unwrap_or_default(),
            claims: claims::scoreboard(&self.topics),
            topics: self.topics.clone(),
            leftovers: leftovers.unwrap_or(Leftovers::default()),
        }
    }

    pub(super) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.merged()).context("writing the report")?;
        self.replace("report.json", &text)
    }

    pub(super) fn save_text(&self, text: &str) -> Result<()> {
        self.replace("report.txt", text.as_bytes())
    }

    /// A reader, or a tour that is killed here, sees the old file or the new one, never half of it.
    fn replace(&self, name: &str, text: &[u8]) -> Result<()> {
        let (path, fresh) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}
