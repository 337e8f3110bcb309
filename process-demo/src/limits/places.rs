//! Where are the files that a worker may read, and may not?

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub const CONTENT: &[u8] = b"known to whoever may read it";

/// Two files, each in a directory of its own; removed when this is dropped.
pub struct Places {
    pub public: PathBuf,
    pub public_file: PathBuf,
    private: PathBuf,
    /// Its owner alone may read it.
    pub private_file: PathBuf,
}

impl Places {
    pub fn make(under: &Path) -> Result<Places> {
        let (public, private) = (under.join("public"), under.join("private"));
        let places = Places { public_file: public.join("file"), private_file: private.join("file"), public, private };
        for (directory, file, mode) in
            [(&places.public, &places.public_file, 0o644), (&places.private, &places.private_file, 0o600)]
        {
            fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
            let mut file = File::options().write(true).create_new(true).mode(mode).open(file).context("a file")?;
            file.write_all(CONTENT).context("a file")?;
        }
        Ok(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for directory in [&self.public, &self.private] {
            let _ = fs::remove_dir_all(directory); // What stays, the runner finds and reports.
        }
    }
}
