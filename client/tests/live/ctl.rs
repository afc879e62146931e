//! `holdfastctl` beside etcdctl: the same words, on the same cluster in the same state, must be answered with the
//! same bytes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use holdfast_client::Options;

use crate::cluster::{Cluster, installed};

/// What the two are asked, in order, after `SETUP`. Only reads: both see the same store.
const READS: &[&str] = &[
    "get a",
    "get nothing",
    "get a c",
    // Two blanks: an empty word between them.
    "get  --prefix",
    "get a --prefix",
    "get b --from-key",
    "get a --prefix --limit 2",
    "get a --prefix --keys-only",
    "get a --prefix --print-value-only",
    "get a --prefix --order DESCEND --sort-by VALUE",
    "get a --prefix --sort-by modify",
    "get a --rev 3",
    "get a --consistency s",
    "get blank",
    "lease list",
    "lease timetolive 77",
    "lease timetolive 1000 --keys",
    "lease keep-alive 1000 --once",
    "member list",
    "endpoint hashkv",
    "endpoint status",
    "alarm list",
];

/// Writes, done by each tool on a cluster of its own.
const WRITES: &[&str] = &[
    "put k 1",
    "put k 2 --prev-kv",
    "put k --ignore-value --prev-kv",
    "put k2 x",
    "put k3 y",
    "del k2 --prev-kv",
    "del nothing",
    "del k --prefix --prev-kv",
    "put a 1",
    "compaction 3",
    "defrag",
    "alarm disarm",
];

const TXNS: &[&str] = &[
    "mod(\"k\") = \"0\"\n\nput k \"a value\"\nget k\nput k2 \"v 2\" --prev-kv\n\nget k\n\n",
    "value(\"k\") = \"a value\"\nver(\"k\") < \"5\"\n\nget k --prefix\ndel k2 --prev-kv\n\nget k\n\n",
    "create(\"k\") = \"0\"\n\nput k no\n\nget k\nget nothing\nput k \"with \\\"quotes\\\"\" --prev-kv\n\n",
];

struct Tool {
    program: std::path::PathBuf,
    endpoint: String,
}

impl Tool {
    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut child = Command::new(&self.program)
            .args(["--endpoints", &self.endpoint])
            .args(words)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("read");
        child.wait_with_output().expect("ends")
    }

    fn answer(&self, format: &str, command: &str, input: &str) -> String {
        let mut words: Vec<&str> = vec!["-w", format];
        words.extend(command.split(' '));
        let output = self.run(&words, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} -w {format} {command}: {out}{err}", self.program.display());
        out.into_owned()
    }
}

fn etcdctl(endpoint: &str) -> Option<Tool> {
    let Some(program) = installed("etcdctl") else {
        eprintln!("skipped: etcdctl is not installed");
        return None;
    };
    Some(Tool { program, endpoint: endpoint.to_owned() })
}

fn holdfastctl(endpoint: &str) -> Tool {
    Tool { program: env!("CARGO_BIN_EXE_holdfastctl").into(), endpoint: endpoint.to_owned() }
}

/// Fields that etcd 3.6 brought, and that an older etcdctl does not know.
fn without_newer_fields(text: &str) -> String {
    let mut known = text.to_owned();
    for name in ["hash_revision", "dbSizeQuota"] {
        if let Some((before, after)) = known.split_once(&format!(",\"{name}\":")) {
            known = format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
    }
    known
}

/// Replaces what differs between two clusters, or between two moments: ids, terms, and log positions.
fn without_ids(text: &str) -> String {
    let mut masked = text.to_owned();
    let moving = ["cluster_id", "member_id", "raft_term", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse"];
    for name in moving {
        let label = format!("\"{name}\":");
        let mut from = 0;
        while let Some(at) = masked[from..].find(&label) {
            let start = from + at + label.len();
            let end = masked[start..].find(|c: char| !c.is_ascii_digit()).map_or(masked.len(), |end| start + end);
            masked.replace_range(start..end, "_");
            from = start;
        }
    }
    masked
}

#[tokio::test]
async fn reads_are_answered_like_etcdctl_does() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let endpoint = &cluster.members[0].endpoint;
    let Some(theirs) = etcdctl(endpoint) else { return };
    let ours = holdfastctl(endpoint);
    let client = cluster.client(Options::default());
    client.lease_grant_as(0x1000, 9_000_000).await.expect("grant");
    client.put("a", "3").await.expect("put");
    client.put("a", "2").await.expect("put");
    client.put("a1", "9").lease(0x1000).await.expect("put");
    client.put("b", vec![0, 0xff, b'\n', b'<']).lease(0x1000).await.expect("put");
    client.put("blank", "").await.expect("put");

    for command in READS {
        for format in ["simple", "json", "table"] {
            let tabular = ["member", "endpoint"].iter().any(|family| command.starts_with(family));
            let unsupported = format == "json" && command.contains("print-value-only");
            if (format == "table" && !tabular) || unsupported {
                continue;
            }
            let answers = || [&theirs, &ours].map(|tool| without_newer_fields(&tool.answer(format, command, "")));
            // A remaining time may change between two questions; ask again if it did.
            let [theirs, ours] =
                (0..3).map(|_| answers()).find(|[theirs, ours]| theirs == ours).unwrap_or_else(answers);
            assert_eq!(ours, theirs, "-w {format} {command}");
        }
    }
}

#[tokio::test]
async fn writes_and_transactions_are_answered_like_etcdctl_does() {
    for format in ["simple", "json"] {
        let (Some(one), Some(other)) = (Cluster::start(1).await, Cluster::start(1).await) else { return };
        let Some(theirs) = etcdctl(&one.members[0].endpoint) else { return };
        let ours = holdfastctl(&other.members[0].endpoint);
        let same = |command: &str, input: &str| {
            let place = |text: String| without_ids(&text).replace(&one.members[0].endpoint, &other.members[0].endpoint);
            let expected = place(theirs.answer(format, command, input));
            assert_eq!(place(ours.answer(format, command, input)), expected, "-w {format} {command} {input}");
        };
        for command in WRITES {
            same(command, "");
        }
        for txn in TXNS {
            same("txn", txn);
        }
        same("put from-stdin", "typed\nin");
        one.client(Options::default()).lease_grant_as(0x2000, 1000).await.expect("grant");
        other.client(Options::default()).lease_grant_as(0x2000, 1000).await.expect("grant");
        same("put leased v --lease 2000", "");
        same("get leased", "");
        same("lease revoke 2000", "");
    }
}

/// Ids are chosen by the server, and times are what they are.
fn without_chosen(text: &str) -> String {
    let text = text.split("took").next().unwrap_or_default();
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let mask = |word: &str| {
        let id = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let chosen = id.len() >= 12 && id.chars().all(|c| c.is_ascii_hexdigit());
        if chosen { word.replace(id, "ID") } else { word.to_owned() }
    };
    words.map(mask).collect()
}

/// Members are listed by id, and ids are random, even in length.
fn sorted(text: &str) -> Vec<String> {
    let mut parts: Vec<String> =
        text.replace("  ", " ").split([',', '"', '\n', '[', ']', '{', '}']).map(str::to_owned).collect();
    parts.sort();
    parts
}

#[tokio::test]
async fn members_come_and_go_as_with_etcdctl() {
    for format in ["simple", "json"] {
        let Some(cluster) = Cluster::start(1).await else { return };
        let endpoint = &cluster.members[0].endpoint;
        let Some(theirs) = etcdctl(endpoint) else { return };
        let client = cluster.client(Options::default());
        let mut told = Vec::new();
        // Ids come from the address and the time in seconds, and no id is ever used twice.
        for (tool, address) in [(theirs, "http://127.0.0.1:8"), (holdfastctl(endpoint), "http://127.0.0.1:9")] {
            let mut answers = Vec::new();
            answers.push(tool.answer(format, &format!("member add m9 --learner --peer-urls={address}"), ""));
            let members = client.member_list().await.expect("list").members;
            let learner = members.iter().find(|member| member.is_learner).expect("added").id;
            answers.push(tool.answer(format, &format!("member update {learner:x} --peer-urls={address}9"), ""));
            answers.push(tool.answer(format, "member list", ""));
            answers.push(tool.answer(format, &format!("member remove {learner:x}"), ""));
            if format == "json" {
                // In lines, old versions say it on stderr and newer ones on stdout.
                answers.push(tool.answer(format, "endpoint health", ""));
            }
            answers.push(tool.answer(format, "lease grant 50", ""));
            let same_address = |answer: &String| without_chosen(answer).replace(address, "URL");
            told.push(answers.iter().map(same_address).map(|answer| sorted(&answer)).collect::<Vec<_>>());
        }
        assert_eq!(told[1], told[0], "-w {format}");
    }
}

#[tokio::test]
async fn a_watch_is_shown_like_etcdctl_does() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let endpoint = &cluster.members[0].endpoint;
    let Some(theirs) = etcdctl(endpoint) else { return };
    let ours = holdfastctl(endpoint);
    let client = cluster.client(Options::default());
    client.put("foo", "bar").await.expect("put");
    client.put("foo", "baz").await.expect("put");
    client.delete("foo").await.expect("delete");

    for format in ["simple", "json"] {
        let watched = |tool: &Tool| {
            let mut child = Command::new(&tool.program)
                .args(["--endpoints", &tool.endpoint, "-w", format, "watch", "foo", "--rev", "2", "--prev-kv"])
                .env("ETCDCTL_API", "3")
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
            let mut text = String::new();
            while !(text.ends_with("DELETE\nfoo\nbaz\nfoo\n\n") || text.ends_with("false}\n")) {
                assert!(std::io::BufRead::read_line(&mut out, &mut text).expect("read") > 0, "ended early: {text}");
            }
            child.kill().expect("killed");
            child.wait().expect("reaped");
            text
        };
        assert_eq!(watched(&ours), watched(&theirs), "-w {format}");
    }
}

#[tokio::test]
async fn failures_have_etcdctls_exit_codes_and_say_what_to_do() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let endpoint = &cluster.members[0].endpoint;
    let ours = holdfastctl(endpoint);
    let theirs = etcdctl(endpoint);
    let cases: [(&[&str], &str, i32, &str); 12] = [
        (&["get"], "", 128, "Usage"),
        (&["get", "a", "--prefix", "--from-key"], "", 128, "choose one"),
        (&["get", "a", "--order", "sideways"], "", 4, "ASCEND or DESCEND"),
        (&["get", "a", "--bogus"], "", 1, "--bogus"),
        (&["get", "a", "--rev", "100"], "", 1, "future revision"),
        (&["put", "k", "v", "--lease", "5"], "", 1, "requested lease not found"),
        (&["put", "k", "v", "--lease", "zz"], "", 128, "expecting ID in Hex"),
        (&["lease", "revoke", "5"], "", 1, "requested lease not found"),
        (&["member", "remove", "77"], "", 1, "member not found"),
        (&["txn"], "bogus(\"a\") > \"0\"\n\n\n\n", 3, "unknown target bogus"),
        (&["move-leader", "zz"], "", 128, "member list"),
        (&["-w", "table", "put", "k", "v"], "", 4, "table not supported"),
    ];
    for (words, input, code, text) in cases {
        let output = ours.run(words, input);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {err}");
        assert!(err.contains(text), "{words:?}: {err}");
        if let Some(theirs) = &theirs {
            assert_eq!(theirs.run(words, input).status.code(), Some(code), "etcdctl {words:?}");
        }
    }
    let nowhere = Tool { program: ours.program.clone(), endpoint: "127.0.0.1:1".into() };
    let output = nowhere.run(&["get", "a", "--command-timeout", "300ms"], "");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("check that the endpoints are right"), "{err}");
}

#[tokio::test]
async fn a_snapshot_is_saved_whole() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let endpoint = &cluster.members[0].endpoint;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup.db");
    let path = path.to_str().expect("text");
    let shown = holdfastctl(endpoint).answer("simple", &format!("snapshot save {path}"), "");
    assert_eq!(shown, format!("Snapshot saved at {path}\n"));
    assert_eq!(std::fs::metadata(path).expect("saved").len() % 512, 32, "pages, and a digest");
    assert!(!std::path::Path::new(&format!("{path}.part")).exists());
    let bytes = std::fs::read(path).expect("saved");
    let digest: String = bytes[bytes.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
    let counted = Command::new("sh").args(["-c", "head -c -32 \"$0\" | sha256sum", path]).output().expect("sh runs");
    assert!(String::from_utf8_lossy(&counted.stdout).starts_with(&digest), "the digest is of what is before it");
    // A snapshot of Holdfast's is no database of etcd's.
    if let (Some(theirs), false) = (etcdctl(endpoint), cluster.is_holdfast) {
        theirs.answer("simple", &format!("snapshot status {path}"), "");
    }
}
