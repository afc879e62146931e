//! Golden scripts: a story is a text file of commands, each followed by what it answered.
//!
//! ```text
//! # A comment.
//! put a 1
//! get a
//! ---
//! rev 2
//! ...
//! ```
//!
//! Commands stand in blocks; a line that starts with a blank goes on with the one before. `---` ends the commands of
//! a block, an empty line ends its answers. `UPDATE_GOLDEN=1` writes the answers anew: read what it wrote.

// The scripts are files of the checkout, not the node's.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};

use super::world::World;

#[test]
fn mvcc_stories() {
    run_directory("mvcc");
}

#[test]
fn txn_stories() {
    run_directory("txn");
}

#[test]
fn lease_stories() {
    run_directory("lease");
}

#[test]
fn guard_stories() {
    run_directory("guard");
}

#[test]
fn auth_stories() {
    run_directory("auth");
}

fn run_directory(name: &str) {
    let root =
        std::env::var("HOLDFAST_SCRIPTS").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts").into());
    let directory = Path::new(&root).join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut scripts: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", directory.display());
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for path in scripts {
        let golden = fs::read_to_string(&path).unwrap();
        let played = play(&golden);
        if is_update {
            fs::write(&path, played).unwrap();
        } else {
            assert!(golden == played, "{}\n{}", path.display(), first_difference(&golden, &played));
        }
    }
}

/// The script with the answers its commands give now.
fn play(golden: &str) -> String {
    let mut world = World::new();
    let mut played = String::new();
    let mut command = String::new();
    let mut answers = String::new();
    let mut in_answers = false;
    for line in golden.lines().chain([""]) {
        let is_end = line.is_empty();
        if in_answers && !is_end {
            continue;
        }
        let goes_on = line.starts_with(' ');
        if !command.is_empty() && !goes_on {
            answers += &world.run(&std::mem::take(&mut command));
        }
        if line == "---" {
            in_answers = true;
            played += &format!("---\n{answers}");
            answers.clear();
            continue;
        }
        if !is_end && !line.starts_with('#') {
            command += line;
        }
        assert!(!is_end || answers.is_empty() || in_answers, "a block without '---' answered:\n{answers}");
        in_answers = false;
        played += line;
        played.push('\n');
    }
    let end = played.trim_end().len();
    played.truncate(end);
    played + "\n"
}

fn first_difference(golden: &str, played: &str) -> String {
    let lines = golden.lines().chain(std::iter::repeat("(end)")).zip(played.lines().chain(std::iter::repeat("(end)")));
    let (number, (expected, found)) = lines.enumerate().find(|(_, (a, b))| a != b).expect("the texts differ");
    format!("line {}\n  golden: {expected}\n  played: {found}\nUPDATE_GOLDEN=1 accepts what was played", number + 1)
}
