//! Brings an answer into a form that is the same on every cluster that behaves the same.

use std::collections::BTreeMap;

use holdfast_client::proto::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
};
use holdfast_jepsen::world::process::Ran;
use prost::Message;
use serde_json::Value;

use crate::differences::VARYING;
use crate::script::Step;

/// The nodes of a cluster, the leader first. `{follower-1}` in the script is that node's id.
pub const ROLES: [&str; 3] = ["leader", "follower-1", "follower-2"];

/// What stands for what.
#[derive(Default)]
pub struct Names {
    /// Replaced wherever they stand.
    texts: Vec<(String, String)>,
    /// Replaced where they are a whole word: ids in both spellings, names of nodes.
    words: BTreeMap<String, String>,
}

impl Names {
    pub fn text(&mut self, text: &str, alias: &str) {
        self.texts.push((text.to_owned(), alias.to_owned()));
    }

    pub fn word(&mut self, word: &str, alias: &str) {
        self.words.insert(word.to_owned(), alias.to_owned());
    }

    /// An id: etcdctl prints it in hexadecimal or in decimal.
    pub fn id(&mut self, id: u64, alias: &str) {
        self.word(&id.to_string(), alias);
        self.word(&format!("{id:x}"), alias);
        self.word(&format!("{id:016x}"), alias);
    }

    pub fn url(&mut self, url: &str, alias: &str) {
        self.text(url, alias);
        self.text(url.trim_start_matches("http://"), alias);
    }

    fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: one may begin with another.
        let mut texts: Vec<&(String, String)> = self.texts.iter().collect();
        texts.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        for (from, to) in texts {
            text = text.replace(from, to);
        }
        let (mut all, mut word) = (String::with_capacity(text.len()), String::new());
        for c in text.chars().chain(['\n']) {
            if c.is_alphanumeric() {
                word.push(c);
                continue;
            }
            all.push_str(self.words.get(&word).unwrap_or(&word));
            word.clear();
            all.push(c);
        }
        all.pop();
        sorted_keys(&unfilled(&all))
    }
}

/// etcdctl prints ids of members and clusters sixteen wide in some sentences: those that begin with zeros are filled up
/// with spaces, one for each.
fn unfilled(text: &str) -> String {
    let mut all = text.to_owned();
    for before in ["Member ", "cluster "] {
        while all.contains(&format!("{before} ")) {
            all = all.replace(&format!("{before} "), before);
        }
    }
    all
}

/// What a command said, made comparable.
pub fn normal(step: &Step, ran: &Ran, names: &Names) -> String {
    let has = |word: &str| step.words.iter().any(|given| given == word || given.ends_with(&format!("={word}")));
    let out = if has("protobuf") {
        protobuf(&step.words[0], &ran.stdout)
    } else if has("json") {
        ran.out().lines().map(|line| json(line, names)).collect::<Vec<_>>().join("\n")
    } else if has("table") {
        table(&names.apply(&ran.out()))
    } else {
        simple(step, &names.apply(&ran.out()))
    };
    let out = hashes(step, &out);
    let err = names.apply(&ran.err()).lines().filter_map(log_line).collect::<Vec<_>>();
    let mut err: Vec<String> = err.into_iter().map(|line| took(&line)).collect();
    // How often something was tried again depends on the moment.
    err.dedup();
    if is_list(step) {
        err.sort();
    }
    format!("exit {:?}\n{}\nstderr: {}", ran.code, out.trim_end(), err.join("\n").trim_end())
}

/// Commands that answer with a line for each member, in the order of ids or of arrival.
fn is_list(step: &Step) -> bool {
    ["member list", "endpoint", "lease list", "defrag"].iter().any(|command| step.text().starts_with(command))
}

fn is_varying(name: &str) -> bool {
    VARYING.iter().any(|varying| varying.names.contains(&name))
}

fn simple(step: &Step, text: &str) -> String {
    let text = text.lines().map(|line| field(step, &took(&remaining(line)))).collect::<Vec<_>>();
    let mut lines: Vec<String> = text;
    if step.text().starts_with("endpoint status") {
        lines = lines.iter().map(|line| status_columns(line, ", ")).collect();
    }
    if step.text().starts_with("member add") {
        lines = lines.iter().map(|line| sorted_cluster(line)).collect();
    }
    if is_list(step) {
        lines.sort();
    }
    lines.join("\n")
}

/// `"RaftTerm" : 2` of `-w fields`. Of `Version`, only the server's is replaced, not the key's.
fn field(step: &Step, line: &str) -> String {
    let Some((name, value)) = line.split_once(" : ") else { return line.to_owned() };
    let bare = name.trim_matches('"');
    let of_server = bare != "Version" || step.text().starts_with("endpoint");
    // What is left of a lease; below zero there is none.
    let left = bare == "TTL" && step.text().starts_with("lease timetolive") && !value.starts_with('-');
    if is_varying(bare) && of_server || left { format!("{name} : <varies>") } else { line.to_owned() }
}

/// endpoint, id, version, size, leader?, learner?, term, index, applied index, errors
fn status_columns(line: &str, separator: &str) -> String {
    let mut columns: Vec<&str> = line.split(separator).collect();
    for varying in [2, 3, 6, 7, 8] {
        if let Some(column) = columns.get_mut(varying) {
            *column = "<varies>";
        }
    }
    columns.join(separator)
}

/// The borders and the filling say only how long the longest value was.
fn table(text: &str) -> String {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let trimmed = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"));
    let mut rows: Vec<String> = trimmed.collect();
    if rows.first().is_some_and(|row| row.contains("RAFT TERM")) {
        rows = rows.iter().map(|row| status_columns(row, "|")).collect();
    }
    rows.sort();
    rows.join("\n")
}

/// `ETCD_INITIAL_CLUSTER="n2=...,n1=..."`: in the order of ids.
fn sorted_cluster(line: &str) -> String {
    let Some(list) = line.strip_prefix("ETCD_INITIAL_CLUSTER=") else { return line.to_owned() };
    let mut members: Vec<&str> = list.trim_matches('"').split(',').collect();
    members.sort_unstable();
    format!("ETCD_INITIAL_CLUSTER=\"{}\"", members.join(","))
}

/// `took = 1.234ms`, `took 1.2s`
fn took(line: &str) -> String {
    match line.find("took") {
        Some(at) => format!("{}took <varies>", &line[..at]),
        None => line.to_owned(),
    }
}

/// `remaining(59s)`
fn remaining(line: &str) -> String {
    match line.split_once("remaining(") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}remaining(<varies>{rest}")
        }
        None => line.to_owned(),
    }
}

/// Hashes of other engines differ; which nodes agree does not. A hash ends a line, or is `"hash"` in JSON.
fn hashes(step: &Step, out: &str) -> String {
    if !step.text().starts_with("endpoint hashkv") {
        return out.to_owned();
    }
    let mut seen: Vec<String> = Vec::new();
    let mut alias = |hash: &str| {
        let number = seen.iter().position(|known| known == hash).unwrap_or_else(|| {
            seen.push(hash.to_owned());
            seen.len() - 1
        });
        format!("<hash-{number}>")
    };
    let lines = out.lines().map(|line| match line.rsplit_once(", ") {
        Some((endpoint, hash)) if is_number(hash) => format!("{endpoint}, {}", alias(hash)),
        _ => {
            let mut pieces = line.split("\"hash\":");
            let mut all = pieces.next().unwrap_or_default().to_owned();
            for piece in pieces {
                let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
                all.push_str(&format!("\"hash\":{}{}", alias(&piece[..end]), &piece[end..]));
            }
            all
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn json(line: &str, names: &Names) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            replace(&mut value, names);
            value.to_string()
        }
        Err(_) => names.apply(line),
    }
}

fn replace(value: &mut Value, names: &Names) {
    match value {
        Value::Number(number) => {
            if let Some(alias) = names.words.get(&number.to_string()) {
                *value = Value::String(alias.clone());
            }
        }
        Value::String(text) => *text = names.apply(text),
        Value::Array(all) => {
            all.iter_mut().for_each(|one| replace(one, names));
            let by_node = |one: &Value| one.get("ID").is_some() || one.get("Endpoint").is_some();
            if all.iter().all(by_node) || all.iter().all(Value::is_string) {
                all.sort_by_key(Value::to_string);
            }
        }
        Value::Object(fields) => {
            let is_key = fields.contains_key("mod_revision") || fields.contains_key("key");
            let is_life = fields.contains_key("granted-ttl");
            for (name, field) in fields.iter_mut() {
                let of_server = !(is_key && name == "version");
                if is_varying(name) && of_server || is_life && name == "ttl" && field.as_i64() > Some(0) {
                    *field = Value::String("<varies>".to_owned());
                } else {
                    replace(field, names);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// etcdctl logs in JSON: the place, the time and the target are its own.
fn log_line(line: &str) -> Option<String> {
    let Ok(entry) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    let of = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    (of("level") != "info").then(|| format!("{}: {}: {}", of("level"), of("msg"), of("error")))
}

fn anonymous(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        *header = ResponseHeader { revision: header.revision, ..ResponseHeader::default() };
    }
}

fn protobuf(command: &str, bytes: &[u8]) -> String {
    macro_rules! decoded {
        ($answer:ty) => {
            <$answer>::decode(bytes).map(|mut answer| {
                anonymous(&mut answer.header);
                format!("{answer:?}")
            })
        };
    }
    let decoded = match command {
        "get" => decoded!(RangeResponse),
        "put" => decoded!(PutResponse),
        "del" => decoded!(DeleteRangeResponse),
        "txn" => decoded!(TxnResponse),
        other => return format!("nobody knows the message of {other}: {} bytes", bytes.len()),
    };
    decoded.unwrap_or_else(|error| format!("not the message of {command}: {error}"))
}

/// etcd names the keys of a lease in any order; ours are sorted.
fn sorted_keys(text: &str) -> String {
    const BEFORE: &str = "attached keys([";
    let Some((head, rest)) = text.split_once(BEFORE) else { return text.to_owned() };
    let Some((keys, tail)) = rest.split_once("])") else { return text.to_owned() };
    let mut keys: Vec<&str> = keys.split(' ').collect();
    keys.sort_unstable();
    format!("{head}{BEFORE}{}]){tail}", keys.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of every length, as chance makes them now and then, in every shape that etcdctl prints.
    #[test]
    fn ids_of_any_length_are_named() {
        for digits in 1..=16 {
            let member = 0x8edc_ba98_7654_321f_u64 >> (4 * (16 - digits));
            let cluster = member ^ 1;
            let mut names = Names::default();
            names.id(member, "<leader>");
            names.id(cluster, "<cluster>");
            for printed in [
                format!("Member {member:16x} added to cluster {cluster:16x}"),
                format!("Member {member:x} added to cluster {cluster:x}"),
                format!("Member {member:016x} added to cluster {cluster:016x}"),
                format!("Member {member} added to cluster {cluster}"),
            ] {
                assert_eq!(names.apply(&printed), "Member <leader> added to cluster <cluster>", "{printed:?}");
            }
            let mut value = serde_json::json!({ "ID": member, "text": format!("{member:x}") });
            replace(&mut value, &names);
            assert_eq!(value, serde_json::json!({ "ID": "<leader>", "text": "<leader>" }));
        }
    }

    #[test]
    fn a_short_hash_is_a_hash() {
        let step = &crate::script::steps("endpoint hashkv")[0];
        assert_eq!(hashes(step, "a:1, 7\nb:1, 7\nc:1, 12"), "a:1, <hash-0>\nb:1, <hash-0>\nc:1, <hash-1>");
        assert_eq!(hashes(step, r#"{"hash":7,"x":7},{"hash":9}"#), r#"{"hash":<hash-0>,"x":7},{"hash":<hash-1>}"#);
    }
}
