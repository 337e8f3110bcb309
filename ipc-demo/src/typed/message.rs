//! What travels: ordinary Rust types, channels and memory among them.

use std::collections::BTreeMap;

use ipc_channel::ipc::{IpcSender, IpcSharedMemory};
use serde::{Deserialize, Serialize};

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
