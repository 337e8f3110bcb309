//! Where does iceoryx2 put what it makes, and what is left of it?

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use iceoryx2::node::NodeCreationFailure;
use iceoryx2::prelude::{
    Config, FileName, LogLevel, Node, NodeBuilder, SemanticString, SignalHandlingMode, set_log_level,
};
use nix::errno::Errno;
use shared::Stage;

use super::Service;
use crate::exchange::Pair;

/// Files in a directory of our own, and shared memory under this run's prefix. Dropping it takes away what iceoryx2
/// keeps for nodes to come.
pub struct Home {
    place: Arc<Place>,
    pairs: Cell<u32>,
}

struct Place {
    root: PathBuf,
    prefix: String,
    /// The most objects that this process saw there at once.
    seen: AtomicUsize,
}

/// Tells, once all rows are over, what is left of them.
pub fn tell(stage: &mut Stage, home: &Home) -> Result<()> {
    let (kept, left): (Vec<String>, Vec<String>) = home.place.objects()?.into_iter().partition(|name| is_kept(name));
    let says = "Of iceoryx2's files and shared memory only the segment that it keeps is left";
    let seen = home.place.seen.load(Relaxed);
    let got = format!("{} left and {} kept; at least {seen} while it ran", left.len(), kept.len());
    stage.fact(says, left.is_empty(), got);
    Ok(())
}

/// One for all nodes of a place and a version, now and later: by design nobody owns it, so nobody removes it.
fn is_kept(name: &str) -> bool {
    name.ends_with(".global_mgmt")
}

impl Home {
    pub fn of(stage: &Stage) -> Home {
        set_log_level(LogLevel::Error); // It would tell standard error that it found no configuration file.
        let (root, prefix) = (stage.directory().join("iceoryx2"), stage.name("iox2-"));
        Home { place: Arc::new(Place { root, prefix, seen: AtomicUsize::new(0) }), pairs: Cell::new(0) }
    }

    /// A way of its own: `open` gets a node, and the names of the services to send to and to receive from.
    ///
    /// A node belongs to the process that makes it, so nothing of iceoryx2 exists before the fork.
    pub fn pair<E: 'static>(
        &self,
        open: impl Fn(Node<Service>, &str, &str) -> Result<E> + Clone + Send + 'static,
    ) -> Result<Pair<E>> {
        enough_descriptors().context("descriptors for iceoryx2")?;
        let number = self.pairs.replace(self.pairs.get() + 1);
        let (there, back) = (format!("peers/{number}/there"), format!("peers/{number}/back"));
        let (place, other_place) = (Arc::clone(&self.place), Arc::clone(&self.place));
        let (other_open, other_there, other_back) = (open.clone(), there.clone(), back.clone());
        let own = move || {
            let ends = open(place.node()?, &there, &back)?;
            place.seen.fetch_max(place.objects()?.len(), Relaxed);
            Ok(ends)
        };
        let theirs = move || other_open(other_place.node()?, &other_back, &other_there);
        Ok(Pair { own: Box::new(own), theirs: Box::new(theirs) })
    }
}

/// Where they run out while a node is being made, iceoryx2 gives no reason, and leaves what it had made.
fn enough_descriptors() -> io::Result<()> {
    const ENOUGH: usize = 64; // One pair of ends takes fewer.
    let opened: io::Result<Vec<File>> = (0..ENOUGH).map(|_| File::open("/dev/null")).collect();
    opened.map(drop)
}

impl Drop for Home {
    fn drop(&mut self) {
        // Its nodes are gone by now. What else may be left stays, so that the runner counts it.
        for name in self.place.objects().unwrap_or_default().iter().filter(|name| is_kept(name)) {
            let _ = fs::remove_file(Path::new(SHARED_MEMORY).join(name));
        }
        remove_empty(&self.place.root);
    }
}

impl Place {
    fn node(&self) -> Result<Node<Service>> {
        let mut config = Config::default();
        let root = self.root.to_str().context("the path of the temporary directory is no text")?;
        config.global.set_root_path(&root.try_into()?);
        config.global.prefix = FileName::new(self.prefix.as_bytes())?;
        // Its handlers for SIGINT and SIGTERM would keep the runner from ending this process.
        let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
        builder.create::<Service>().map_err(|error| match error {
            NodeCreationFailure::InsufficientPermissions => anyhow::Error::new(Errno::EACCES).context(error),
            other => other.into(),
        })
    }

    /// What stands there now, by name.
    fn objects(&self) -> Result<Vec<String>> {
        let mut names = files_below(&self.root)?;
        for entry in fs::read_dir(SHARED_MEMORY).context("listing shared memory")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.starts_with(&self.prefix).then_some(name));
        }
        Ok(names)
    }
}

const SHARED_MEMORY: &str = "/dev/shm"; // Where Linux shows what shm_open(3) makes.

fn files_below(directory: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) }; // It was never made.
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(files_below(&entry.path())?),
            false => files.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    Ok(files)
}

/// Removes the directories below that have nothing in them, and the directory itself if so.
fn remove_empty(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    entries.filter_map(Result::ok).for_each(|entry| remove_empty(&entry.path()));
    let _ = fs::remove_dir(directory); // It refuses one that is not empty.
}
