//! Messages over a stream: each with its length in front, none longer than a bound, a torn one an error.
//!
//! Needs: std
//! Runs on: anything with threads
//! Instead: tokio_util::codec::LengthDelimitedCodec in asynchronous programs; this one is for blocking ones.
//!
//! A stream (pipe, Unix or TCP socket) keeps no boundaries: what was written in two calls may be read in one, or in
//! five. A frame is four bytes of length, the smallest first, and then the message. A length above the bound is an error
//! before any memory is taken for it, so a broken or hostile peer costs at most `at_most` bytes.
//!
//! What it does not do: go on after an error of its stream, of which a time-out is one; a panic in the stream that
//! somebody catches is not even noticed. It has no time-out: it waits for ever if the other side lives and says
//! nothing. It does not survive a fork: parent and child would take bytes out of each other's messages.
//!
#![doc = concat!("```\nuse ", module_path!(), "::*;")]
//! use std::io::ErrorKind;
//!
//! let (from, to) = std::io::pipe()?;
//! let (mut from, mut to) = (Framed::new(from, 1000), Framed::new(to, 1000));
//! to.send(b"one")?;
//! to.send(b"")?; // An empty message is a message.
//! assert_eq!(from.receive()?.as_deref(), Some(&b"one"[..]));
//! assert_eq!(from.receive()?.as_deref(), Some(&b""[..]));
//! assert_eq!(to.send(&[0; 1001]).unwrap_err().kind(), ErrorKind::InvalidInput);
//! drop(to);
//! assert_eq!(from.receive()?, None); // It ended between two messages.
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(dead_code)] // Whoever pastes this may not need all of it.

use std::io::{Error, ErrorKind, Read, Result, Write};

/// A stream that carries messages. It needs a stream that blocks: an error in mid-frame loses its place.
#[derive(Debug)]
pub struct Framed<Stream> {
    stream: Stream,
    at_most: u32,
    frame: Vec<u8>,
    sending: Place,
    receiving: Place,
}

/// Whether it is known where the next frame begins, in one direction; the other one does not mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BetweenFrames,
    Lost,
}

impl<Stream> Framed<Stream> {
    /// Messages have at most `at_most` bytes, in both directions.
    pub fn new(stream: Stream, at_most: u32) -> Framed<Stream> {
        Framed { stream, at_most, frame: Vec::new(), sending: Place::BetweenFrames, receiving: Place::BetweenFrames }
    }

    /// The stream itself, wherever it stands.
    pub fn into_inner(self) -> Stream {
        self.stream
    }
}

impl Place {
    fn is_known(self) -> Result<()> {
        match self {
            Place::BetweenFrames => Ok(()),
            Place::Lost => Err(Error::other("an earlier message failed, and nobody knows where the next one begins")),
        }
    }

    fn after<T>(outcome: &Result<T>) -> Place {
        if outcome.is_ok() { Place::BetweenFrames } else { Place::Lost }
    }
}

impl<Stream: Write> Framed<Stream> {
    /// Sends one message; blocks while the stream is full.
    ///
    /// Length and message go out in one write: in a pipe, frames up to PIPE_BUF bytes of several writers do not mix.
    /// Errors: `InvalidInput` for a message above the bound, of which nothing is sent; and what the stream's writer says,
    /// after which the frame may be there in part, and every further `send` is an error. What the other side has sent
    /// before can still be received: why it went, perhaps.
    pub fn send(&mut self, message: &[u8]) -> Result<()> {
        self.sending.is_known()?;
        let length = u32::try_from(message.len()).ok().filter(|&length| length <= self.at_most);
        let Some(length) = length else {
            let says = format!("a message of {} bytes, where {} are allowed", message.len(), self.at_most);
            return Err(Error::new(ErrorKind::InvalidInput, says));
        };
        self.frame.clear();
        self.frame.extend_from_slice(&length.to_le_bytes());
        self.frame.extend_from_slice(message);
        let sent = self.stream.write_all(&self.frame).and_then(|()| self.stream.flush());
        self.sending = Place::after(&sent);
        sent
    }
}

impl<Stream: Read> Framed<Stream> {
    /// Waits for the next whole message; none if the stream ended between two messages.
    ///
    /// Errors: `UnexpectedEof` if it ended within one, `InvalidData` for a length above the bound, and what the stream's
    /// reader says. After an error every further `receive` is one.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        self.receiving.is_known()?;
        let received = self.receive_frame();
        self.receiving = Place::after(&received);
        received
    }

    fn receive_frame(&mut self) -> Result<Option<Vec<u8>>> {
        let mut length = [0; size_of::<u32>()];
        if !read_whole(&mut self.stream, &mut length)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length);
        if length > self.at_most {
            let says = format!("a message of {length} bytes, where {} are allowed", self.at_most);
            return Err(Error::new(ErrorKind::InvalidData, says));
        }
        let mut message = vec![0; length as usize];
        self.stream.read_exact(&mut message)?; // The end is an error here: the length promised more.
        Ok(Some(message))
    }
}

/// Fills the whole buffer; false if the stream ended before its first byte.
fn read_whole(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {} // A signal came; nothing was read.
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(messages: &[&[u8]]) -> Vec<u8> {
        let mut to = Framed::new(Vec::new(), 100);
        messages.iter().for_each(|message| to.send(message).unwrap());
        to.into_inner()
    }

    #[test]
    fn the_length_stands_in_front_smallest_byte_first() {
        assert_eq!(frames(&[b"abc", b""]), b"\x03\0\0\0abc\0\0\0\0");
    }

    #[test]
    fn the_bound_itself_is_allowed_and_one_more_is_not() {
        let mut to = Framed::new(Vec::new(), 3);
        to.send(b"abc").unwrap();
        assert_eq!(to.send(b"abcd").unwrap_err().kind(), ErrorKind::InvalidInput);
        to.send(b"abc").unwrap(); // A refused message is no failed one.
        let mut from = Framed::new(&to.stream[..], 2);
        assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::Other);
    }

    #[test]
    fn the_end_within_the_length_or_the_message_is_an_error() {
        let whole = frames(&[b"abc"]);
        for cut in 1..whole.len() {
            let mut from = Framed::new(&whole[..cut], 100);
            assert_eq!(from.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof, "cut after {cut}");
        }
        assert_eq!(Framed::new(&whole[..0], 100).receive().unwrap(), None);
    }

    #[test]
    fn a_frame_goes_out_in_one_write() {
        struct Counted(usize);
        impl Write for Counted {
            fn write(&mut self, bytes: &[u8]) -> Result<usize> {
                self.0 += 1;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> Result<()> {
                Ok(())
            }
        }
        let mut to = Framed::new(Counted(0), 100);
        to.send(b"abc").unwrap();
        assert_eq!(to.into_inner().0, 1);
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_sent() {
        let mut room = [0; 5];
        let mut to = Framed::new(&mut room[..], 100);
        assert_eq!(to.send(b"abc").unwrap_err().kind(), ErrorKind::WriteZero);
        assert_eq!(to.send(b"").unwrap_err().kind(), ErrorKind::Other);
    }

    #[test]
    fn who_cannot_send_any_more_still_receives_why() {
        struct Gone<'a>(&'a [u8]);
        impl Read for Gone<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
                self.0.read(buffer)
            }
        }
        impl Write for Gone<'_> {
            fn write(&mut self, _: &[u8]) -> Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> Result<()> {
                Ok(())
            }
        }
        let last_words = frames(&[b"too long"]);
        let mut both = Framed::new(Gone(&last_words), 100);
        assert_eq!(both.send(b"abc").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(both.receive().unwrap().as_deref(), Some(&b"too long"[..]));
        assert_eq!(both.send(b"").unwrap_err().kind(), ErrorKind::Other);
    }
}
