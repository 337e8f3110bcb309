//! Does a sibling go on? It has an account to keep, and is asked.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

pub const SIBLINGS: usize = 3;

/// The siblings' accounts, as those who pay into them see them.
#[derive(Default)]
pub struct Accounts {
    lines: Vec<UnixStream>,
    paid: u64,
}

impl Accounts {
    /// Opens one more; returns the line on which a sibling is to keep it.
    pub fn open(&mut self) -> io::Result<UnixStream> {
        let (line, its_line) = UnixStream::pair()?;
        self.lines.push(line);
        Ok(its_line)
    }

    /// Pays into each account, and counts the siblings that answer with the right balance: one that is new, or has lost
    /// its memory, would not know it. Whoever is gone has closed its line.
    pub fn pay(&mut self, amount: u64) -> usize {
        self.paid += amount;
        let balance = self.paid;
        let right = |mut line: &UnixStream| {
            line.write_all(&amount.to_ne_bytes()).and_then(|()| read_number(line)).is_ok_and(|told| told == balance)
        };
        self.lines.iter().filter(|line| right(line)).count()
    }
}

/// A sibling's work: it adds each payment to the balance and answers with that, until the line is closed.
pub fn keep_account(mut line: UnixStream) -> io::Result<()> {
    let mut balance = 0;
    loop {
        balance += read_number(&line)?;
        line.write_all(&u64::to_ne_bytes(balance))?;
    }
}

fn read_number(mut line: &UnixStream) -> io::Result<u64> {
    let mut bytes = [0; 8];
    line.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
