//! Command lines that end at once: the same way as with etcd, side by side where one is installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_jepsen::world::process::{Program, Ran, find, run};

use crate::etcd_process::{Ports, words};

const LIMIT: Duration = Duration::from_secs(20);

fn ours(args: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(&crate::link(folder.path()), &words(args), "", LIMIT)
}

/// Command line, exit code, and what is said.
const REFUSED: [(&[&str], i32, &str); 12] = [
    (&["--no-such-flag"], 2, "flag provided but not defined: -no-such-flag"),
    (&["-no-such-flag=1"], 2, "flag provided but not defined: -no-such-flag"),
    (&["--name"], 2, "flag needs an argument: -name"),
    (&["--heartbeat-interval=x"], 2, "invalid value \"x\" for flag -heartbeat-interval: "),
    (&["--enable-v2=maybe"], 2, "invalid boolean value \"maybe\" for -enable-v2: parse error"),
    (&["--listen-client-urls=foo"], 2, "invalid value \"foo\" for flag -listen-client-urls: "),
    (&["--initial-cluster-state=bad"], 2, "invalid value \"bad\" for flag -initial-cluster-state: "),
    (&["--=1"], 2, "bad flag syntax: --=1"),
    (&["extra"], 1, "'extra' is not a valid flag"),
    (&["--name", "n1", "extra"], 1, "'extra' is not a valid flag"),
    (&["--data-dir=d", "--election-timeout=100"], 1, "--election-timeout"),
    (&["--config-file=/nonexistent/etcd.yml"], 1, "/nonexistent/etcd.yml"),
];

pub fn command_lines() {
    let etcd = find(Program::Etcd);
    if etcd.is_none() {
        eprintln!("etcd is not installed: its answers are not compared");
    }
    for (args, code, text) in REFUSED {
        let ran = ours(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.said());
        assert!(ran.err().contains(text), "{args:?} should say {text:?}: {}", ran.said());
        if let Some(etcd) = &etcd {
            let ran = run(etcd, &words(args), "", LIMIT);
            assert_eq!(ran.code, Some(code), "etcd {args:?}: {}", ran.said());
            assert!(ran.err().contains(text), "etcd {args:?} says {text:?}: {}", ran.said());
        }
    }
}

/// What etcd would do and we cannot: the message says what to do.
pub fn missed() {
    let table: [(&[&str], &str); 6] = [
        (&["--discovery=http://127.0.0.1:1/x"], "--initial-cluster"),
        (&["--discovery-srv=example.com"], "--initial-cluster"),
        (&["--force-new-cluster"], "quorum of the members back"),
        (&["--proxy=on"], "v2"),
        (&["gateway"], "not a valid flag"),
        (&["--socket-reuse-port"], "a port of its own"),
    ];
    for (args, text) in table {
        let ran = ours(args);
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.said());
        assert!(ran.err().contains(text), "{args:?} should say {text:?}: {}", ran.said());
    }
}

/// An empty member in the place of one with keys would look like their loss.
pub fn data_of_etcd() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let snap = folder.path().join("default.etcd").join("member").join("snap");
    std::fs::create_dir_all(&snap).expect("a folder can be made");
    let ran = run_in(folder.path(), &Ports::take());
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    assert!(ran.err().contains("holds the data of etcd"), "{}", ran.said());
    assert!(!folder.path().join("default.etcd").join("IDENTITY").exists(), "nothing was written there");
}

/// Without --data-dir the data is where etcd would have it: this one is refused, so that nothing keeps running.
pub fn default_data_dir() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("default.etcd"), "not a directory").expect("a file can be written");
    let ran = run_in(folder.path(), &Ports::take());
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    assert!(ran.err().contains("default.etcd"), "{}", ran.said());
}

fn run_in(folder: &Path, ports: &Ports) -> Ran {
    let output = Command::new(crate::link(folder))
        .args(["--listen-client-urls", &ports.client_url(), "--advertise-client-urls", &ports.client_url()])
        .args(["--listen-peer-urls", &ports.peer_url()])
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the built binary starts");
    Ran { code: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}

pub fn version_and_help() {
    for args in [["--version"], ["-version"], ["version"]] {
        let ran = ours(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.said());
        let out = ran.out();
        let version = out.lines().next().and_then(|line| line.strip_prefix("etcd Version: 3.")).expect("as etcd's");
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "a plain version: {version}");
    }
    for args in [["--help"], ["-h"], ["help"]] {
        let ran = ours(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.said());
        for flag in ["--name", "--initial-cluster", "--listen-client-urls", "--experimental-"] {
            assert!(ran.out().contains(flag), "{flag}: {}", ran.said());
        }
    }
}

/// Rows of `docs/COMPATIBILITY.md`: flag and verdict.
fn rows() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/COMPATIBILITY.md");
    let cells = |line: &str| -> Option<(String, String)> {
        let (flag, rest) = line.strip_prefix("| `--")?.split_once("` | ")?;
        Some((flag.to_owned(), rest.split(" |").next()?.to_owned()))
    };
    page.lines().filter_map(cells).filter(|(flag, _)| !flag.contains(' ') && !flag.contains('*')).collect()
}

/// Each flag is known unless its row says that it is missing; and each flag of the etcd that is installed has a row.
pub fn table_of_flags() {
    let rows = rows();
    assert!(rows.len() > 90, "the table was not found");
    for (flag, verdict) in &rows {
        // A switch must be one, and what is asked for must not come to pass: the version is shown.
        let ran = ours(&[&format!("--{flag}=false"), "--version"]);
        match verdict.as_str() {
            "missing" => {}
            "same" | "better" | "different" | "passed over" | "refused" => {
                assert_eq!(ran.code, Some(0), "--{flag} should be {verdict}: {}", ran.said());
            }
            other => panic!("--{flag}: {other} is no verdict"),
        }
    }
    let Some(etcd) = find(Program::Etcd) else { return };
    let help = run(&etcd, &words(&["--help"]), "", LIMIT);
    for line in help.said().lines() {
        let Some(flag) = line.strip_prefix("  --").and_then(|rest| rest.split_whitespace().next()) else { continue };
        assert!(rows.iter().any(|(known, _)| known == flag), "etcd has --{flag}, which has no row");
    }
}
