//! What does one process see in both pages at one moment?

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use process_demo::page::Page;

/// Two pages, one that fork copies and one that it shares.
pub struct Pages {
    copied: Page,
    shared: Page,
}

/// What one process sees at one moment.
#[derive(Clone, Copy)]
pub struct Sight {
    pub copied_at: u64,
    pub copied: u64,
    pub shared_at: u64,
    pub shared: u64,
}

impl Pages {
    pub fn new() -> Result<Pages> {
        let copied = Page::copied_by_fork().context("mapping a page")?;
        let shared = Page::shared_by_fork().context("mapping a shared page")?;
        Ok(Pages { copied, shared })
    }

    pub fn write(&self, value: u64) {
        self.copied.word().store(value, Relaxed); // A pipe tells the other side: it orders the stores.
        self.shared.word().store(value, Relaxed);
    }

    pub fn look(&self) -> Sight {
        Sight {
            copied_at: self.copied.address() as u64,
            copied: self.copied.word().load(Relaxed),
            shared_at: self.shared.address() as u64,
            shared: self.shared.word().load(Relaxed),
        }
    }
}

impl Sight {
    pub fn send(self, to: &mut PipeWriter) -> io::Result<()> {
        let Sight { copied_at, copied, shared_at, shared } = self;
        to.write_all([copied_at, copied, shared_at, shared].map(u64::to_ne_bytes).as_flattened())
    }

    pub fn receive(from: &mut PipeReader) -> io::Result<Sight> {
        let mut words = [[0; 8]; 4];
        from.read_exact(words.as_flattened_mut())?;
        let [copied_at, copied, shared_at, shared] = words.map(u64::from_ne_bytes);
        Ok(Sight { copied_at, copied, shared_at, shared })
    }
}
