//! Who has the byte, and what does it do with it before it passes it on?

use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

use anyhow::{Context, Result, ensure};

/// One end of the two pipes, with a working set of its own.
pub struct Party {
    from: PipeReader,
    to: PipeWriter,
    set: Vec<u64>,
}

impl Party {
    /// Two parties, each at its end of both pipes.
    pub fn two(set_bytes: usize) -> Result<(Party, Party)> {
        let (from_second, to_first) = io::pipe().context("a pipe")?;
        let (from_first, to_second) = io::pipe().context("a pipe")?;
        let party = |from, to| Party { from, to, set: set(set_bytes) };
        Ok((party(from_second, to_second), party(from_first, to_first)))
    }

    /// One with two pipes that nobody else has: what it writes it reads itself.
    pub fn alone(set_bytes: usize) -> Result<Party> {
        let (from, to) = io::pipe().context("a pipe")?;
        Ok(Party { from, to, set: set(set_bytes) })
    }

    /// Reads and writes one word of each cache line of its working set.
    pub fn touch(&mut self) {
        const WORDS_IN_A_LINE: usize = 64 / size_of::<u64>();
        for word in self.set.iter_mut().step_by(WORDS_IN_A_LINE) {
            *word = word.wrapping_add(1);
        }
        black_box(&mut self.set);
    }

    pub fn send(&mut self, byte: u8) -> io::Result<()> {
        self.to.write_all(&[byte])
    }

    pub fn receive(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Answers each byte with the next number, until the other side is gone.
    pub fn answer(mut self) -> io::Result<()> {
        while let Ok(byte) = self.receive() {
            self.touch();
            self.send(byte.wrapping_add(1))?;
        }
        Ok(())
    }

    /// Sends so many bytes; returns how many were answered as they should.
    pub fn ask(&mut self, times: u64) -> Result<u64> {
        let mut right = 0;
        for number in 0..times {
            let byte = number as u8; // Its last eight bits: neighbours differ.
            self.touch();
            self.send(byte)?;
            right += u64::from(self.receive()? == byte.wrapping_add(1));
        }
        Ok(right)
    }

    /// The control: this party makes all the calls that two would, and touches what two would.
    pub fn ask_itself(&mut self, other: &mut Party, times: u64) -> Result<u64> {
        let mut right = 0;
        for number in 0..times {
            let byte = number as u8;
            self.touch();
            self.send(byte)?;
            let seen = self.receive()?;
            other.touch();
            other.send(seen.wrapping_add(1))?;
            right += u64::from(other.receive()? == byte.wrapping_add(1));
        }
        ensure!(self.set.len() == other.set.len(), "both have a working set of one size");
        Ok(right)
    }
}

/// Every page of it written to.
fn set(bytes: usize) -> Vec<u64> {
    vec![1; bytes / size_of::<u64>()]
}
