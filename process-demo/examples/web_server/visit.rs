//! What happens on one connection, whoever serves it?

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::SocketAddr;

use process_demo::connections::{Next, Session, Step};
use process_demo::http::{CONTINUE, Limits, Reader, Reading, Refusal};

use crate::site::{Clerk, Rest};

/// One connection's requests, answered by a clerk that serves others of the same thread as well.
pub struct Visit<'a> {
    clerk: &'a RefCell<Clerk<'a>>,
    peer: SocketAddr,
    reader: Reader,
    rest: Option<Rest>, // Of the response before, whose body is too large for one step.
    after_rest: Next,
    stopping: bool,
}

const LIMITS: Limits = Limits { head_bytes: 8 << 10, headers: 64, body_bytes: 64 << 10 }; // Nobody has to send a body here.
const CHUNK_BYTES: u64 = 128 << 10; // Read and sent at once; so much memory does a slow reader of a large file hold.

impl<'a> Visit<'a> {
    pub fn new(clerk: &'a RefCell<Clerk<'a>>, peer: SocketAddr) -> Visit<'a> {
        Visit { clerk, peer, reader: Reader::new(LIMITS), rest: None, after_rest: Next::Receive, stopping: false }
    }

    /// Adds the next part of a large body; tells what follows when it is the last.
    fn go_on(&mut self, mut rest: Rest, output: &mut Vec<u8>) -> Next {
        match read_some(&mut rest, output) {
            Ok(()) if rest.bytes == 0 => self.after_rest,
            Ok(()) => {
                self.rest = Some(rest);
                Next::Send
            }
            // The length is promised already: only the end of the connection tells that the file was cut off.
            Err(_) => Next::Close,
        }
    }
}

impl Session for Visit<'_> {
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Step {
        if let Some(rest) = self.rest.take() {
            let next = self.go_on(rest, output);
            if next != Next::Receive {
                return Step { consumed: 0, next };
            }
        }
        let (consumed, after) = match self.reader.read(input) {
            Ok(Reading::NotYet) => return Step { consumed: 0, next: Next::Receive },
            Ok(Reading::AwaitsContinue) => {
                output.extend_from_slice(CONTINUE);
                return Step { consumed: 0, next: Next::Receive };
            }
            Ok(Reading::Whole(mut request)) => {
                request.keep_alive &= !self.stopping && !self.clerk.borrow().is_last();
                self.rest = self.clerk.borrow_mut().answer(&request, self.peer, output);
                let done = (request.consumed, if request.keep_alive { Next::Receive } else { Next::Close });
                self.reader = Reader::new(LIMITS); // The old one holds the body, and may hold it as long as it is idle.
                done
            }
            Err(refusal) => {
                self.clerk.borrow_mut().refuse(refusal, self.peer, output);
                (input.len(), Next::Close)
            }
        };
        let next = match self.rest.take() {
            Some(rest) => {
                self.after_rest = after;
                self.go_on(rest, output)
            }
            None => after,
        };
        Step { consumed, next }
    }

    fn timed_out(&mut self, output: &mut Vec<u8>) {
        let refusal = Refusal { status: 408, why: "the request took too long" };
        self.clerk.borrow_mut().refuse(refusal, self.peer, output);
    }

    fn stopping(&mut self) {
        self.stopping = true;
        self.after_rest = Next::Close;
    }
}

fn read_some(rest: &mut Rest, output: &mut Vec<u8>) -> io::Result<()> {
    let got = (&rest.file).take(rest.bytes.min(CHUNK_BYTES)).read_to_end(output)? as u64;
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rest.bytes -= got;
    Ok(())
}
