//! What changes all the time and always has the same total?

use anyhow::Result;

use super::block::Block;

/// Accounts among which money moves, so that their total never changes.
pub struct Accounts {
    pub block: Block,
    random: u64,
}

/// A sum over all accounts, and one in which each has a weight of its own: equal only for equal accounts, but by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    pub total: u64,
    weighted: u64,
}

impl Accounts {
    pub fn new(bytes: usize) -> Result<Accounts> {
        Ok(Accounts { block: Block::filled(bytes)?, random: 0x9e37_79b9_7f4a_7c15 })
    }

    /// So many transfers of one between accounts all over the table.
    pub fn transfer_at_random(&mut self, transfers: u64) {
        let accounts = self.block.len();
        for _ in 0..transfers {
            // Marsaglia's xorshift: quick, and no two pages in a row.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let (from, to) = (self.random as usize % accounts, (self.random >> 32) as usize % accounts);
            self.transfer(from, to, 1);
        }
    }

    /// An account may owe: the sums wrap around, and agree all the same.
    pub fn transfer(&mut self, from: usize, to: usize, amount: u64) {
        self.block[from] = self.block[from].wrapping_sub(amount);
        self.block[to] = self.block[to].wrapping_add(amount);
    }

    pub fn digest(&self) -> Digest {
        digest(self.block.iter().copied())
    }
}

/// Of a file that holds accounts.
pub fn digest_of_bytes(bytes: &[u8]) -> Digest {
    digest(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)))
}

fn digest(accounts: impl Iterator<Item = u64>) -> Digest {
    let start = Digest { total: 0, weighted: 0 };
    (1..).step_by(2).zip(accounts).fold(start, |sum: Digest, (weight, account): (u64, u64)| Digest {
        total: sum.total.wrapping_add(account),
        weighted: sum.weighted.wrapping_add(account.wrapping_mul(weight)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_keep_the_total_and_show() {
        let mut accounts = Accounts::new(1 << 16).unwrap();
        let before = accounts.digest();
        accounts.transfer_at_random(1000);
        let after = accounts.digest();
        assert_eq!(after.total, before.total);
        assert_ne!(after, before);
        assert_eq!(digest_of_bytes(accounts.block.as_bytes()), after);
    }
}
