//! iceoryx2's publish-subscribe between processes, with messages written and read in place, as it is meant to be used.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use iceoryx2::node::NodeCreationFailure;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, Node, NodeBuilder, SemanticString, ServiceName,
    SignalHandlingMode, ipc, set_log_level,
};
use nix::errno::Errno;
use shared::Stage;

use super::Polling;
use crate::exchange::{End, Pair};
use crate::message::Message;
use crate::offers::version;

/// How a subscriber waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Polling(Polling),
    /// Each message is followed by an event, for which the other side sleeps.
    Event,
}

pub fn name(waiting: Waiting) -> String {
    let how = match waiting {
        Waiting::Polling(polling) => polling.says(),
        Waiting::Event => "with event()",
    };
    format!("iceoryx2 {} publish_subscribe, {how}", version("iceoryx2"))
}

/// Where iceoryx2 puts what it makes: files into a directory of our own, shared memory under this run's prefix.
/// Dropping it takes away what iceoryx2 keeps for nodes to come.
pub struct Home {
    root: PathBuf,
    prefix: String,
    services: Cell<u32>,
    /// The most objects that were seen there at once.
    seen: Cell<usize>,
}

/// Tells, once all rows are over, what is left of them.
pub fn tell(stage: &mut Stage, home: &Home) -> Result<()> {
    let (kept, left): (Vec<String>, Vec<String>) = home.objects()?.into_iter().partition(|name| is_kept(name));
    let says = "All that iceoryx2 had in files and shared memory is gone, but for the segment that it keeps";
    let got = format!("{} left and {} kept; at least {} while it ran", left.len(), kept.len(), home.seen.get());
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
        Home { root, prefix, services: Cell::new(0), seen: Cell::new(0) }
    }

    /// What stands there now: files in the directory, and objects in shared memory, by name.
    fn objects(&self) -> Result<Vec<String>> {
        let mut names = files_below(&self.root)?;
        for entry in fs::read_dir(SHARED_MEMORY).context("listing shared memory")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.starts_with(&self.prefix).then_some(name));
        }
        Ok(names)
    }

    /// Two processes that agree on it may open the same services.
    fn config(root: &Path, prefix: &str) -> Result<Config> {
        let mut config = Config::default();
        let path = root.to_str().context("the path of the temporary directory is no text")?;
        config.global.set_root_path(&path.try_into()?);
        config.global.prefix = FileName::new(prefix.as_bytes())?;
        Ok(config)
    }

    /// A way of its own: services by other names.
    pub fn pair(&self, slots: usize, waiting: Waiting) -> Result<Pair<IceoryxEnds>> {
        self.seen.set(self.seen.get().max(self.objects()?.len())); // Of the pairs before this one.
        let number = self.services.replace(self.services.get() + 1);
        let (there, back) = (format!("peers/{number}/there"), format!("peers/{number}/back"));
        let config = Home::config(&self.root, &self.prefix)?;
        let (other_config, other_there, other_back) = (config.clone(), there.clone(), back.clone());
        // A node belongs to the process that makes it, so nothing of iceoryx2 exists before the fork.
        Ok(Pair {
            own: Box::new(move || IceoryxEnds::open(&config, &there, &back, slots, waiting)),
            theirs: Box::new(move || IceoryxEnds::open(&other_config, &other_back, &other_there, slots, waiting)),
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Its nodes are gone by now. What else may be left stays, so that the runner counts it.
        for name in self.objects().unwrap_or_default().iter().filter(|name| is_kept(name)) {
            let _ = fs::remove_file(Path::new(SHARED_MEMORY).join(name));
        }
        remove_empty(&self.root);
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

type Service = ipc::Service;

/// Fields are dropped in this order: the ports first, the node last.
pub struct IceoryxEnds {
    publisher: Publisher<Service, Message, ()>,
    subscriber: Subscriber<Service, Message, ()>,
    notifier: Notifier<Service>,
    listener: Listener<Service>,
    waiting: Waiting,
    _node: Node<Service>,
}

impl IceoryxEnds {
    fn open(config: &Config, to: &str, from: &str, slots: usize, waiting: Waiting) -> Result<IceoryxEnds> {
        // Its handlers for SIGINT and SIGTERM would keep the runner from ending this process.
        let builder = NodeBuilder::new().config(config).signal_handling_mode(SignalHandlingMode::Disabled);
        let node = builder.create::<Service>().map_err(|error| match error {
            NodeCreationFailure::InsufficientPermissions => anyhow::Error::new(Errno::EACCES).context(error),
            other => other.into(),
        })?;
        let service = |name: &str| {
            let builder = node.service_builder(&ServiceName::new(name)?).publish_subscribe::<Message>();
            // One to one, and nothing lost, as the other rows.
            let builder = builder.max_publishers(1).max_subscribers(1).enable_safe_overflow(false).history_size(0);
            anyhow::Ok(builder.subscriber_max_buffer_size(slots).open_or_create()?)
        };
        let event = |name: &str| anyhow::Ok(node.service_builder(&ServiceName::new(name)?).event().open_or_create()?);
        let outgoing = service(to)?;
        let publisher = outgoing.publisher_builder();
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        let subscriber = service(from)?.subscriber_builder().create()?;
        let notifier = event(to)?.notifier_builder().create()?;
        let listener = event(from)?.listener_builder().create()?;
        Ok(IceoryxEnds { publisher, subscriber, notifier, listener, waiting, _node: node })
    }
}

impl End for IceoryxEnds {
    fn send(&mut self, message: Message) -> Result<()> {
        let receivers = self.publisher.loan_uninit()?.write_payload(message).send()?;
        ensure!(receivers == 1, "a message went to {receivers} subscribers");
        if self.waiting == Waiting::Event {
            self.notifier.notify()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return Ok(*sample.payload());
            }
            match self.waiting {
                Waiting::Polling(polling) => polling.pause(),
                Waiting::Event => _ = self.listener.blocking_wait(|_| ())?,
            }
        }
    }
}
