//! What is still in the system once both sides are gone?

use std::fs;
use std::os::unix::fs::FileTypeExt;

use nix::mqueue::{MQ_OFlag, mq_close, mq_open};
use nix::sys::stat::Mode;

use super::ways::Names;

/// Looks wherever one of the ways could have left something that carries our names, or our port.
pub fn look(names: &Names, port: Option<u16>) -> Vec<String> {
    let mut left = files(names);
    if fs::exists(format!("/dev/shm/{}", names.system)).unwrap_or(false) {
        left.push("shared memory".to_owned());
    }
    // By opening it: a queue is there without any directory that would list it.
    if let Ok(queue) = mq_open(format!("/{}", names.system).as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None) {
        let _ = mq_close(queue);
        left.push("POSIX queue".to_owned());
    }
    left.extend(port.and_then(tcp_state));
    left
}

fn files(names: &Names) -> Vec<String> {
    let entries = fs::read_dir(&names.directory).into_iter().flatten().filter_map(Result::ok);
    let kind = |kind: fs::FileType| {
        if kind.is_fifo() {
            "named FIFO"
        } else if kind.is_socket() {
            "socket file"
        } else {
            "another file"
        }
    };
    entries.filter_map(|entry| Some(kind(entry.file_type().ok()?).to_owned())).collect()
}

/// What the kernel keeps of a connection at that port that no process has any more.
fn tcp_state(port: u16) -> Option<String> {
    const TIME_WAIT: &str = "06"; // As /proc/net/tcp writes it.
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let of_our_port = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let is_ours = [local, remote].iter().any(|address| address.ends_with(&format!(":{port:04X}")));
        (is_ours && state == TIME_WAIT).then_some(())
    };
    let waits = table.lines().any(|line| of_our_port(&line).is_some());
    waits.then(|| "port in TIME-WAIT".to_owned())
}
