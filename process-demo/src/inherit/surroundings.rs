//! In which surroundings does it run: directory, umask, environment?

use std::ffi::CString;
use std::{env, io};

use nix::libc;
use nix::sys::stat::{Mode, stat, umask};
use nix::unistd::chdir;

use super::files::DIRECTORIES;
use super::thing::{How, InTurn, NOWHERE, Thing};

pub const DIRECTORY: Thing = Thing {
    name: "working directory",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| stat(".").ok().map(|directory| directory.st_dev.rotate_left(32) ^ directory.st_ino),
        change: |_, value| Ok(chdir(DIRECTORIES[value as usize])?),
    }),
};

pub const UMASK: Thing = Thing {
    name: "umask",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| {
            let mask = umask(Mode::empty()); // The only way to ask for it is to set it.
            umask(mask);
            Some(mask.bits().into())
        },
        change: |_, value| {
            umask(Mode::from_bits_truncate(0o700 | value as libc::mode_t));
            Ok(())
        },
    }),
};

pub const ENVIRONMENT: Thing = Thing {
    name: "environment",
    how: How::InTurn(InTurn {
        set_up: |_| Ok(NOWHERE),
        look: |_| env::var(VARIABLE).ok()?.parse().ok(),
        change: |_, value| {
            let (name, value) = (CString::new(VARIABLE)?, CString::new(value.to_string())?);
            // SAFETY: both strings end with a zero; the other side waits meanwhile, so nobody else reads or writes it.
            match unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        },
    }),
};

const VARIABLE: &str = "INHERITED_VALUE";
