//! The other program: started by exec, it knows nothing but a name.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcSender, channel};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use shared::ProgramRole;

use super::message::{Hello, Order};

pub const ROLE: ProgramRole = ProgramRole { name: "typed-peer", play };

/// This program again, as the peer; killed and reaped when dropped.
pub struct Peer(Option<Child>);

impl Peer {
    pub fn start(server: &str) -> Result<Peer> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--role", ROLE.name, server, &std::process::id().to_string()]);
        Ok(Peer(Some(command.spawn().context("starting this program again")?)))
    }

    pub fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(Child::id)
    }

    pub fn wait(mut self) -> Result<ExitStatus> {
        let mut child = self.0.take().context("the peer was started")?;
        Ok(child.wait()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill(); // Not reaped yet, so the number is still its own.
            let _ = child.wait();
        }
    }
}

fn play(arguments: &[OsString]) -> u8 {
    let [server, parent] = arguments else { return 2 };
    let (Some(server), Some(parent)) = (server.to_str(), parent.to_str()) else { return 2 };
    // The parent may have died before the request was made; then this has another parent by now.
    if set_pdeathsig(Signal::SIGKILL).is_err() || getppid().to_string() != parent {
        return 3;
    }
    u8::from(serve(server).is_err())
}

/// Does what it is told to, until nobody can tell it any more.
fn serve(server: &str) -> Result<()> {
    let (orders, ordered) = channel()?;
    let to_parent = IpcSender::connect(server.to_owned())?;
    to_parent.send(Hello { pid: std::process::id(), orders })?; // Moved: no copy stays here to keep the channel open.
    loop {
        match ordered.recv() {
            Ok(Order::Return(value, to)) => to.send(value)?,
            Ok(Order::Count(count, to)) => {
                for number in 0..count {
                    to.iter().try_for_each(|to| to.send(number))?;
                }
            }
            Ok(Order::Sum(memory, to)) => to.send(memory.iter().map(|&byte| u64::from(byte)).sum())?,
            Ok(Order::Descriptors(kept, to)) => {
                to.send(descriptors()?)?;
                drop(kept);
            }
            Err(IpcError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many descriptors this process has open, but for the one that it looks with.
pub fn descriptors() -> io::Result<u64> {
    Ok(fs::read_dir("/proc/self/fd")?.count() as u64 - 1)
}
