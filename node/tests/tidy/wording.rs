//! Words: how a file opens, what it is called, what it promises to come back to, and the ways to panic.

use crate::finding::Finding;
use crate::source::Source;

/// Names of files, folders and modules that tell a reader nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// Macros that end the process for something that was left out.
const PANICS: [&str; 4] = ["todo", "unimplemented", "unreachable", "dbg"];

/// Marks that say "later".
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

pub fn opening(source: &Source) -> Vec<Finding> {
    let opens = source.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
    if opens.is_some_and(|line| line.starts_with("//!")) {
        return Vec::new();
    }
    let why = "a reader who opens a file learns first why it exists";
    vec![Finding::new(&source.path, 1, "does not open with `//!`", why)]
}

pub fn names(source: &Source) -> Vec<Finding> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let empty = parts.filter(|part| EMPTY_NAMES.contains(part) || part.starts_with("impl_"));
    let what = |part| format!("a file or folder named `{part}`");
    let why = "it will hold whatever had no place: name it for what it does";
    empty.map(|part| Finding::new(&source.path, 1, what(part), why)).collect()
}

/// Test worlds may panic; what serves clients may not.
fn ships(source: &Source) -> bool {
    ["node/src/", "client/src/", "proto/src/"].iter().any(|folder| source.path.starts_with(folder))
}

pub fn panics(source: &Source) -> Vec<Finding> {
    let tokens = source.shipped_tokens();
    if !ships(source) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for three in tokens.windows(3) {
        let texts = [0, 1, 2].map(|at| three[at].text.as_str());
        if texts == [".", "unwrap", "("] {
            let why = "say with expect what makes it impossible, or return the error";
            findings.push(Finding::new(&source.path, three[1].line, "`unwrap()`", why));
        } else if PANICS.contains(&texts[0]) && texts[1] == "!" && texts[2] != "=" {
            let what = format!("`{}!`", texts[0]);
            let why = "let a type close the door, or return an error that says what was wrong";
            findings.push(Finding::new(&source.path, three[0].line, what, why));
        }
    }
    findings
}

pub fn selects(source: &Source) -> Vec<Finding> {
    let tokens = source.shipped_tokens();
    let mut findings = Vec::new();
    for four in tokens.windows(4) {
        if four[0].text == "select" && four[1].text == "!" && four[3].text != "biased" {
            let why = "without it the branch is drawn from a generator that no seed controls, and which branch \
                       comes first is a decision worth reading";
            findings.push(Finding::new(&source.path, four[0].line, "`select!` without `biased;`", why));
        }
    }
    findings
}

pub fn marks(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for comment in &source.comments {
        for mark in MARKS {
            if names_no_issue(&comment.text, mark) {
                let why = "a mark nobody tracks is never come back to: write the issue as (#number) behind it";
                findings.push(Finding::new(&source.path, comment.line, format!("{mark} without an issue"), why));
            }
        }
    }
    findings
}

fn names_no_issue(comment: &str, mark: &str) -> bool {
    let mut rest = comment;
    while let Some(at) = rest.find(mark) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + mark.len()..];
        let is_word = !before.is_some_and(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
        let issue = after.strip_prefix("(#").is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        if is_word && !issue {
            return true;
        }
        rest = after;
    }
    false
}

mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("node/src/wal/log.rs", text)
    }

    #[test]
    fn a_silent_opening_is_found() {
        assert_eq!(opening(&source("use x;\n//! late")).len(), 1);
        assert_eq!(opening(&source("")).len(), 1);
        assert!(opening(&source("#![cfg(madsim)]\n\n//! Why.")).is_empty());
    }

    #[test]
    fn empty_names_are_found() {
        let at = |path: &str| names(&Source::new(path, "")).len();
        assert_eq!(at("node/src/raft/utils.rs"), 1);
        assert_eq!(at("node/src/common/mod.rs"), 1);
        assert_eq!(at("node/src/raft/impl_log.rs"), 1);
        assert_eq!(at("node/src/raft/log_store.rs"), 0);
    }

    #[test]
    fn ways_to_panic_are_found_outside_tests() {
        let text = "a.unwrap();\ntodo!();\nunreachable!(\"x\");\nb.unwrap_or(1);\nc.expect(\"y\"); // .unwrap()";
        assert_eq!(panics(&source(text)).iter().map(|finding| finding.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(panics(&source("#[cfg(test)]\nmod tests { fn f() { a.unwrap() } }")).is_empty());
        assert!(panics(&Source::new("jepsen-style-tests/src/lib.rs", "a.unwrap()")).is_empty());
    }

    #[test]
    fn an_unfair_select_is_found() {
        assert_eq!(selects(&source("tokio::select! {\n a = b => {} }")).len(), 1);
        assert!(selects(&source("tokio::select! {\n biased;\n a = b => {} }")).is_empty());
    }

    #[test]
    fn a_mark_without_an_issue_is_found() {
        let planted = format!("// {}: later\n/* {}(#12): fine */\n// {}S are no mark", MARKS[0], MARKS[1], MARKS[2]);
        assert_eq!(marks(&source(&planted)).iter().map(|finding| finding.line).collect::<Vec<_>>(), [1]);
    }
}
