//! Does `split` count the words of the user's own text?

use std::path::Path;
use std::process::{Command, Output};

fn split(arguments: &[&str], input: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_process-demo");
    Command::new(program).args(arguments).arg("--input").arg(input).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_users_own_text_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    for (text, words) in [("It was the best of times,\n\tit was the worst of times \n", 12), ("one", 1), (" \n", 0)] {
        let file = directory.path().join("a text");
        std::fs::write(&file, text).unwrap();
        let output = split(&["split", "--effort", "quick", "--color", "never", "--full"], &file);
        let said = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("6 of 6, {words} words")), "{said}");
        assert!(output.status.success());
    }
}

#[test]
fn what_cannot_be_counted_is_refused_in_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, missing) = (directory.path().join("empty"), directory.path().join("missing"));
    std::fs::write(&empty, "").unwrap();
    for (arguments, file, code, says) in [
        (["split", "--effort", "quick"], &empty, 2, "it is empty"),
        (["split", "--effort", "quick"], &missing, 2, "cannot read"),
        (["workers", "--effort", "quick"], &empty, 2, "workers takes no data of your own"),
    ] {
        let output = split(&arguments, file);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
    }
}
