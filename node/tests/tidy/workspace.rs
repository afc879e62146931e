//! Rules about the workspace as a whole: which crate knows which, and that nothing in it tells where it was built.

use std::fs;
use std::path::Path;

use crate::finding::Finding;
use crate::paths::named_paths;
use crate::source::{Source, workspace_files};

struct Crate {
    folder: &'static str,
    /// Names, as in Rust paths, of the crates of this workspace it may use.
    knows: &'static [&'static str],
    why: &'static str,
}

const OURS: [&str; 4] = ["holdfast_proto", "holdfast_node", "holdfast_client", "holdfast_jepsen"];

const CRATES: [Crate; 4] = [
    Crate { folder: "proto/", knows: &["holdfast_proto"], why: "the wire contract stands for itself" },
    Crate {
        folder: "node/",
        knows: &["holdfast_proto", "holdfast_node"],
        why: "a server that uses its own client would test them together and neither alone",
    },
    Crate {
        folder: "client/",
        knows: &["holdfast_proto", "holdfast_client"],
        why: "an application must not compile a server to talk to one",
    },
    Crate { folder: "jepsen-style-tests/", knows: &OURS, why: "tests may know everything" },
];

fn crate_of(path: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|one| path.starts_with(one.folder))
}

/// Tests count here: a test that needs another crate belongs into `jepsen-style-tests`.
pub fn crates_in_code(source: &Source) -> Vec<Finding> {
    let Some(own) = crate_of(&source.path) else { return Vec::new() };
    let mut findings = Vec::new();
    for named in named_paths(source) {
        let head = named.segments[0].as_str();
        if OURS.contains(&head) && !own.knows.contains(&head) {
            findings.push(Finding::new(&source.path, named.line, format!("`{head}` is named here"), own.why));
        }
    }
    findings
}

pub fn crates_in_manifests(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in &CRATES {
        let path = format!("{}Cargo.toml", one.folder);
        let text = fs::read_to_string(root.join(&path)).expect("each crate has a manifest");
        findings.extend(strangers_in_manifest(one, &path, &text));
    }
    findings
}

fn strangers_in_manifest(one: &Crate, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let name = line.split(['.', '=', ' ']).next().unwrap_or("").replace('-', "_");
        if OURS.contains(&name.as_str()) && !one.knows.contains(&name.as_str()) {
            findings.push(Finding::new(path, at + 1, format!("depends on `{name}`"), one.why));
        }
    }
    findings
}

/// Folders that exist on one machine only. Written in halves, so that this file does not find itself.
const FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Hosts that packages come from: which one is used is each builder's own setting.
const HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("proxy.go", "lang.org"),
    concat!("deb.deb", "ian.org"),
];

/// What the lock file says of a package that came from the public index, whatever mirror served it.
const PUBLIC_INDEX: &str = concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

pub fn machine_traces(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in workspace_files(root) {
        // What is not text has no paths to read.
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        findings.extend(traces(&path, &text));
    }
    findings
}

fn traces(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if path == "Cargo.lock" {
            if line.starts_with("source = ") && line != PUBLIC_INDEX {
                let why = "a checkout must build anywhere: dependencies come from the public index";
                findings.push(Finding::new(path, at + 1, line, why));
            }
            continue;
        }
        for folder in FOLDERS.iter().filter(|folder| names_folder(line, folder)) {
            let why = "the path exists on one machine; write it relative to the checkout";
            findings.push(Finding::new(path, at + 1, format!("names {folder}"), why));
        }
        for host in HOSTS.iter().filter(|host| line.contains(*host)) {
            let why = "which host serves packages is the builder's setting, not ours";
            findings.push(Finding::new(path, at + 1, format!("names {host}"), why));
        }
    }
    findings
}

/// The folder at the start of a path, and not in the middle of a longer one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')' | '*'))
    })
}

mod tests {
    use super::*;

    #[test]
    fn a_stranger_in_code_is_found() {
        let found = |path: &str, text: &str| crates_in_code(&Source::new(path, text)).len();
        assert_eq!(found("client/src/lib.rs", "use holdfast_node::types::Revision;"), 1);
        assert_eq!(found("node/src/api/kv.rs", "fn f(x: holdfast_client::Client) {}"), 1);
        assert_eq!(found("node/src/api/kv.rs", "use holdfast_proto::log;"), 0);
        assert_eq!(found("jepsen-style-tests/src/lib.rs", "use holdfast_node::x; use holdfast_client::y;"), 0);
    }

    #[test]
    fn a_stranger_in_a_manifest_is_found() {
        let client = crate_of("client/").expect("listed");
        let text = "[dependencies]\nholdfast-proto.workspace = true\nholdfast-node = { path = \"../node\" }\n";
        let found = strangers_in_manifest(client, "client/Cargo.toml", text);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn traces_of_a_machine_are_found() {
        for planted in FOLDERS.iter().map(|folder| format!("cd {folder}me")).chain(HOSTS.map(String::from)) {
            assert_eq!(traces("docs/A.md", &format!("fine\n{planted}\n")).len(), 1, "{planted}");
        }
        let longer = format!("src{}x and https://a.example{}y", FOLDERS[0], FOLDERS[2]);
        assert!(traces("docs/A.md", &longer).is_empty());
    }

    #[test]
    fn a_lock_file_that_names_a_mirror_is_found() {
        assert!(traces("Cargo.lock", PUBLIC_INDEX).is_empty());
        assert_eq!(traces("Cargo.lock", "source = \"registry+https://mirror.example/index\"").len(), 1);
    }
}
