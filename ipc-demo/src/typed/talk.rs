//! What do two programs say to each other, and what does it cost in descriptors?

use anyhow::{Context, Result, ensure};
use ipc_channel::IpcError;
use ipc_channel::ipc::{
    IpcOneShotServer, IpcReceiver, IpcReceiverSet, IpcSelectionResult, IpcSender, IpcSharedMemory, channel,
};
use shared::number::count;
use shared::{Cell, Column, Stage, Table};

use super::message::{Hello, Order, Value};
use super::peer::{Peer, descriptors};

/// What was seen, in short.
pub struct Talk {
    /// The values, what came by the channels, and the memory.
    pub intact: bool,
    /// Descriptors that the receiver of one and the same sender had more after so many copies of it.
    pub copies: u64,
    pub descriptors_of_copies: u64,
}

const COPIES: u64 = 8;
const CHANNELS: usize = 3;
const NUMBERS: u64 = 4; // On each channel.
const REGION_BYTES: usize = 1 << 20;

pub fn show(stage: &mut Stage) -> Result<Talk> {
    let mut costs = Costs { rows: Vec::new(), last: descriptors()? };
    let before = costs.last;
    let (server, name) = IpcOneShotServer::<Hello>::new().context("a one-shot server")?;
    costs.add("a one-shot server")?;
    let peer = Peer::start(&name)?;
    let (hellos, Hello { pid, orders }) = server.accept().context("waiting for the peer's first message")?;
    costs.add("its client, which sent a sender")?;
    let met = peer.pid() == Some(pid);
    stage.check("The client is the program that was given the name", met, format!("pid {pid}"));
    let gone = !std::fs::exists(&name).unwrap_or(true);
    let got = if gone { "no such file" } else { "still there" };
    stage.fact("The server's name is gone once it was used", gone, got);
    let intact = return_a_value(stage, &orders)?
        & count_on_channels(stage, &orders, &mut costs)?
        & sum_a_region(stage, &orders, &mut costs)?;
    let descriptors_of_copies = send_copies(&orders)?;
    let says = format!("A sender sent {COPIES} times costs its receiver {COPIES} descriptors");
    stage.fact(says, descriptors_of_copies == COPIES, descriptors_of_copies);
    disconnect(stage, peer, orders, &hellos)?;
    drop(hellos);
    costs.add("all dropped")?;
    let after = costs.last;
    stage.show(costs.table());
    stage.check("No descriptor is left open here", after == before, format!("{before} before, {after} after"));
    Ok(Talk { intact, copies: COPIES, descriptors_of_copies })
}

fn return_a_value(stage: &mut Stage, orders: &IpcSender<Order>) -> Result<bool> {
    let (to, from) = channel()?;
    orders.send(Order::Return(Value::sample(), to))?;
    let came = from.recv()?;
    let says = "A tree of enums, maps, texts and numbers comes back as it was sent";
    Ok(stage.fact(says, came == Value::sample(), format!("{} values below the root", below(&came))))
}

fn below(value: &Value) -> usize {
    if let Value::Tree { below, .. } = value { below.len() } else { 0 }
}

/// Channels over a channel, and one wait for all of them.
fn count_on_channels(stage: &mut Stage, orders: &IpcSender<Order>, costs: &mut Costs) -> Result<bool> {
    let mut set = IpcReceiverSet::new().context("a receiver set")?;
    let mut senders = Vec::new();
    for _ in 0..CHANNELS {
        let (to, from) = channel::<u64>()?;
        senders.push(to);
        set.add(from)?;
    }
    costs.add(&format!("a set of {CHANNELS} receivers, and their senders"))?;
    orders.send(Order::Count(NUMBERS, senders))?;
    costs.add(&format!("the {CHANNELS} senders sent away"))?;
    let (mut came, mut closed) = (vec![Vec::new(); CHANNELS], 0);
    while closed < CHANNELS {
        for event in set.select()? {
            match event {
                IpcSelectionResult::MessageReceived(id, message) => came[id as usize].push(message.to::<u64>()?),
                IpcSelectionResult::ChannelClosed(_) => closed += 1,
            }
        }
    }
    drop(set);
    costs.add("the set closed and dropped")?;
    let whole = came.iter().all(|came| came.iter().copied().eq(0..NUMBERS));
    let got = format!("{} numbers, {closed} ends", came.iter().map(Vec::len).sum::<usize>());
    Ok(stage.fact("Waiting for a set brings each channel's messages in order, and its end", whole, got))
}

/// Memory instead of bytes.
fn sum_a_region(stage: &mut Stage, orders: &IpcSender<Order>, costs: &mut Costs) -> Result<bool> {
    let bytes: Vec<u8> = (0..REGION_BYTES).map(|index| (index % 251) as u8).collect();
    let expected: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let memory = IpcSharedMemory::from_bytes(&bytes);
    costs.add("shared memory")?;
    let (to, from) = channel()?;
    orders.send(Order::Sum(memory, to))?;
    let sum = from.recv()?;
    drop(from);
    costs.add("the memory handed over and dropped")?;
    let got = format!("{} of {} bytes", count(sum), count(REGION_BYTES as u64));
    Ok(stage.fact("The peer adds up the bytes of shared memory that it was sent", sum == expected, got))
}

/// By how many descriptors does the peer grow, when the same sender comes many times?
fn send_copies(orders: &IpcSender<Order>) -> Result<u64> {
    let (to, from) = channel()?;
    let ask = |kept: u64| -> Result<u64> {
        orders.send(Order::Descriptors((0..kept).map(|_| to.clone()).collect(), to.clone()))?;
        Ok(from.recv()?)
    };
    let (alone, with_copies) = (ask(0)?, ask(COPIES)?);
    ensure!(with_copies >= alone, "the peer lost descriptors");
    Ok(with_copies - alone)
}

/// Who drops the last sender ends the conversation.
fn disconnect(stage: &mut Stage, peer: Peer, orders: IpcSender<Order>, hellos: &IpcReceiver<Hello>) -> Result<()> {
    drop(orders);
    let ended = matches!(hellos.recv(), Err(IpcError::Disconnected));
    let status = peer.wait()?;
    let says = "Dropping the last sender ends the peer, and its end shows as Disconnected";
    stage.fact(says, ended && status.success(), status);
    Ok(())
}

/// Descriptors of this process, step by step.
struct Costs {
    rows: Vec<(String, u64, i64)>,
    last: u64,
}

impl Costs {
    fn add(&mut self, step: &str) -> Result<()> {
        let now = descriptors()?;
        self.rows.push((step.to_owned(), now, now as i64 - self.last as i64));
        self.last = now;
        Ok(())
    }

    fn table(self) -> Table {
        let row = |(step, now, change): (String, u64, i64)| {
            vec![Cell::Text(step), Cell::Number(now as f64), Cell::Text(format!("{change:+}"))]
        };
        Table {
            title: "Open descriptors of the server".to_owned(),
            columns: vec![Column::label("after"), Column::value("open", ""), Column::value("change", "")],
            rows: self.rows.into_iter().map(row).collect(),
        }
    }
}
