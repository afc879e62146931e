//! Scripts of requests with the answers that a real etcd gave.
//!
//! ```text
//! # A comment.
//! > POST /v3/kv/put {"key":"Zm9v"}          a request, with headers between path and body: [Authorization: x]
//! 200 application/json                      the answer's status and type, and its body
//! {"header":{...}}
//! > open w /v3/watch {...}                  opens a stream under a name
//! > read w 2                                reads two lines of it
//! > close w
//! ```
//!
//! Ids, terms and ports are replaced by letters; `<any>` in an answer stands for anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::compare::{is_like, normal};
use crate::server;
use crate::web::{Lines, Web};

struct Step {
    /// Comments and empty lines in front, kept when a script is written anew.
    before: Vec<String>,
    request: String,
    answer: String,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = Vec::new();
    for line in text.lines() {
        if let Some(request) = line.strip_prefix("> ") {
            let before = std::mem::take(&mut before);
            steps.push(Step { before, request: request.to_owned(), answer: String::new() });
        } else if line.starts_with('#') || line.is_empty() {
            before.push(line.to_owned());
        } else {
            let step = steps.last_mut().expect("a script begins with a request");
            step.answer.push_str(line);
            step.answer.push('\n');
        }
    }
    steps
}

/// One server, and the streams that are open to it.
struct Session<'w> {
    web: &'w Web,
    streams: BTreeMap<String, Lines>,
}

impl Session<'_> {
    async fn run(&mut self, request: &str) -> String {
        let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
        match verb {
            "open" => {
                let (name, rest) = rest.split_once(' ').unwrap();
                let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
                let lines = self.web.open(path, body).await;
                let head = format!("{} {}\n", lines.status, lines.content_type);
                self.streams.insert(name.to_owned(), lines);
                head
            }
            "read" => {
                let (name, count) = rest.split_once(' ').unwrap();
                let lines = self.streams.get_mut(name).expect("an open stream");
                let mut read = String::new();
                for _ in 0..count.parse().unwrap() {
                    read.push_str(&lines.next().await.unwrap_or_else(|| "(the end)".to_owned()));
                    read.push('\n');
                }
                normal(&read)
            }
            "close" => {
                self.streams.remove(rest);
                String::new()
            }
            method => self.ask(method, rest).await,
        }
    }

    async fn ask(&self, method: &str, rest: &str) -> String {
        let (path, mut body) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut headers = Vec::new();
        while let Some((header, behind)) = body.strip_prefix('[').and_then(|inner| inner.split_once("] ")) {
            let Some(header) = header.split_once(": ") else { break };
            headers.push(header);
            body = behind;
        }
        let answer = self.web.ask(method, path, &headers, body).await;
        let end = if answer.body.is_empty() || answer.body.ends_with('\n') { "" } else { "\n" };
        normal(&format!("{} {}\n{}{end}", answer.status, answer.content_type, answer.body))
    }
}

/// Runs a script, and gives back what was answered to each step.
async fn answers(web: &Web, steps: &[Step]) -> Vec<String> {
    let mut session = Session { web, streams: BTreeMap::new() };
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(session.run(&step.request).await);
    }
    answers
}

fn differences(steps: &[Step], answers: &[String]) -> Vec<String> {
    let both = steps.iter().zip(answers);
    let differ = both.filter(|(step, answer)| !is_like(answer, &step.answer));
    differ.map(|(step, answer)| format!("> {}\n-- expected\n{}-- got\n{answer}", step.request, step.answer)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/gateway")
}

fn scripts() -> Vec<(PathBuf, Vec<Step>)> {
    let mut paths: Vec<PathBuf> = folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder().display());
    paths.into_iter().map(|path| (path.clone(), parse(&std::fs::read_to_string(path).unwrap()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_as_etcd_did() {
    for (path, steps) in scripts() {
        let server = server::start().await;
        let found = differences(&steps, &answers(&server.web, &steps).await);
        assert!(found.is_empty(), "{}: {} differ\n{}", path.display(), found.len(), found.join("\n"));
        server.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_answers_as_the_scripts_say() {
    let Some(binary) = std::env::var_os("HOLDFAST_GATEWAY_ETCD") else {
        println!("SKIPPED: HOLDFAST_GATEWAY_ETCD=<binary> compares the scripts with that etcd (3.5)");
        return;
    };
    for (path, steps) in scripts() {
        let etcd = server::start_etcd(Path::new(&binary)).await;
        let answers = answers(&etcd.web, &steps).await;
        if std::env::var_os("HOLDFAST_GATEWAY_RECORD").is_some() {
            std::fs::write(&path, written(&steps, &answers)).unwrap();
            println!("wrote {}", path.display());
            continue;
        }
        let found = differences(&steps, &answers);
        assert!(found.is_empty(), "{}: {} differ\n{}", path.display(), found.len(), found.join("\n"));
    }
}

/// The script with these answers. What stands for anything stays so while it fits.
fn written(steps: &[Step], answers: &[String]) -> String {
    let mut text = String::new();
    for (step, answer) in steps.iter().zip(answers) {
        for line in &step.before {
            text.push_str(line);
            text.push('\n');
        }
        let keep = step.answer.contains("<any>") && is_like(answer, &step.answer);
        text.push_str(&format!("> {}\n{}", step.request, if keep { &step.answer } else { answer }));
    }
    text
}
