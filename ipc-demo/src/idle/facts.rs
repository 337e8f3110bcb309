//! What was counted over all series, and must hold on every run?

use shared::Stage;
use shared::number::count;

use super::rounds::{Figures, Row, Silence};

pub fn tell(stage: &mut Stage, rows: &[Row], silences: &[Silence], (ended, receivers): (usize, usize)) {
    let all: Vec<&Figures> = rows.iter().filter_map(|row| row.figures.as_ref().ok()).collect();
    let sum = |of: fn(&Figures) -> u64| all.iter().map(|figures| of(figures)).sum::<u64>();
    let (sent, right, series) = (sum(|row| row.sent), sum(|row| row.right), sum(|row| row.series));
    let got = format!("{} of {} in {} series", count(right), count(sent), count(series));
    stage.check("Every message arrives once, whole and in order", right == sent && sent > 0, got);
    let impossible = sum(|row| row.impossible);
    let says = "No message arrives before it is sent: sender and receiver read one clock";
    stage.check(says, impossible == 0, format!("{} did", count(impossible)));
    tell_who_slept(stage, rows);
    let quiet = silences.iter().filter(|silence| silence.usage.sleeps > 0).count();
    let says = "Every receiver but the spinner sleeps while nobody sends";
    stage.fact(says, quiet == silences.len() && quiet > 0, format!("{quiet} of {}", silences.len()));
    let seated = sum(|row| row.seated);
    let got = format!("{} of {} series", count(seated), count(series));
    stage.check("Every receiver stays on its CPU", seated == series, got);
    stage.check("Every receiver ends by itself when told to", ended == receivers, format!("{ended} of {receivers}"));
}

/// Forced: where there is time to look, no message is sent before its receiver was seen asleep.
fn tell_who_slept(stage: &mut Stage, rows: &[Row]) {
    let of = |chosen: fn(&Row, &Figures) -> bool| -> Vec<&Figures> {
        let measured = rows.iter().filter_map(|row| Some((row, row.figures.as_ref().ok()?)));
        measured.filter(|(row, figures)| chosen(row, figures)).map(|(_, figures)| figures).collect()
    };
    let sleeps = |rows: &[&Figures]| rows.iter().map(|figures| figures.receiver.sleeps).sum::<u64>();
    let sent = |rows: &[&Figures]| rows.iter().map(|figures| figures.sent).sum::<u64>();

    let slow = of(|row, figures| row.way.sleeps() && figures.first_ns.is_empty());
    let slept = slow.iter().all(|row| row.asleep == row.sent && row.receiver.sleeps >= row.sent);
    let got = format!("{} sleeps for {} messages", count(sleeps(&slow)), count(sent(&slow)));
    let says = "After a gap of more than 2 ms, each message finds its receiver asleep, unless it spins";
    stage.fact(says, slept && !slow.is_empty(), got);

    let spinning = of(|row, _| !row.way.sleeps());
    if !spinning.is_empty() {
        let got = format!("{} sleeps in {} messages", count(sleeps(&spinning)), count(sent(&spinning)));
        stage.fact("The receiver that spins never sleeps", sleeps(&spinning) == 0, got);
    }
}
