//! The habits of this workspace that a machine can check. Each rule stands in a table with its reason, and the reason
//! is printed with every finding: a rule nobody can explain is a rule to remove.
//!
//! ```text
//! layers     a module of the node imports lower layers only
//! importers  which outside crate may be named where
//! places     where cfg(madsim) may stand
//! marks      planted bugs and rare paths: one form, and none without a place
//! lengths    files, functions and lines that fit in a head and on a screen
//! wording    names that say nothing, ways to panic, marks without an issue, unfair selects
//! compatibility  the promises of docs/COMPATIBILITY.md, and their tests
//! workspace  who knows whom among the crates; nothing of the machine it was built on
//! ```
//!
//! The tests below run the rules over the tree; the tests inside each file plant a violation and see it found.
//! `HOLDFAST_WORKSPACE=<folder>` runs them over another checkout.

// The bans are for the node; this reads the checkout.
#![allow(clippy::disallowed_methods)]

mod compatibility;
mod finding;
mod importers;
mod layers;
mod lengths;
mod lexer;
mod marks;
mod paths;
mod places;
mod source;
mod wording;
mod workspace;

use finding::{Finding, report};
use source::{Source, load, workspace_root};

fn over_all_files(rule: fn(&Source) -> Vec<Finding>) {
    let sources = load(&workspace_root());
    assert!(sources.len() > 20, "the workspace was not found: {} files", sources.len());
    report(sources.iter().flat_map(rule).collect());
}

#[test]
fn a_module_imports_lower_layers_only() {
    over_all_files(layers::check);
}

#[test]
fn outside_crates_are_named_where_they_belong() {
    over_all_files(importers::check);
}

#[test]
fn the_simulator_is_named_where_it_belongs() {
    over_all_files(places::check);
}

#[test]
fn planted_bugs_and_probes_stand_where_they_say() {
    let root = workspace_root();
    report(marks::check(&load(&root)));
    report(marks::default_features(&root));
}

#[test]
fn a_file_fits_in_the_head() {
    over_all_files(lengths::files);
}

#[test]
fn a_function_fits_on_a_screen() {
    over_all_files(lengths::functions);
}

#[test]
fn a_line_fits_its_width() {
    over_all_files(lengths::lines);
}

#[test]
fn a_file_opens_with_why_it_exists() {
    over_all_files(wording::opening);
}

#[test]
fn names_say_something() {
    over_all_files(wording::names);
}

#[test]
fn what_ships_does_not_panic_by_habit() {
    over_all_files(wording::panics);
}

#[test]
fn a_select_is_biased() {
    over_all_files(wording::selects);
}

#[test]
fn a_mark_names_its_issue() {
    over_all_files(wording::marks);
}

#[test]
fn crates_know_only_whom_they_may() {
    over_all_files(workspace::crates_in_code);
    report(workspace::crates_in_manifests(&workspace_root()));
}

#[test]
fn nothing_names_the_machine_it_was_built_on() {
    report(workspace::machine_traces(&workspace_root()));
}

#[test]
fn a_promise_names_a_test_that_exists() {
    let root = workspace_root();
    report(compatibility::check(&root, &load(&root)));
}
