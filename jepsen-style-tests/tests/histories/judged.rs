//! The program, asked about files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn jepsen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jepsen")).arg("check").args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(here().join(folder)).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path().display().to_string()).collect();
    files.sort();
    assert!(files.len() >= 3, "{folder}: {files:?}");
    files
}

fn judge(files: &[String]) -> Output {
    jepsen(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn each_file_has_its_line_and_all_together_an_exit_code() {
    let cases = [
        ("linearizable", "linearizable", 0),
        ("not-linearizable", "not-linearizable", 1),
        ("unreadable", "undecided", 2),
    ];
    for (folder, verdict, code) in cases {
        let files = files(folder);
        let output = judge(&files);
        let expected: String = files.iter().map(|file| format!("{file} {verdict}\n")).collect();
        assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{folder}");
    }
    // A violation found is one, whatever else is unclear.
    let all: Vec<String> = ["linearizable", "not-linearizable", "unreadable"].into_iter().flat_map(files).collect();
    assert_eq!(judge(&all).status.code(), Some(1));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let stderr = |file: &str| text(&jepsen(&[&here().join(file).display().to_string()]).stderr);
    assert!(stderr("unreadable/cut_off.txt").contains("cut_off.txt: line 2: "), "{}", stderr("unreadable/cut_off.txt"));
    assert!(stderr("unreadable/answer_without_question.edn").contains("line 2: process 1 ends an operation"));
    assert!(stderr("unreadable/prose.log").contains("line 1: not a line of a Jepsen log"));
    assert!(stderr("no_such_file.edn").contains("cannot read it"));
    assert!(stderr("main.rs").contains("must end in .log, .txt or .edn"));
}

#[test]
fn a_picture_marks_what_has_no_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let history = here().join("not-linearizable/stale_read.edn").display().to_string();
    for name in ["picture.svg", "picture.html"] {
        let path = folder.path().join(name);
        let output = jepsen(&["--explain", "--picture", &path.display().to_string(), &history]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("process 2's `read 0`, called in line 5, has no place in any order"));
        let drawn = fs::read_to_string(&path).expect("it was drawn");
        assert_eq!(drawn.matches("<rect x=").count(), 3, "one bar for each operation");
        assert_eq!(drawn.matches("fill=\"#ff6b6b\"").count(), 1, "one of them red");
        assert!(drawn.contains("process 1: 2. read 1") && drawn.contains("process 0: 1. write 1"), "{drawn}");
        assert_eq!(drawn.starts_with("<!DOCTYPE html>"), name.ends_with("html"));
    }
    assert_eq!(jepsen(&["--picture", "x.svg", &history, &history]).status.code(), Some(2));
    assert_eq!(jepsen(&["--picture", "x.png", &history]).status.code(), Some(2));
}

#[test]
fn recorded_verdicts_are_reached() {
    let Some(folder) = std::env::var_os("HOLDFAST_HISTORIES").map(PathBuf::from) else {
        eprintln!("skipped: HOLDFAST_HISTORIES names no folder with a verdicts.csv");
        return;
    };
    let verdicts = fs::read_to_string(folder.join("verdicts.csv")).expect("verdicts.csv is readable");
    let verdicts: Vec<(&str, &str)> = verdicts.lines().filter_map(|line| line.split_once(',')).collect();
    let files: Vec<String> = verdicts.iter().map(|(file, _)| folder.join(file).display().to_string()).collect();
    let output = judge(&files);
    let expected: String = files
        .iter()
        .zip(&verdicts)
        .map(|(file, (_, verdict))| {
            let verdict = if *verdict == "true" { "linearizable" } else { "not-linearizable" };
            format!("{file} {verdict}\n")
        })
        .collect();
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}
