//! Which mechanisms are measured? Each with its parties, its constructor, and how often it copies.

use anyhow::{Context, Result};
use ipc_channel::ipc::bytes_channel;
use shared::measure::Rival;

use super::memory::Regions;
use super::scene::Scene;
use super::stream::{Course, alone, processes, threads};
use super::{ceiling, kernel, memory, moved};
use crate::{link, version};

/// One row of each contest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Memcpy,
    MemcpyToCache,
    Pipe,
    LargePipe,
    UnixStream,
    UnixSeqpacket,
    Tcp,
    Queue,
    ChannelBytes,
    ChannelRegions,
    Ring,
    ThreadRing,
    Crossbeam,
    SyncChannel,
}

pub const WAYS: [Way; 14] = [
    Way::Memcpy,
    Way::MemcpyToCache,
    Way::Pipe,
    Way::LargePipe,
    Way::UnixStream,
    Way::UnixSeqpacket,
    Way::Tcp,
    Way::Queue,
    Way::ChannelBytes,
    Way::ChannelRegions,
    Way::Ring,
    Way::ThreadRing,
    Way::Crossbeam,
    Way::SyncChannel,
];

/// Whom a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Processes,
    Threads,
    /// A ceiling.
    Nobody,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Memcpy => "memcpy",
            Way::MemcpyToCache => "memcpy to cache",
            Way::Pipe => "pipe",
            Way::LargePipe => "pipe of 1 MiB",
            Way::UnixStream => "Unix stream",
            Way::UnixSeqpacket => "Unix seqpacket",
            Way::Tcp => "TCP",
            Way::Queue => "POSIX queue",
            Way::ChannelBytes => "ipc bytes",
            Way::ChannelRegions => "ipc region",
            Way::Ring => "ring",
            Way::ThreadRing => "ring (threads)",
            Way::Crossbeam => "crossbeam (moved)",
            Way::SyncChannel => "std (moved)",
        }
    }

    pub fn between(self) -> Between {
        match self {
            Way::Memcpy | Way::MemcpyToCache => Between::Nobody,
            Way::ThreadRing | Way::Crossbeam | Way::SyncChannel => Between::Threads,
            _ => Between::Processes,
        }
    }

    pub fn is_ceiling(self) -> bool {
        self.between() == Between::Nobody
    }

    /// Is there anything to measure at this size? What fits into one piece is one memcpy, like the other.
    pub fn has(self, bytes: usize) -> bool {
        self != Way::MemcpyToCache || bytes > ceiling::PIECE_BYTES
    }

    /// How often the bytes of a message are copied, at least.
    pub fn copies(self) -> u32 {
        match self {
            Way::Memcpy | Way::MemcpyToCache | Way::ChannelRegions => 1,
            Way::Crossbeam | Way::SyncChannel => 0,
            _ => 2, // In, and out again.
        }
    }

    /// The constructor, and the crate with its version.
    pub fn made_by(self) -> String {
        let of = |name: &str, call: &str| format!("{name} {} {call}", version::of(name));
        match self {
            Way::Memcpy => "copy_from_slice".to_owned(),
            Way::MemcpyToCache => "copy_from_slice, by 16 KiB".to_owned(),
            Way::Pipe => of("nix", "pipe2"),
            Way::LargePipe => of("nix", "pipe2 and F_SETPIPE_SZ"),
            Way::UnixStream => of("nix", "socketpair(Stream)"),
            Way::UnixSeqpacket => of("nix", "socketpair(SeqPacket)"),
            Way::Tcp => "std TcpStream, on loopback".to_owned(),
            Way::Queue => of("nix", "mq_open, for 10 messages"),
            Way::ChannelBytes => of("ipc-channel", "bytes_channel"),
            Way::ChannelRegions => of("ipc-channel", "IpcSharedMemory"),
            Way::Ring | Way::ThreadRing => of("nix", "memfd_create, Ring::new"),
            Way::Crossbeam => of("crossbeam-channel", "bounded"),
            Way::SyncChannel => "std mpsc::sync_channel".to_owned(),
        }
    }

    /// Why this way has no message of that size here; none if it has, or if only the attempt can tell.
    pub fn refusal(self, bytes: usize, scene: &Scene) -> Result<Option<String>> {
        match self {
            Way::UnixSeqpacket => kernel::packet_refusal(&scene.link(link::Way::UnixSeqpacket)?, bytes),
            Way::Queue => Ok(kernel::queue_refusal(&scene.queue, bytes)),
            Way::ChannelRegions => Ok(memory::region_refusal()),
            _ => Ok(None),
        }
    }

    pub fn rival<'a>(self, bytes: usize, scene: &'a Scene) -> Rival<'a> {
        let course =
            Course { label: self.name(), placement: scene.placement, whole: whole(bytes), tally: &scene.tally };
        let area = &scene.area;
        let link = move |way| scene.link(way);
        match self {
            Way::Memcpy => alone(course, ceiling::memcpy(bytes, bytes, area)),
            Way::MemcpyToCache => alone(course, ceiling::memcpy(bytes, ceiling::PIECE_BYTES, area)),
            Way::Pipe => processes(course, move || Ok(kernel::stream(link(link::Way::Pipe)?, bytes, area))),
            Way::LargePipe => {
                processes(course, move || Ok(kernel::stream(kernel::enlarged(link(link::Way::Pipe)?)?, bytes, area)))
            }
            Way::UnixStream => processes(course, move || Ok(kernel::stream(link(link::Way::UnixStream)?, bytes, area))),
            Way::UnixSeqpacket => {
                processes(course, move || Ok(kernel::packets(link(link::Way::UnixSeqpacket)?, bytes, area)))
            }
            Way::Tcp => processes(course, move || Ok(kernel::stream(link(link::Way::Tcp)?, bytes, area))),
            Way::Queue => {
                processes(course, move || Ok(kernel::queue(kernel::new_queue(&scene.queue, bytes)?, bytes, area)))
            }
            Way::ChannelBytes => processes(course, move || {
                let ends = bytes_channel().context("an ipc-channel")?;
                Ok(memory::channel_of_bytes(ends, bytes, area))
            }),
            Way::ChannelRegions => processes(course, move || Ok(Regions::new(bytes)?.ends(bytes, area))),
            Way::Ring => processes(course, move || Ok(memory::ring(memory::new_ring(bytes)?, bytes, area))),
            Way::ThreadRing => threads(course, move || Ok(memory::ring(memory::new_ring(bytes)?, bytes, area))),
            Way::Crossbeam => threads(course, move || Ok(moved::by_crossbeam(bytes))),
            Way::SyncChannel => threads(course, move || Ok(moved::by_sync_channel(bytes))),
        }
    }
}

/// Messages of the pass that is not timed: enough to go round whatever holds those under way.
fn whole(bytes: usize) -> u64 {
    memory::under_way(bytes) as u64 + 1
}
