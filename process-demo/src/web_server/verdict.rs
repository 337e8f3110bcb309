//! What follows for the claim, and which model is best for what?

use anyhow::Result;
use shared::number::{three_digits, with_unit};
use shared::{Claim, Stage, Verdict, refused};

use super::availability::{Failure, Losses};
use super::capacity::Row;
use super::models::Model;
use super::shared_state::State;
use super::together::Together;

pub fn give(stage: &mut Stage, seen: [Result<Together>; 2]) -> Result<()> {
    let (mut together, mut refusals) = (Vec::new(), Vec::new());
    for one in seen {
        match one {
            Ok(one) => together.push(one),
            Err(error) => refusals.push(refused(&error).ok_or(error)?),
        }
    }
    let at_once = together.iter().map(|one| one.at_once).max().unwrap_or(0);
    let all_right = together.iter().all(|one| one.right == one.asked);
    let verdict = match (together.is_empty(), at_once) {
        (true, _) => Verdict::Skipped,
        (false, 2..) if all_right => Verdict::Holds,
        _ => Verdict::Refuted,
    };
    let because = if together.is_empty() {
        refusals.join("; ")
    } else {
        let right = if all_right { "every answer was right" } else { "not every answer was right" };
        format!("{at_once} worker processes had a request in flight at the same moment, and {right}")
    };
    stage.verdict_by(Claim::PreforkServer, verdict, because, at_once as f64, "")
}

/// Which is best for what: speed, safety, and shared state.
pub fn answer(rows: &[Row], losses: &[Losses], state: &State) -> String {
    let parts = [speed(rows), safety(losses), shared_state(state)];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "This machine refuses both.".to_owned() } else { format!("Either: {}.", known.join("; ")) }
}

fn speed(rows: &[Row]) -> Option<String> {
    let of = |model| rows.iter().find(|row| row.model == model);
    let (prefork, pool) = (of(Model::Prefork)?, of(Model::ThreadPool)?);
    let (ours, theirs) = (three_digits(prefork.per_s()?), three_digits(pool.per_s()?));
    let time = prefork.time_against(pool)?;
    let compared = match (time.clear, time.ratio < 1.0) {
        (false, _) => "is neither clearly faster nor clearly slower",
        (true, true) => "is faster",
        (true, false) => "is slower",
    };
    let dearest = rows.iter().filter_map(|row| Some((row.model, row.per_s()?)));
    let (model, per_s) = dearest.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let (slowest, per_s) = (model.label(), three_digits(per_s));
    Some(format!("prefork {compared} than a thread pool ({ours} and {theirs} requests/s; '{slowest}' only {per_s})"))
}

fn safety(losses: &[Losses]) -> Option<String> {
    let lost = |model| {
        let it = losses.iter().find(|it| it.model == model && it.failure == Failure::Fault)?;
        Some((it.in_flight.lost + it.idle.lost, it.in_flight.of + it.idle.of))
    };
    let ((ours, our_all), (theirs, their_all)) = (lost(Model::Prefork)?, lost(Model::ThreadPool)?);
    let compared = if ours * their_all < theirs * our_all { "is safer" } else { "is no safer" };
    Some(format!(
        "it {compared}, since a segmentation fault lost {ours} of its {our_all} open connections and {theirs} of the \
         pool's {their_all}"
    ))
}

fn shared_state(state: &State) -> Option<String> {
    let lookups = state.lookups_ns();
    let least = lookups.iter().min_by(|one, other| one.1.total_cmp(&other.1))?;
    let most = lookups.iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let time = |ns: f64| with_unit("ns", ns);
    Some(format!(
        "shared state is cheapest to read in '{}' ({}) and dearest in '{}' ({})",
        least.0,
        time(least.1),
        most.0,
        time(most.1)
    ))
}
