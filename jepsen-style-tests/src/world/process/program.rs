//! Where the programs are that a test starts.

use std::path::{Path, PathBuf};

/// Programs that are not ours: a test that needs one is skipped, aloud, where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Etcd,
    Etcdctl,
    /// Prometheus' own checker.
    Promtool,
}

impl Program {
    fn variable(self) -> &'static str {
        match self {
            Self::Etcd => "HOLDFAST_ETCD_BIN",
            Self::Etcdctl => "HOLDFAST_ETCDCTL_BIN",
            Self::Promtool => "HOLDFAST_PROMTOOL_BIN",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Promtool => "promtool",
        }
    }
}

/// The program's file: the one that its variable names, or the first in PATH.
pub fn find(program: Program) -> Option<PathBuf> {
    if let Some(named) = named_by(program.variable()) {
        return Some(named);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program.file_name())).find(|file| file.is_file())
}

/// A program that a variable alone names: for a second version beside the installed one.
///
/// # Panics
/// If it names no file.
pub fn named_by(variable: &str) -> Option<PathBuf> {
    let named = PathBuf::from(std::env::var_os(variable)?);
    assert!(named.is_file(), "{variable} names {}, which is no file", named.display());
    Some(named)
}

/// The server under test.
///
/// # Panics
/// If it was not built.
pub fn holdfast_bin() -> PathBuf {
    ours("HOLDFAST_BIN", "holdfast")
}

/// The command line client.
///
/// # Panics
/// If it was not built.
pub fn holdfastctl_bin() -> PathBuf {
    ours("HOLDFASTCTL_BIN", "holdfastctl")
}

/// A binary of this workspace: the named one, or the one beside the folder that this test runs from.
fn ours(variable: &str, name: &str) -> PathBuf {
    if let Some(named) = named_by(variable) {
        return named;
    }
    let this_test = std::env::current_exe().expect("a running test has a file");
    // target/debug/deps/kill-0123 -> target/debug/holdfast
    let built = this_test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|file| is_program(file));
    built.unwrap_or_else(|| {
        panic!("{name} is not beside {}: run `cargo build --workspace --bins`, or set {variable}", this_test.display())
    })
}

fn is_program(file: &Path) -> bool {
    file.is_file()
}
