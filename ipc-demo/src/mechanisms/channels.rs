//! Channels: those of threads, ipc-channel's, and the ring.

use std::hint::spin_loop;
use std::sync::{Arc, Condvar, Mutex, mpsc};

use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::bytes_channel;
use ipc_demo::ring::{self, Receiver, Ring, Sender};
use ipc_demo::typed::{TypedEnd, typed_pair};
use process_demo::duel::{BYTES, Endpoint, Message, WORDS};

use super::memory::{OURS, SLOTS, THEIRS};

/// An end made of what sends and what receives.
pub struct By<S, R> {
    send: S,
    receive: R,
}

impl<S, R> Endpoint for By<S, R>
where
    S: FnMut(Message) -> Result<()> + Send + 'static,
    R: FnMut() -> Result<Message> + Send + 'static,
{
    fn send(&mut self, message: Message) -> Result<()> {
        (self.send)(message)
    }

    fn receive(&mut self) -> Result<Message> {
        (self.receive)()
    }
}

type Ends<E> = Result<(E, E)>;

/// One channel there and one back.
fn both_ways<S, R, E>(channel: impl Fn() -> Result<(S, R)>, end: impl Fn(S, R) -> E) -> Ends<E> {
    let ((to_peer, from_us), (to_us, from_peer)) = (channel()?, channel()?);
    Ok((end(to_peer, from_peer), end(to_us, from_us)))
}

pub fn std_unbounded() -> Ends<impl Endpoint> {
    both_ways(
        || Ok(mpsc::channel()),
        |to, from| By { send: move |message| Ok(to.send(message)?), receive: move || Ok(from.recv()?) },
    )
}

/// Room for no message is a rendezvous: a sender waits for its receiver.
pub fn std_bounded(messages: usize) -> Ends<impl Endpoint> {
    both_ways(
        || Ok(mpsc::sync_channel(messages)),
        |to, from| By { send: move |message| Ok(to.send(message)?), receive: move || Ok(from.recv()?) },
    )
}

pub fn crossbeam(
    channel: impl Fn() -> (crossbeam_channel::Sender<Message>, crossbeam_channel::Receiver<Message>),
) -> Ends<impl Endpoint> {
    both_ways(
        || Ok(channel()),
        |to, from| By { send: move |message| Ok(to.send(message)?), receive: move || Ok(from.recv()?) },
    )
}

/// A place for one message, and a word to whoever waits for it.
#[derive(Default)]
struct Monitor {
    message: Mutex<Option<Message>>,
    arrived: Condvar,
}

pub fn condvar() -> Ends<impl Endpoint> {
    let monitor = || {
        let monitor = Arc::new(Monitor::default());
        Ok((Arc::clone(&monitor), monitor))
    };
    both_ways(monitor, |to, from| By {
        send: move |message| {
            *to.message.lock().unwrap() = Some(message);
            to.arrived.notify_one(); // After the unlock: who is woken need not wait for the mutex.
            Ok(())
        },
        receive: move || {
            let message = from.message.lock().unwrap();
            let mut message = from.arrived.wait_while(message, |message| message.is_none()).unwrap();
            message.take().context("there is one: it was waited for")
        },
    })
}

/// Bytes that nobody encodes.
pub fn ipc_bytes() -> Ends<impl Endpoint> {
    both_ways(
        || Ok(bytes_channel()?),
        |to, from| By {
            send: move |message: Message| Ok(to.send(&message.to_bytes())?),
            receive: move || {
                let bytes = from.recv()?;
                Ok(Message::from_bytes(bytes.as_slice().try_into().context("a message of another size")?))
            },
        },
    )
}

/// The snippet's end: a typed value, encoded and decoded.
pub struct Typed(TypedEnd<[u64; WORDS], [u64; WORDS]>);

pub fn ipc_typed() -> Ends<Typed> {
    let (ours, theirs) = typed_pair()?;
    Ok((Typed(ours), Typed(theirs)))
}

impl Endpoint for Typed {
    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.0.send(message.0)?)
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(Message(self.0.receive()?.context("the other end of the channel is gone")?))
    }
}

/// The snippet's ring, one for each direction. Its roles are claimed in the process that uses them, whose receiver waits
/// as it was told.
pub struct Rings<W> {
    of_side: Arc<[Ring; 2]>,
    side: usize,
    claimed: Option<(Sender, Receiver)>,
    wait: W,
}

pub fn rings() -> Ends<impl Endpoint> {
    rings_waiting(Receiver::receive)
}

/// Whose receivers look again and again, and never sleep.
pub fn rings_spinning() -> Ends<impl Endpoint> {
    rings_waiting(|receiver: &mut Receiver, buffer: &mut [u8]| {
        loop {
            match receiver.try_receive(buffer) {
                Err(ring::Error::Empty) => spin_loop(),
                done => return done,
            }
        }
    })
}

/// Whose receivers sleep as soon as there is no message.
pub fn rings_sleeping() -> Ends<impl Endpoint> {
    rings_waiting(|receiver: &mut Receiver, buffer: &mut [u8]| {
        receiver.spin_at_most(0); // Once would do; said again, it costs nothing.
        receiver.receive(buffer)
    })
}

fn rings_waiting<W>(wait: W) -> Ends<Rings<W>>
where
    W: Fn(&mut Receiver, &mut [u8]) -> Result<usize, ring::Error> + Copy + Send + 'static,
{
    let ring = || Ring::new(SLOTS, BYTES).context("a ring");
    let of_side = Arc::new([ring()?, ring()?]);
    let end = |side| Rings { of_side: Arc::clone(&of_side), side, claimed: None, wait };
    Ok((end(OURS), end(THEIRS)))
}

impl<W> Rings<W> {
    fn claimed(&mut self) -> Result<&mut (Sender, Receiver)> {
        self.claimed.as_mut().context("the roles were not claimed")
    }
}

impl<W> Endpoint for Rings<W>
where
    W: Fn(&mut Receiver, &mut [u8]) -> Result<usize, ring::Error> + Copy + Send + 'static,
{
    fn claim(&mut self) -> Result<()> {
        if self.claimed.is_none() {
            let (to, from) = (&self.of_side[1 - self.side], &self.of_side[self.side]);
            self.claimed = Some((to.sender()?, from.receiver()?));
        }
        Ok(())
    }

    fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.claimed()?.0.send(&message.to_bytes())?)
    }

    fn receive(&mut self) -> Result<Message> {
        let mut bytes = [0; BYTES];
        let wait = self.wait;
        let length = wait(&mut self.claimed()?.1, &mut bytes)?;
        ensure!(length == BYTES, "a message of {length} bytes");
        Ok(Message::from_bytes(bytes))
    }
}
