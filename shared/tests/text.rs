//! What do people and programs see of one fixed report? Text at three widths, with and without colour, and the document.

mod fixed;

use anstream::adapter::strip_str;
use fixed::{report, tour};
use proptest::prelude::*;
use serde_json::Value;
use shared::report::*;
use shared::text::{self, Extent, Look};

const WIDTHS: [usize; 4] = [40, 60, 80, 120];

const FULL: Look = Look { width: 80, color: false, extent: Extent::Full };

fn looks(extent: Extent) -> impl Iterator<Item = Look> {
    WIDTHS.into_iter().flat_map(move |width| [false, true].map(|color| Look { width, color, extent }))
}

fn check(name: &str, look: Look, text: &str) {
    let name = format!("{name}_{}{}", look.width, if look.color { "_in_color" } else { "" });
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text.replace('\u{1b}', "^["));
    });
}

#[test]
fn the_report_looks_as_it_did() {
    looks(Extent::Full).for_each(|look| check("report", look, &text::report(&report(), look)));
}

#[test]
fn the_report_in_short_looks_as_it_did() {
    looks(Extent::Brief).for_each(|look| check("brief", look, &text::report(&report(), look)));
}

#[test]
fn what_is_left_out_is_counted_and_what_fails_is_never_left_out() {
    let brief = Look { extent: Extent::Brief, ..FULL };
    let (short, full) = (text::report(&report(), brief), text::report(&report(), FULL));
    assert!(full.contains("Luck needs many tries") && !short.contains("Luck needs many tries"));
    assert!(full.contains("vfork") && !short.contains("vfork"));
    for failed in ["expected: The child's end is seen\n", "expected: Every message came whole\n", "seen: 11 of 12\n"] {
        assert!(short.contains(failed) && full.contains(failed), "{failed}");
    }
    let [first, second] = [0, 1].map(|index| text::demo(&report().demos[index], brief));
    assert!(first.contains("[ok] 1 fact held.") && first.contains("--full shows 2 facts and the rule"), "{first}");
    assert!(second.contains("2 notices of what disturbed the run"), "{second}");
    assert!(text::demo(&report().demos[3], brief).contains("0 of 1 fact held"));
}

#[test]
fn bars_stand_fastest_first() {
    let brief = Look { extent: Extent::Brief, ..FULL };
    let text = text::demo(&report().demos[1], brief);
    let at = |label: &str| text.find(&format!("  {label}")).unwrap_or_else(|| panic!("no {label} in {text}"));
    assert!(at("thread, free") < at("fork, free") && at("fork, free") < at("fork and exec"));
}

#[test]
fn the_tour_in_short_looks_as_it_did() {
    for look in looks(Extent::Brief) {
        let lines = report().demos.iter().map(|demo| text::tour_line(demo, look)).collect::<String>();
        check("tour", look, &(lines + &text::scoreboard(&tour().claims, look)));
    }
}

#[test]
fn a_demonstration_that_answers_no_claim_has_no_verdict_in_the_tour() {
    let mut demo = report().demos.remove(0);
    demo.status = Status::Ran;
    demo.verdicts.clear();
    demo.headline = "2 times".to_owned();
    let line = text::tour_line(&demo, FULL);
    assert!(line.starts_with("no claim  ") && line.ends_with("  2 times\n"), "{line}");
}

#[test]
fn a_headline_of_39_characters_has_one_line_of_60_columns() {
    let mut demo = report().demos.remove(0);
    (demo.name, demo.headline) = ("fork-with-threads".to_owned(), "1234567890 234567890 234567890 23456789".to_owned());
    for width in [60, 70, 80] {
        assert_eq!(text::tour_line(&demo, Look { width, ..FULL }).lines().count(), 1, "{width}");
    }
}

#[test]
fn the_list_and_the_board_agree_or_the_board_says_who_does_not() {
    let tour = tour();
    let board = text::scoreboard(&tour.claims, Look { width: 200, ..FULL });
    for claim in &tour.claims {
        let entry = board.split(&claim.says).nth(1).unwrap().lines().nth(1).unwrap();
        for topic in &tour.topics {
            for one in topic.demos.iter().flat_map(|demo| &demo.verdicts).filter(|one| one.claim == claim.claim) {
                let refutes = one.ruling.verdict == Verdict::Refuted && claim.verdict != Verdict::Refuted;
                assert!(!refutes || entry.contains("refutes it"), "{entry}");
            }
        }
        assert!(claim.demos.iter().all(|demo| entry.contains(demo)), "{entry}");
    }
}

#[test]
fn the_full_tour_is_every_program_and_the_scoreboard() {
    let look = FULL;
    let (tour, text) = (tour(), text::tour(&tour(), look));
    let mut rest = text.as_str();
    let topics = tour.topics.iter().flat_map(|topic| &topic.demos).map(|demo| text::demo(demo, look));
    for part in topics.chain([text::scoreboard(&tour.claims, look), text::leftovers(&tour.leftovers, look)]) {
        let at = rest.find(&part).unwrap_or_else(|| panic!("missing, or out of order:\n{part}"));
        rest = &rest[at + part.len()..];
    }
    assert!(rest.is_empty());
}

#[test]
fn a_live_narration_is_the_report() {
    for look in looks(Extent::Full).chain(looks(Extent::Brief)) {
        let report = report();
        let mut live = text::machine(&report.machine, look);
        for demo in &report.demos {
            live += &text::header(&demo.name, &demo.question, look);
            demo.content.iter().for_each(|item| live += &text::item(item, look));
            live += &text::footer(demo, look);
        }
        live += &text::leftovers(&report.leftovers, look);
        assert_eq!(live, text::report(&report, look));
    }
}

#[test]
fn no_line_is_wider_than_the_width() {
    for width in (40..=130).step_by(5) {
        for extent in [Extent::Full, Extent::Brief] {
            let look = Look { width, color: true, extent };
            for line in strip_str(&(text::report(&report(), look) + &text::tour(&tour(), look))).to_string().lines() {
                assert!(line.chars().count() <= width, "{} of {width}: {line}", line.chars().count());
                assert_eq!(line, line.trim_end());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever a demonstration tells, of whatever shape, is shown within the width.
    #[test]
    fn any_content_fits_the_width(content in any_content(), width in 40..130usize) {
        let text = text::content(&content, Look { width, color: true, extent: Extent::Full });
        for line in strip_str(&text).to_string().lines() {
            prop_assert!(line.chars().count() <= width, "{} of {}:\n{}", line.chars().count(), width, text);
        }
    }
}

fn any_content() -> impl Strategy<Value = Content> {
    let words = || "([a-z]{1,12} ?){0,8}";
    let number = || prop_oneof![any::<f64>(), 0.0..1e7, Just(0.0), Just(f64::NAN)];
    let unit = || prop_oneof![Just(""), Just("ns"), Just("s"), Just("bytes per thread"), Just("requests/s")];
    let cell = prop_oneof![
        Just(Cell::Nothing),
        number().prop_map(Cell::Number),
        words().prop_map(Cell::Text),
        (number(), number(), number()).prop_map(|(value, low, high)| Cell::Interval { value, low, high }),
        words().prop_map(|says| Cell::Word { says, mood: Mood::Bad }),
        words().prop_map(|skipped| Cell::Skipped { skipped }),
    ];
    let role = prop_oneof![Just(Role::Label), Just(Role::X), Just(Role::Value)];
    let column = (words(), unit(), role);
    let column = column.prop_map(|(name, unit, role)| Column { name, unit: unit.to_owned(), role });
    let rows = prop::collection::vec(prop::collection::vec(cell, 0..12), 0..5);
    let table = (words(), prop::collection::vec(column, 0..12), rows);
    let table = table.prop_map(|(title, columns, rows)| Content::Table(Table { title, columns, rows }));
    let lane = (words(), number(), number()).prop_map(|(label, from, to)| Lane { label, from, to });
    let timeline = (words(), unit(), prop::collection::vec(lane, 0..9))
        .prop_map(|(title, unit, lanes)| Content::Timeline(Timeline { title, unit: unit.to_owned(), lanes }));
    let say = words().prop_map(|text| Content::Say { text });
    let map_row = (words(), "[.!x ]{0,200}").prop_map(|(label, cells)| MapRow { label, cells });
    let sign = words().prop_map(|says| Sign { sign: '!', says, mood: Mood::Bad });
    let map = (words(), prop::collection::vec(sign, 0..2), prop::collection::vec(map_row, 0..4))
        .prop_map(|(title, legend, rows)| Content::Map(Map { title, legend, rows }));
    prop_oneof![table, timeline, say, map]
}

#[test]
fn color_changes_nothing_but_color() {
    for width in WIDTHS {
        let [plain, colored] =
            [false, true].map(|color| text::tour(&tour(), Look { width, color, extent: Extent::Full }));
        assert_ne!(plain, colored);
        assert_eq!(plain, strip_str(&colored).to_string());
    }
}

/// What a terminal without a rich font shows: ASCII and the block U+2500 to U+257F.
#[test]
fn nothing_but_ascii_and_box_drawing_is_needed() {
    let text = text::tour(&tour(), FULL);
    let other =
        text.chars().find(|&character| !character.is_ascii() && !('\u{2500}'..='\u{257F}').contains(&character));
    assert_eq!(other, None);
}

#[test]
fn the_document_has_the_keys_that_it_promises_and_comes_back_whole() {
    let (report, tour) = (report(), tour());
    let (text, tour_text) = (serde_json::to_string(&report).unwrap(), serde_json::to_string(&tour).unwrap());
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    assert_eq!(serde_json::from_str::<TourReport>(&tour_text).unwrap(), tour);
    let (document, tour): (Value, Value) =
        (serde_json::from_str(&text).unwrap(), serde_json::from_str(&tour_text).unwrap());
    has_keys(&document, "schema topic version effort machine demos snippets leftovers");
    has_keys(&tour, "schema machine claims topics leftovers");
    has_keys(&tour["claims"][0], "claim says verdict condition because demos");
    assert_eq!((&document["schema"], &document["effort"]), (&Value::from(2), &Value::from("quick")));
    has_keys(
        &document["machine"],
        "cpu logical_cpus usable_cpus kernel memory_bytes virtualized page_bytes huge_pages clock_source clock_ns build",
    );
    has_keys(&document["leftovers"], "processes zombies shared_memory queues semaphores system_v sockets files");
    assert!(document["leftovers"]["queues"].is_null());
    for demo in document["demos"].as_array().unwrap() {
        has_keys(
            demo,
            "name question headline answer advice rule spoiled seconds status why verdicts content snippets",
        );
        demo["content"].as_array().unwrap().iter().for_each(check_content);
        demo["verdicts"].as_array().unwrap().iter().for_each(|one| {
            has_keys(one, "claim verdict condition because value unit");
            assert_eq!(one["condition"].is_null(), one["verdict"] != "qualified");
            one["condition"].as_object().into_iter().for_each(|_| has_keys(&one["condition"], "kind says"));
        });
        let texts = |path: &Value| has_keys(&document["snippets"][path.as_str().unwrap()], "needs text");
        demo["snippets"].as_array().unwrap().iter().for_each(texts);
    }
    let verdict = &document["demos"][0]["verdicts"][0];
    assert_eq!(
        (&verdict["claim"], &verdict["verdict"]),
        (&Value::from("shared-variables-race"), &Value::from("holds"))
    );
    assert_eq!(document["demos"][2]["status"], "skipped");
}

/// The same without a flag that stands there only if it is set.
fn without(value: &Value, flag: &str) -> Value {
    let mut value = value.clone();
    assert!(value.as_object_mut().unwrap().remove(flag).is_none_or(|set| set == true));
    value
}

#[test]
fn no_number_in_the_document_has_more_digits_than_a_clock_gives() {
    let mut report = report();
    let thirds = Table {
        title: String::new(),
        columns: vec![Column::value("", "")],
        rows: vec![vec![Cell::Number(1e6 / 3.0)], vec![Cell::Number(1_234_567_890.0)]],
    };
    report.demos[0].content.push(Item { content: Content::Table(thirds), detail: true });
    let text = serde_json::to_string(&report).unwrap();
    let long = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|n| n.contains('.') && n.len() > 9 && n.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(long, None);
    assert!(text.contains("[[333333],[1234567890]]"), "whole numbers are exact: {text}");
}

fn has_keys(value: &Value, keys: &str) {
    let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted: Vec<&str> = keys.split(' ').collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

fn check_content(content: &Value) {
    let content = &without(content, "detail");
    match content["kind"].as_str().unwrap() {
        "say" => has_keys(content, "kind text"),
        "fact" => has_keys(content, "kind says holds got"),
        "trend" => has_keys(content, "kind says ratio low high clear"),
        "timeline" => {
            has_keys(content, "kind title unit lanes");
            has_keys(&content["lanes"][0], "label from to");
        }
        "map" => {
            has_keys(content, "kind title legend rows");
            has_keys(&content["legend"][0], "sign says mood");
            has_keys(&content["rows"][0], "label cells");
        }
        "table" => {
            has_keys(content, "kind title columns rows");
            has_keys(&content["columns"][0], "name unit role");
            content["rows"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).for_each(check_cell);
        }
        "comparison" => {
            has_keys(content, "kind key title differs_in rows");
            for row in content["rows"].as_array().unwrap() {
                if row.get("skipped").is_some() {
                    has_keys(row, "label skipped");
                } else {
                    let row = &without(row, "detail");
                    has_keys(row, "label key role placement cpus unit steps samples rounds median low high p99 cpu_ns");
                }
            }
        }
        other => panic!("a kind of content that the document does not promise: {other}"),
    }
}

fn check_cell(cell: &Value) {
    match cell {
        Value::Number(_) | Value::String(_) | Value::Null => {}
        other if other.get("value").is_some() => has_keys(other, "value low high"),
        other if other.get("says").is_some() => has_keys(other, "says mood"),
        other => has_keys(other, "skipped"),
    }
}
