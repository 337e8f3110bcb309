//! Where may what needs a name have one, and what is still in the system under it?

use std::path::PathBuf;
use std::{fs, io};

use ipc_demo::message_queue::MessageQueue;
use nix::mqueue::mq_unlink;
use shared::Stage;

/// Names that are nobody else's.
pub struct Names {
    pub directory: PathBuf,
    /// For what is named in the whole system; begins with the run's prefix.
    pub system: String,
}

impl Names {
    /// A queue may then have the name; the runner removes what a killed run left.
    pub fn of(stage: &Stage, what: &str) -> io::Result<Names> {
        stage.queue(what)?;
        Ok(Names { directory: stage.directory().to_owned(), system: stage.name(what) })
    }

    pub fn fifo(&self) -> PathBuf {
        self.directory.join("fifo")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Of a queue, or of shared memory.
    pub fn in_system(&self) -> String {
        format!("/{}", self.system)
    }

    fn files(&self) -> [(PathBuf, &'static str); 3] {
        let memory = PathBuf::from(format!("/dev/shm/{}", self.system));
        [(self.fifo(), "named FIFO"), (self.socket(), "socket file"), (memory, "shared memory")]
    }

    /// What is there.
    pub fn left(&self) -> Vec<&'static str> {
        let files = self.files().into_iter().filter(|(path, _)| path.exists()).map(|(_, what)| what);
        // By opening it: a queue is there without any directory that would list it.
        let queue = MessageQueue::open(&self.in_system()).ok().map(|_| "POSIX queue");
        files.chain(queue).collect()
    }

    /// Removes on drop what is there.
    pub fn until_dropped(&self) -> Removal<'_> {
        Removal(self)
    }
}

pub struct Removal<'n>(&'n Names);

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let _ = self.0.files().map(|(path, _)| fs::remove_file(path)); // Most were never made.
        let _ = mq_unlink(self.0.in_system().as_str());
    }
}

/// What the kernel keeps of a connection at that port that no process has any more.
pub fn left_at_port(port: u16) -> Option<&'static str> {
    const TIME_WAIT: &str = " 06 "; // As /proc/net/tcp writes it.
    let (table, ours) = (fs::read_to_string("/proc/net/tcp").ok()?, format!(":{port:04X} "));
    table.lines().any(|line| line.contains(&ours) && line.contains(TIME_WAIT)).then_some("port in TIME-WAIT")
}
