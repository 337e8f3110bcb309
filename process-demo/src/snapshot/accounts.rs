//! What is saved: accounts among which money moves, so that their total never changes.

use std::hash::{DefaultHasher, Hasher};

pub struct Accounts {
    /// Each a number in this machine's order.
    table: Vec<[u8; 8]>,
    random: u64,
}

/// What moves, while half of the table has been written, from the other half to that one.
pub const AMOUNT: u64 = 1_000_000;

impl Accounts {
    pub fn new(bytes: usize) -> Accounts {
        Accounts { table: (1..=bytes as u64 / 8).map(u64::to_ne_bytes).collect(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    pub fn bytes(&self) -> &[u8] {
        self.table.as_flattened()
    }

    /// So many transfers of one between accounts all over the table.
    pub fn transfer_at_random(&mut self, transfers: u64) {
        let accounts = self.table.len();
        for _ in 0..transfers {
            // Marsaglia's xorshift: quick, and no two pages in a row.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.transfer(self.random as usize % accounts, (self.random >> 32) as usize % accounts, 1);
        }
    }

    /// From the last account to the first.
    pub fn transfer_across(&mut self) {
        self.transfer(self.table.len() - 1, 0, AMOUNT);
    }

    /// An account may owe: the sums wrap around, and agree all the same.
    fn transfer(&mut self, from: usize, to: usize, amount: u64) {
        let mut change = |account: usize, amount: u64| {
            let balance = u64::from_ne_bytes(self.table[account]);
            self.table[account] = balance.wrapping_add(amount).to_ne_bytes();
        };
        change(from, amount.wrapping_neg());
        change(to, amount);
    }
}

/// Of accounts, in memory or in a file.
pub fn total(bytes: &[u8]) -> u64 {
    bytes.as_chunks().0.iter().fold(0, |sum, account| sum.wrapping_add(u64::from_ne_bytes(*account)))
}

/// Equal only for equal bytes, but by chance.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_keep_the_total_and_show() {
        let mut accounts = Accounts::new(1 << 16);
        let before = (total(accounts.bytes()), digest(accounts.bytes()));
        accounts.transfer_at_random(1000);
        accounts.transfer_across();
        assert_eq!(total(accounts.bytes()), before.0);
        assert_ne!(digest(accounts.bytes()), before.1);
    }
}
