//! The other program: started by exec, it knows nothing but a name. What travels are ordinary Rust types, channels and
//! memory among them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcSender, IpcSharedMemory, channel};
use process_demo::child::{Child, fork};
use serde::{Deserialize, Serialize};
use shared::ProgramRole;

/// The peer's first message, by the one-shot server.
#[derive(Serialize, Deserialize)]
pub struct Hello {
    pub pid: u32,
    /// A channel sent over a channel: what is sent here, the peer receives.
    pub orders: IpcSender<Order>,
}

#[derive(Serialize, Deserialize)]
pub enum Order {
    /// Send it back, on the channel that comes with it.
    Return(Value, IpcSender<Value>),
    /// Send so many numbers on each of these channels, and let go of them.
    Count(u64, Vec<IpcSender<u64>>),
    /// Add up these bytes.
    Sum(IpcSharedMemory, IpcSender<u64>),
    /// How many descriptors does the peer have, with what came along?
    Descriptors(Vec<IpcSender<u64>>, IpcSender<u64>),
}

/// What C programmers would have to lay out by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Nothing,
    Text(Option<String>),
    Tree { by_name: BTreeMap<String, Vec<i64>>, below: Vec<Value> },
}

impl Value {
    pub fn sample() -> Value {
        let by_name = BTreeMap::from([("even".to_owned(), vec![-2, 0, 2]), ("odd".to_owned(), vec![1, i64::MAX])]);
        let below = vec![Value::Nothing, Value::Text(None), Value::Text(Some("Gr\u{fc}\u{df}e".to_owned()))];
        Value::Tree { by_name, below }
    }
}

pub const ROLE: ProgramRole = ProgramRole { name: "typed-peer", play };

/// This program again, as the peer.
pub fn start(server: &str) -> Result<Child> {
    let become_the_peer = || {
        let _failed = Command::new("/proc/self/exe").args(["--role", ROLE.name, server]).exec();
        1
    };
    // SAFETY: the child becomes another program at once; nothing here is in shared memory.
    unsafe { fork(become_the_peer) }.context("starting this program again")
}

fn play(arguments: &[OsString]) -> u8 {
    let [server] = arguments else { return 2 };
    server.to_str().map_or(2, |server| u8::from(serve(server).is_err()))
}

/// Does what it is told to, until nobody can tell it any more.
fn serve(server: &str) -> Result<()> {
    let (orders, ordered) = channel()?;
    let to_parent = IpcSender::connect(server.to_owned())?;
    to_parent.send(Hello { pid: std::process::id(), orders })?; // Moved: no copy stays here to keep the channel open.
    loop {
        match ordered.recv() {
            Ok(Order::Return(value, to)) => to.send(value)?,
            Ok(Order::Count(count, to)) => {
                for number in 0..count {
                    to.iter().try_for_each(|to| to.send(number))?;
                }
            }
            Ok(Order::Sum(memory, to)) => to.send(memory.iter().map(|&byte| u64::from(byte)).sum())?,
            Ok(Order::Descriptors(kept, to)) => {
                to.send(descriptors()?)?;
                drop(kept);
            }
            Err(IpcError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many descriptors this process has open, but for the one that it looks with.
pub fn descriptors() -> io::Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64 - 1)
}
