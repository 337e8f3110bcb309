//! What can no copying way exceed? One memcpy of the same messages, from the same memory.

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::{Result, ensure};

use super::area::Area;
use super::message::{Check, Stamp};

/// Fits into the first cache of any CPU, beside what else is there.
pub const PIECE_BYTES: usize = 16 << 10;

/// Each message copied to a place of its own size.
pub fn memcpy(bytes: usize, area: &RefCell<Area>) -> impl FnMut(Stamp) -> Result<()> {
    let (mut check, mut buffer) = (Check::default(), vec![1; bytes]);
    move |stamp| {
        black_box(&mut buffer).copy_from_slice(area.borrow_mut().next(bytes, stamp));
        check.look(black_box(&buffer))?;
        ensure!(check.answer() == Some(1), "a message was not copied");
        Ok(())
    }
}

/// Each message copied piece by piece to one and the same small place, which stays in the cache: what is left to do for
/// the sender's CPU where another CPU makes the second copy.
pub fn memcpy_to_cache(bytes: usize, area: &RefCell<Area>) -> impl FnMut(Stamp) -> Result<()> {
    let mut place = vec![1; PIECE_BYTES];
    move |stamp| {
        for piece in area.borrow_mut().next(bytes, stamp).chunks(PIECE_BYTES) {
            black_box(&mut place)[..piece.len()].copy_from_slice(piece);
            let looked_at = if stamp.is_whole() { 0 } else { piece.len().saturating_sub(ENDING_BYTES) };
            ensure!(black_box(&place)[looked_at..piece.len()] == piece[looked_at..], "a piece was not copied");
        }
        Ok(())
    }
}

const ENDING_BYTES: usize = 16; // Of each piece, when it is timed: as much as of a message elsewhere.
