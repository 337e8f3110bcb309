//! Can programs send each other Rust values, channels and memory, and at what cost?

mod peer;

use anyhow::{Context, Result, ensure};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiverSet, IpcSelectionResult, IpcSender, IpcSharedMemory, channel};
use process_demo::child::Exit;
use shared::number::count;
use shared::{Demo, Extras, Snippet, Stage, Table};

use crate::version;
use peer::{Hello, Order, Value, descriptors};

pub const DEMO: Demo = Demo {
    name: "typed",
    question: "Can programs send each other Rust values, channels and memory? At what cost?",
    claims: &[],
    rule: "It gives no verdict. Two programs, this one and this one started again, meet by a name alone; what arrives is \
           compared with what was sent. Descriptors are counted in /proc/self/fd.",
    extras: Extras { roles: &[peer::ROLE], ..Extras::NONE },
    snippets: &[Snippet { path: "ipc-demo/snippets/typed.rs", text: include_str!("../snippets/typed.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    stage.note(format!(
        "With ipc-channel {}, this program waits as a server for one client; then it is started again, as that client, and \
         gets nothing but the server's name. (What a sender sees if nobody receives, `backpressure` tells.)",
        version::of("ipc-channel"),
    ));
    let (intact, descriptors) = talk(stage)?;
    stage.headline(format!("{descriptors} descriptors for {COPIES} copies of a sender"));
    stage.answer(format!(
        "{}. But {COPIES} copies of a sender cost {descriptors} descriptors.",
        if intact { "Yes, values, channels and memory arrive as sent" } else { "Not all arrives as sent" },
    ));
    stage.advise("Send Rust values between programs: copy `typed`.");
    Ok(())
}

const COPIES: u64 = 8;

/// Open descriptors of this process, after each step.
type Costs = Vec<(&'static str, u64)>;

/// Whether the values, what came by the channels, and the memory arrived as sent; and how many descriptors the receiver
/// of so many copies of one sender had more.
fn talk(stage: &mut Stage) -> Result<(bool, u64)> {
    let mut costs = vec![("before", descriptors()?)];
    let (server, name) = IpcOneShotServer::<Hello>::new().context("a one-shot server")?;
    costs.push(("a one-shot server", descriptors()?));
    let peer = peer::start(&name)?;
    let (hellos, Hello { pid, orders }) = server.accept().context("waiting for the peer's first message")?;
    costs.push(("its client, which sent a sender", descriptors()?));
    let met = i64::from(peer.pid().as_raw()) == i64::from(pid);
    stage.check("The client is the program that was given the name", met, format!("pid {pid}"));
    let gone = !std::fs::exists(&name).unwrap_or(true);
    let got = if gone { "no such file" } else { "still there" };
    stage.fact("The server's name is gone once it was used", gone, got);

    let (to, from) = channel()?;
    orders.send(Order::Return(Value::sample(), to))?;
    let came = from.recv()?;
    drop(from);
    let below = if let Value::Tree { below, .. } = &came { below.len() } else { 0 };
    let says = "A tree of enums, maps, texts and numbers comes back as it was sent";
    let intact = stage.fact(says, came == Value::sample(), format!("{below} values below the root"))
        & count_on_channels(stage, &orders, &mut costs)?
        & sum_a_region(stage, &orders, &mut costs)?;
    let of_copies = send_copies(&orders)?;
    stage.fact(
        format!("A sender sent {COPIES} times costs its receiver {COPIES} descriptors"),
        of_copies == COPIES,
        of_copies,
    );

    drop(orders); // Who drops the last sender ends the conversation.
    let ended = matches!(hellos.recv(), Err(IpcError::Disconnected));
    let exit = peer.wait()?;
    let says = "Dropping the last sender ends the peer, and its end shows as Disconnected";
    stage.fact(says, ended && exit == Exit::Code(0), exit);
    drop(hellos);
    costs.push(("all dropped", descriptors()?));
    stage.show(table(&costs));
    let [before, after] = [costs.first(), costs.last()].map(|cost| cost.map_or(0, |(_, open)| *open));
    stage.check("No descriptor is left open here", after == before, format!("{before} before, {after} after"));
    Ok((intact, of_copies))
}

/// Channels over a channel, and one wait for all of them.
fn count_on_channels(stage: &mut Stage, orders: &IpcSender<Order>, costs: &mut Costs) -> Result<bool> {
    const NUMBERS: u64 = 4; // On each channel.
    let mut set = IpcReceiverSet::new().context("a receiver set")?;
    let mut senders = Vec::new();
    let mut came = [const { Vec::new() }; 3];
    for _ in &came {
        let (to, from) = channel::<u64>()?;
        senders.push(to);
        set.add(from)?;
    }
    costs.push(("a set of 3 receivers, and their senders", descriptors()?));
    orders.send(Order::Count(NUMBERS, senders))?;
    costs.push(("the 3 senders sent away", descriptors()?));
    let mut closed = 0;
    while closed < came.len() {
        for event in set.select()? {
            match event {
                IpcSelectionResult::MessageReceived(id, message) => came[id as usize].push(message.to::<u64>()?),
                IpcSelectionResult::ChannelClosed(_) => closed += 1,
            }
        }
    }
    drop(set);
    costs.push(("the set closed and dropped", descriptors()?));
    let whole = came.iter().all(|came| came.iter().copied().eq(0..NUMBERS));
    let got = format!("{} numbers, {closed} ends", came.iter().map(Vec::len).sum::<usize>());
    Ok(stage.fact("Waiting for a set brings each channel's messages in order, and its end", whole, got))
}

/// Memory instead of bytes.
fn sum_a_region(stage: &mut Stage, orders: &IpcSender<Order>, costs: &mut Costs) -> Result<bool> {
    let bytes: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    let expected: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
    let memory = IpcSharedMemory::from_bytes(&bytes);
    costs.push(("shared memory", descriptors()?));
    let (to, from) = channel()?;
    orders.send(Order::Sum(memory, to))?;
    let sum = from.recv()?;
    drop(from);
    costs.push(("the memory handed over and dropped", descriptors()?));
    let got = format!("{} bytes, together {}", count(bytes.len() as u64), count(sum));
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

fn table(costs: &[(&str, u64)]) -> Table {
    let row = |steps: &[(&str, u64)]| {
        let ((_, before), (step, now)) = (steps[0], steps[1]);
        vec![step.into(), now.into(), format!("{:+}", now as i64 - before as i64).into()]
    };
    Table::new("Open descriptors of the server", ["after", "open", "change"], costs.windows(2).map(row))
}
