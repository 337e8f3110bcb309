//! Did every message arrive, and did both sides sit where their row says?

use shared::Stage;
use shared::measure::{PinTo, Pinning};
use shared::number::count;

pub fn tell(stage: &mut Stage, rows: &[Exchanged]) {
    let sum = |of: fn(&Exchanged) -> u64| rows.iter().map(of).sum::<u64>();
    let (sent, returned, seen) = (sum(|row| row.sent), sum(|row| row.returned), sum(|row| row.seen_by_peer));
    let got = format!("{} of {} in {} rows", count(returned), count(sent), rows.len());
    stage.check("Every message came back as it was sent", returned == sent && sent > 0, got);
    let got = format!("{} of {}", count(seen), count(sent));
    stage.check("Every message reached its peer whole and in order", seen == sent, got);
    let ended = rows.iter().filter(|row| row.peer_ended_well).count();
    let got = format!("{ended} of {}", rows.len());
    stage.check("Every peer ended by itself when it was told to", ended == rows.len(), got);
    let pinned: Vec<_> = rows.iter().filter(|row| row.pinning.own != PinTo::Anywhere).collect();
    let sits = |pin_to: PinTo, cpu: Option<usize>| cpu.is_some_and(|cpu| pin_to == PinTo::Cpu(cpu));
    let seated = pinned.iter().filter(|row| sits(row.pinning.own, row.own_cpu) && sits(row.pinning.peer, row.peer_cpu));
    let (seated, got) = (seated.count(), pinned.len());
    let says = "Both sides of every pinned row were seen on their CPUs";
    stage.check(says, seated == got, format!("{seated} of {got} rows"));
}

/// What one row exchanged, and where its two sides were seen.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    pub pinning: Pinning,
    pub sent: u64,
    pub returned: u64,
    pub seen_by_peer: u64,
    pub own_cpu: Option<usize>,
    pub peer_cpu: Option<usize>,
    pub peer_ended_well: bool,
}
