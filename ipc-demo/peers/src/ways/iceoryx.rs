//! iceoryx2's publish-subscribe between processes, with messages written and read in place, as it is meant to be used.

mod home;

use anyhow::{Result, ensure};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{BackpressureStrategy, Node, ServiceName, ipc};

pub use home::{Home, tell};

use super::Polling;
use crate::block::{self, Block};
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

pub type Service = ipc::Service;

pub fn messages(home: &Home, slots: usize, waiting: Waiting) -> Result<Pair<Messages>> {
    home.pair(move |node, to, from| Messages::open(node, to, from, slots, waiting))
}

/// Fields are dropped in this order: the ports first, the node last.
pub struct Messages {
    publisher: Publisher<Service, Message, ()>,
    subscriber: Subscriber<Service, Message, ()>,
    notifier: Notifier<Service>,
    listener: Listener<Service>,
    waiting: Waiting,
    _node: Node<Service>,
}

impl Messages {
    fn open(node: Node<Service>, to: &str, from: &str, slots: usize, waiting: Waiting) -> Result<Messages> {
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
        Ok(Messages { publisher, subscriber, notifier, listener, waiting, _node: node })
    }
}

impl End for Messages {
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

pub fn blocks(home: &Home, slots: usize, polling: Polling) -> Result<Pair<Blocks>> {
    home.pair(move |node, to, from| Blocks::open(node, to, from, slots, polling))
}

/// As above, for slices, and always polling.
pub struct Blocks {
    publisher: Publisher<Service, [u8], ()>,
    subscriber: Subscriber<Service, [u8], ()>,
    block: Block,
    polling: Polling,
    _node: Node<Service>,
}

impl Blocks {
    fn open(node: Node<Service>, to: &str, from: &str, slots: usize, polling: Polling) -> Result<Blocks> {
        let service = |name: &str| {
            let builder = node.service_builder(&ServiceName::new(name)?).publish_subscribe::<[u8]>();
            let builder = builder.max_publishers(1).max_subscribers(1).enable_safe_overflow(false).history_size(0);
            anyhow::Ok(builder.subscriber_max_buffer_size(slots).open_or_create()?)
        };
        let outgoing = service(to)?;
        let publisher = outgoing.publisher_builder().initial_max_slice_len(block::BYTES);
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        let subscriber = service(from)?.subscriber_builder().create()?;
        Ok(Blocks { publisher, subscriber, block: Block::new(), polling, _node: node })
    }
}

impl End for Blocks {
    fn send(&mut self, message: Message) -> Result<()> {
        let room = self.publisher.loan_slice_uninit(block::BYTES)?;
        let receivers = room.write_from_slice(self.block.with(message)).send()?;
        ensure!(receivers == 1, "a message went to {receivers} subscribers");
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return block::message_in(sample.payload());
            }
            self.polling.pause();
        }
    }
}
