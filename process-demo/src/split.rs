//! Is a divided task done faster by threads or by processes?

mod counters;
mod text;

use anyhow::Result;
use shared::measure::{Contest, Ready, Rival, Timing, usable_cpus};
use shared::number::{chosen_with_unit, count, ratio_in_words, three_digits};
use shared::stats::Ratio;
use shared::{Cell, Claim, Demo, Extras, Placement, Ruling, Snippet, Stage, Table, tried};

use counters::{COUNTERS, ONE, SENT, STANDING, THREADS};

pub const DEMO: Demo = Demo {
    name: "split",
    question: "Is a divided task done faster by threads or by processes?",
    claims: &[Claim::DividingIsMoreEfficient],
    rule: "Dividing is more efficient if threads or processes count every text, of whatever size, in clearly less \
           time than one thread, with at most a tenth more CPU time. It holds only if the task is large, where they \
           do so from some size on; in part, where they count the largest text faster, but for more CPU time; refuted \
           if for the largest text none saves even a tenth of the time, by the lower ends of their ratios' intervals, \
           although one was given three quarters of the CPUs; else undecided. Not judged are processes that are sent \
           the text: that has a price of its own.",
    extras: Extras { input: Some("a text, whose words are counted instead of made ones"), ..Extras::NONE },
    snippets: &[Snippet { path: "process-demo/snippets/child.rs", text: include_str!("../snippets/child.rs") }],
    run,
};

fn run(stage: &mut Stage) -> Result<()> {
    let text = text::of(stage)?;
    let workers = usable_cpus().len().max(2); // One piece would not be divided.
    stage.note(format!(
        "The task: count the words of a text. It is cut into {workers} pieces at white space, and each piece is counted by \
         itself. The time includes whatever it takes to hand the pieces out and to get the counts back. Those that stand \
         by are told through a socket each, threads like processes."
    ));
    prove(stage, &text, workers)?;
    let parts: &[usize] = stage.by_effort(&[16 << 10], &[16 << 10, 1 << 20], &[16 << 10, 1 << 20]);
    let sizes = parts.iter().copied().filter(|&bytes| bytes < text.len()).chain([text.len()]);
    let texts = sizes.map(|bytes| compare(stage, &text[..bytes], workers)).collect::<Result<Vec<Divided>>>()?;
    show_speed_up(stage, &texts);
    let Some((largest, best)) = texts.last().and_then(|largest| Some((largest, largest.best()?))) else {
        stage.skip("nothing that divides the task could be measured");
        return Ok(());
    };
    tell(stage, largest, best);
    stage.rule(Claim::DividingIsMoreEfficient, judge(&texts, largest, best))
}

/// Before they are measured, all count a part of the text that is short enough to be counted by its single words.
fn prove(stage: &mut Stage, text: &[u8], workers: usize) -> Result<()> {
    let text = &text[..text.len().min(1 << 20)];
    let right = text::words_one_by_one(text);
    let found = COUNTERS.map(|(_, prepare)| tried(prepare(text, workers).and_then(|mut counter| (counter.count)())));
    let found: Vec<u64> = found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let same = found.iter().filter(|&&words| words == right).count();
    let got = format!("{same} of {}, {} words", found.len(), count(right));
    stage.check("Divided or not, the count is that of the text read word by word", same == found.len(), got);
    Ok(())
}

/// What dividing a text of this size gained, by whom.
struct Divided {
    size: String,
    gains: Vec<Gain>,
}

/// Beside one thread.
struct Gain {
    by: &'static str,
    /// Of the times: less than 1 is faster.
    time: Ratio,
    cpu_time: f64,
    /// How many CPUs its pieces were given, on average.
    cpus: f64,
}

fn compare(stage: &mut Stage, text: &[u8], workers: usize) -> Result<Divided> {
    let size = chosen_with_unit("bytes", text.len() as f64);
    let mut contest = Contest::new(format!("Count the words of {size}"), "who counts", Timing::Batches);
    let right = text::words(text);
    for (name, prepare) in COUNTERS {
        contest.add(Rival::of_processes(name, Placement::Free, move |_| {
            let mut counter = prepare(text, workers)?;
            let turn = move |steps| (0..steps).map(|_| Ok(u64::from((counter.count)()? == right))).sum();
            Ok(Ready::with_children(turn, counter.children))
        }));
    }
    let measured = stage.compare(contest)?;
    let gain = |(by, _): &(&'static str, _)| {
        let (ours, one) = (measured.figures(by, Placement::Free)?, measured.figures(ONE, Placement::Free)?);
        let cpus = ours.cpu_ns? / ours.median().value;
        Some(Gain { by, time: ours.against(one), cpu_time: ours.cpu_ns? / one.cpu_ns?, cpus })
    };
    Ok(Divided { size, gains: COUNTERS[1..].iter().filter_map(gain).collect() })
}

impl Gain {
    /// In clearly less time, and for hardly more CPU time.
    fn is_sparing(&self) -> bool {
        self.time.is_faster() && self.cpu_time <= 1.1
    }
}

impl Divided {
    fn by(&self, name: &str) -> Option<&Gain> {
        self.gains.iter().find(|gain| gain.by == name)
    }

    /// Those that need not be sent the text: the claim is on dividing, not on sending.
    fn judged(&self) -> impl Iterator<Item = &Gain> {
        self.gains.iter().filter(|gain| gain.by != SENT)
    }

    /// The fastest of those that spare CPU time; else of those that are clearly faster than one thread; else of all.
    fn best(&self) -> Option<&Gain> {
        let rank = |gain: &Gain| (!gain.is_sparing(), !gain.time.is_faster());
        let order =
            |one: &&Gain, other: &&Gain| rank(one).cmp(&rank(other)).then(one.time.ratio.total_cmp(&other.time.ratio));
        self.judged().min_by(order)
    }
}

fn show_speed_up(stage: &mut Stage, texts: &[Divided]) {
    let sizes = texts.iter().map(|text| text.size.as_str());
    let columns = ["divided among"].into_iter().chain(sizes).chain(["CPU time"]);
    let row = |(name, _): &(&str, _)| {
        let speed_ups = texts.iter().map(|text| text.by(name).map(|gain| 1.0 / gain.time.ratio));
        let cpu_time = texts.last().and_then(|text| text.by(name)).map(|gain| gain.cpu_time);
        let numbers = speed_ups.chain([cpu_time]).map(|number| number.map_or(Cell::Nothing, Cell::Number));
        [Cell::from(*name)].into_iter().chain(numbers).collect()
    };
    let title = "Speed-up over one thread by size, and CPU time for the largest, one thread's being 1";
    stage.show(Table::new(title, columns, COUNTERS[1..].iter().map(row)));
}

fn judge(texts: &[Divided], largest: &Divided, best: &Gain) -> Ruling {
    let faster = if best.time.clear { ratio_in_words(best.time.ratio) } else { "not clearly faster".to_owned() };
    let because = format!(
        "By {}, {} are {faster} than by one thread, for {} % of its CPU time, on {} CPUs",
        best.by.replace(", ", " "),
        largest.size,
        three_digits(best.cpu_time * 100.0),
        three_digits(best.cpus)
    );
    const WORTH_IT: f64 = 0.9; // Of the time, at most.
    const MOST_CPUS: f64 = 0.75; // If other programs have the CPUs, what was seen says nothing of dividing.
    let saves_nothing = |gain: &Gain| gain.time.low.is_some_and(|low| low > WORTH_IT);
    let has_cpus = |gain: &Gain| gain.cpus >= MOST_CPUS * usable_cpus().len() as f64;
    match texts.iter().rposition(|text| !text.judged().any(Gain::is_sparing)) {
        None => Ruling::holds(because),
        Some(too_small) if too_small + 1 < texts.len() => {
            let [from, not] = [too_small + 1, too_small].map(|text| &texts[text].size);
            Ruling::only_if(format!("the task is large: {from} of text, not {not}"), because)
        }
        Some(_) if best.time.is_faster() => Ruling::in_part("true of the time, not of the CPU time", because),
        Some(_) if largest.judged().all(saves_nothing) && largest.judged().any(has_cpus) => Ruling::refuted(because),
        Some(_) => Ruling::undecided(because),
    }
}

fn tell(stage: &mut Stage, largest: &Divided, best: &Gain) {
    let speed = |name| match largest.by(name) {
        Some(gain) if gain.time.clear => ratio_in_words(gain.time.ratio),
        Some(_) => "not clearly faster".to_owned(),
        None => "not measured".to_owned(),
    };
    stage.headline(match best.time.is_faster() {
        true => format!("{}, by {}", ratio_in_words(best.time.ratio), best.by.split(',').next().unwrap_or_default()),
        false => format!("0 of {} faster than one thread", largest.judged().count()),
    });
    stage.answer(format!(
        "Beside one thread, with {}: threads {}, processes {} if they have the text, {} if it is sent by pipes.",
        largest.size,
        speed(THREADS),
        speed(STANDING),
        speed(SENT),
    ));
    stage.advise(match best.time.is_faster() {
        true => "Divide among threads; among processes if one may crash: copy `child`.",
        false => "Dividing saved no time here. Where a piece may crash: copy `child`.",
    });
}

#[cfg(test)]
mod tests {
    use shared::Verdict;

    use super::*;

    /// Threads take so many times as long as one, with so many times the CPU time; clearly so unless it is the same time.
    fn divided(size: &str, longer: f64, cpu_time: f64) -> Divided {
        let time = Ratio { ratio: longer, low: Some(longer), high: Some(longer), clear: longer != 1.0 };
        let gain = |by| Gain { by, time, cpu_time, cpus: cpu_time / longer };
        Divided { size: size.to_owned(), gains: vec![gain(THREADS), Gain { cpu_time: 0.1, ..gain(SENT) }] }
    }

    #[test]
    fn every_verdict_can_come_out() {
        let cpus = usable_cpus().len() as f64;
        for (small, large, verdict, condition) in [
            ((0.5, 1.0), (0.5, 1.0), Verdict::Holds, None),
            ((2.0, 1.0), (0.5, 1.0), Verdict::Qualified, Some("the task is large: 1 MiB of text, not 16 KiB")),
            ((0.5, 1.5), (0.5, 1.0), Verdict::Qualified, Some("the task is large: 1 MiB of text, not 16 KiB")),
            ((0.5, 1.0), (0.5, 1.5), Verdict::Qualified, Some("true of the time, not of the CPU time")),
            ((0.5, 1.0), (1.0, cpus), Verdict::Refuted, None),
            ((2.0, 1.0), (1.0, 0.1), Verdict::Undecided, None),
            ((2.0, 1.0), (0.8, cpus), Verdict::Qualified, Some("true of the time, not of the CPU time")),
        ] {
            let texts = [divided("16 KiB", small.0, small.1), divided("1 MiB", large.0, large.1)];
            let ruling = judge(&texts, &texts[1], texts[1].best().unwrap());
            assert_eq!(ruling.verdict, verdict, "{ruling:?}");
            assert_eq!(ruling.condition.as_ref().map(|condition| condition.says.as_str()), condition, "{ruling:?}");
            assert!(ruling.because.starts_with("By threads started anew, 1 MiB are "), "{ruling:?}");
        }
    }

    #[test]
    fn one_that_spares_cpu_time_is_better_than_one_that_is_faster_still() {
        let mut divided = divided("1 MiB", 0.5, 1.5);
        divided.gains.push(Gain {
            by: STANDING,
            time: Ratio { ratio: 0.6, ..divided.gains[0].time },
            cpu_time: 1.0,
            cpus: 1.0,
        });
        assert_eq!(divided.best().unwrap().by, STANDING);
    }
}
