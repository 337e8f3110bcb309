//! Whatever is sent in frames arrives, however the stream cuts it; and whatever arrives, no frame is invented.

use std::io::{ErrorKind, Read, Result};

use ipc_demo::framed::Framed;
use proptest::collection::vec;
use proptest::prelude::*;

const AT_MOST: u32 = 300;

/// A stream that gives as many bytes at a time as the list says, again and again; nothing is a signal that came.
struct Cut<'a> {
    bytes: &'a [u8],
    counts: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Cut<'a> {
    fn new(bytes: &'a [u8], counts: &'a [usize]) -> Framed<Cut<'a>> {
        Framed::new(Cut { bytes, counts: counts.iter().cycle() }, AT_MOST)
    }
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.counts.next() {
            Some(0) => Err(ErrorKind::Interrupted.into()),
            count => {
                let room = buffer.len().min(*count.unwrap_or(&1));
                self.bytes.read(&mut buffer[..room])
            }
        }
    }
}

fn frames(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut to = Framed::new(Vec::new(), AT_MOST);
    messages.iter().for_each(|message| to.send(message).unwrap());
    to.into_inner()
}

/// Short reads and interruptions in any order; at least one that makes progress.
fn counts() -> impl Strategy<Value = Vec<usize>> {
    vec(0..9usize, 1..20).prop_filter("some must make progress", |counts| counts.iter().any(|&count| count > 0))
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..=AT_MOST as usize), 0..6)
}

proptest! {
    #[test]
    fn every_message_arrives_however_the_stream_is_cut(messages in messages(), counts in counts()) {
        let bytes = frames(&messages);
        let mut from = Cut::new(&bytes, &counts);
        for message in &messages {
            prop_assert_eq!(&from.receive().unwrap(), &Some(message.clone()));
        }
        prop_assert_eq!(from.receive().unwrap(), None);
    }

    #[test]
    fn a_stream_that_ends_early_gives_whole_messages_and_then_an_error(
        messages in messages(),
        counts in counts(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = frames(&messages);
        let cut = cut.index(bytes.len() + 1);
        let mut from = Cut::new(&bytes[..cut], &counts);
        let mut used = 0;
        for message in messages.iter().take_while(|message| { used += 4 + message.len(); used <= cut }) {
            prop_assert_eq!(&from.receive().unwrap(), &Some(message.clone()));
        }
        let ends: Vec<usize> = messages.iter().scan(0, |end, one| { *end += 4 + one.len(); Some(*end) }).collect();
        if cut == 0 || ends.contains(&cut) {
            prop_assert_eq!(from.receive().unwrap(), None);
        } else {
            prop_assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
            prop_assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::Other);
        }
    }

    #[test]
    fn a_length_above_the_bound_is_an_error_though_all_of_it_came(
        messages in messages(),
        length in AT_MOST + 1..=2 * AT_MOST,
        counts in counts(),
    ) {
        let mut bytes = frames(&messages);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.resize(bytes.len() + length as usize, 7);
        let mut from = Cut::new(&bytes, &counts);
        for message in &messages {
            prop_assert_eq!(&from.receive().unwrap(), &Some(message.clone()));
        }
        prop_assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::InvalidData);
        prop_assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::Other);
    }

    #[test]
    fn whatever_arrives_no_message_is_longer_than_allowed_or_made_up(bytes in vec(any::<u8>(), 0..2000)) {
        let mut from = Framed::new(&bytes[..], AT_MOST);
        let mut at = 0;
        while let Ok(Some(message)) = from.receive() {
            prop_assert!(message.len() <= AT_MOST as usize);
            prop_assert_eq!(&bytes[at + 4..at + 4 + message.len()], &message[..]);
            at += 4 + message.len();
        }
    }
}
