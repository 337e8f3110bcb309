//! Which small files are kept, so that an unchanged one need not be opened and read again?

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use process_demo::beneath::{Root, Stamp};

/// Files as they were read, each with the stamp of its state; asked for again, it is looked at before it is trusted.
#[derive(Default)]
pub struct Shelf {
    kept: HashMap<PathBuf, Kept>,
    bytes: usize,
}

pub struct Kept {
    stamp: Stamp,
    pub text: Vec<u8>,
    pub modified_s: u64,
}

const MOST_BYTES: usize = 4 << 20; // Of a process; a site whose small files are larger than that is read from the disk.
const MOST_FILES: usize = 1024;

impl Shelf {
    /// What was read of the file, if it is still the same.
    pub fn find(&self, root: &Root, path: &Path) -> Option<&Kept> {
        self.kept.get(path).filter(|kept| root.has_still(path, &kept.stamp))
    }

    pub fn keep(&mut self, path: &Path, stamp: Stamp, text: &[u8], modified_s: u64) {
        self.forget(path);
        if self.bytes + text.len() > MOST_BYTES || self.kept.len() >= MOST_FILES {
            *self = Shelf::default(); // What is asked for often is soon back.
        }
        self.bytes += text.len();
        self.kept.insert(path.to_owned(), Kept { stamp, text: text.to_owned(), modified_s });
    }

    fn forget(&mut self, path: &Path) {
        let bytes = self.kept.remove(path).map_or(0, |kept| kept.text.len());
        self.bytes -= bytes;
    }
}
