//! `docs/COMPATIBILITY.md` promises, and names the test behind each promise: the test must be there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::finding::Finding;
use crate::source::Source;

const PAGE: &str = "docs/COMPATIBILITY.md";
const WHY: &str = "a promise that no test keeps is a guess: name the test, or say that it is missing";

/// Head of the column that names tests.
const COLUMN: &str = "shown by";

pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let page = std::fs::read_to_string(root.join(PAGE)).expect("the page is there");
    check_page(&page, &tests_of(sources))
}

/// The names of all test functions.
fn tests_of(sources: &[Source]) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for source in sources {
        let mut is_test = false;
        for line in source.text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                tests.extend(rest.split('(').next().map(str::to_owned));
                is_test = false;
            }
        }
    }
    tests
}

fn check_page(page: &str, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_in_table = false;
    for (number, line) in page.lines().enumerate() {
        let cells = cells(line);
        if cells.last().is_some_and(|cell| *cell == COLUMN) {
            is_in_table = true;
            continue;
        }
        is_in_table &= !cells.is_empty();
        let is_rule = line.starts_with("|---");
        if !is_in_table || is_rule {
            continue;
        }
        let named = names(cells.last().copied().unwrap_or_default());
        if named.is_empty() && !cells.contains(&"missing") {
            findings.push(Finding::new(PAGE, number + 1, format!("{} names no test", cells[0]), WHY));
        }
        for name in named.into_iter().filter(|name| !tests.contains(*name)) {
            findings.push(Finding::new(PAGE, number + 1, format!("there is no test `{name}`"), WHY));
        }
    }
    findings
}

/// The cells of a table's row; none if it is no row.
fn cells(line: &str) -> Vec<&str> {
    let Some(inner) = line.trim().strip_prefix('|') else { return Vec::new() };
    inner.trim_end_matches('|').split('|').map(str::trim).collect()
}

/// What stands between backticks, without the modules in front.
fn names(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(|name| name.rsplit("::").next().unwrap_or(name)).collect()
}

mod tests {
    use super::*;

    const HEAD: &str = "| call | verdict | note | shown by |\n|---|---|---|---|\n";

    fn lines(rows: &str) -> Vec<usize> {
        let text = "#[test]\nfn kept() {}\n#[tokio::test(flavor = \"x\")]\nasync fn held() {}\nfn no_test() {}";
        let tests = tests_of(&[Source::new("node/src/lib.rs", text)]);
        check_page(&format!("{HEAD}{rows}"), &tests).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_promise_with_its_test_is_fine() {
        assert!(lines("| `--a` | same | | `kept` `cli::held` |\n").is_empty());
        assert!(lines("| `--a` | missing | | |\n\n| b | same | |\n").is_empty());
    }

    #[test]
    fn a_promise_without_its_test_is_found() {
        assert_eq!(lines("| `--a` | same | | |\n| `--b` | same | | `lost` |\n| c | same | | `no_test` |\n"), [3, 4, 5]);
    }
}
