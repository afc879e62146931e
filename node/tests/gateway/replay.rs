//! A transcript of curl against a real etcd 3.5.1, asked again of a node: the answers are equal but for ids, and but
//! for the differences listed here with their reasons.
//!
//! ```text
//! $ curl /v3/kv/range -H Authorization: <token> -d {"key":"Zm9v"}
//! {"header":{...}}  [HTTP 200 application/json]
//! $ POST /v3/watch {"create_request":{...}}
//! {"result":{...}}                                    one line for each that was read
//! ```

use std::collections::BTreeMap;

use crate::compare::{is_like, normal};
use crate::server;
use crate::web::Web;

/// The start of a request, and why its answer differs or cannot be compared as text.
const DIFFERENCES: [(&str, &str); 6] = [
    ("curl /version", "another version"),
    ("curl /livez", "better: 3.5.1 has none"),
    ("curl /readyz", "better: 3.5.1 has none"),
    ("curl /v3/kv/range -d not json", "the words of another parser; status and code are compared by the scripts"),
    ("curl /v3/maintenance/status", "sizes and log indices"),
    ("curl /v3/maintenance/hashkv", "better: as in etcd from 3.6 on; 3.5.1 has no path for it"),
];

struct Exchange {
    request: String,
    answer: String,
}

fn parse(text: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(request) => exchanges.push(Exchange { request: request.to_owned(), answer: String::new() }),
            // What precedes the first request, and what other programs said in between, is no answer.
            None if line.starts_with("token=") || line.starts_with("etcd_") || line.starts_with("RC=") => {}
            None => {
                if let Some(exchange) = exchanges.last_mut() {
                    exchange.answer.push_str(line);
                    exchange.answer.push('\n');
                }
            }
        }
    }
    exchanges
}

/// What curl was told.
#[derive(Default)]
struct Curl<'t> {
    method: Option<&'t str>,
    path: &'t str,
    authorization: Option<&'t str>,
    body: Option<&'t str>,
}

fn curl(arguments: &str) -> Curl<'_> {
    let mut curl = Curl::default();
    let (head, body) = match arguments.split_once(" -d ") {
        Some((head, body)) => (head, Some(body)),
        None => (arguments, None),
    };
    curl.body = body;
    let mut words = head.split(' ');
    while let Some(word) = words.next() {
        match word {
            "-X" => curl.method = words.next(),
            "-H" => {
                assert_eq!(words.next(), Some("Authorization:"));
                curl.authorization = words.next();
            }
            path => curl.path = path,
        }
    }
    curl
}

struct Replay<'w> {
    web: &'w Web,
    /// Tokens that etcd gave, and ours.
    tokens: BTreeMap<String, String>,
}

impl Replay<'_> {
    async fn answer(&mut self, exchange: &Exchange) -> String {
        match exchange.request.split_once(' ') {
            Some(("curl", arguments)) => self.curl(arguments).await,
            Some(("POST", rest)) => self.watch(rest, exchange.answer.trim_end().lines().count()).await,
            _ => panic!("not understood: {}", exchange.request),
        }
    }

    async fn curl(&mut self, arguments: &str) -> String {
        let curl = curl(arguments);
        let authorization = match curl.authorization {
            // A token that cannot be good is the same everywhere.
            Some(token) if token.starts_with("nope") => Some(token.to_owned()),
            Some(token) => Some(self.token(token).await),
            None => None,
        };
        let headers: Vec<(&str, &str)> = authorization.iter().map(|token| ("authorization", token.as_str())).collect();
        let method = curl.method.unwrap_or(if curl.body.is_some() { "POST" } else { "GET" });
        let answer = self.web.ask(method, curl.path, &headers, curl.body.unwrap_or_default()).await;
        format!("{}  [HTTP {} {}]\n", answer.body, answer.status, answer.content_type)
    }

    async fn token(&mut self, theirs: &str) -> String {
        if let Some(ours) = self.tokens.get(theirs) {
            return ours.clone();
        }
        let answer = self.web.post("/v3/auth/authenticate", r#"{"name":"root","password":"pw"}"#).await;
        let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let ours = answer["token"].as_str().unwrap_or_default().to_owned();
        self.tokens.insert(theirs.to_owned(), ours.clone());
        ours
    }

    /// The transcript names two of its watches by what they are about; what the first one saw happened beside it.
    async fn watch(&self, rest: &str, lines: usize) -> String {
        let (path, about) = rest.split_once(' ').unwrap();
        let body = match about {
            "compacted" => r#"{"create_request":{"key":"Zm9v","start_revision":"1"}}"#,
            "future" => r#"{"create_request":{"key":"Zm9v","start_revision":"100"}}"#,
            body => body,
        };
        let mut stream = self.web.open(path, body).await;
        let mut read = format!("{}\n", stream.next().await.unwrap());
        if about.starts_with('{') {
            self.web.post("/v3/kv/put", r#"{"key":"Zm9v","value":"bmV3"}"#).await;
            self.web.post("/v3/kv/deleterange", r#"{"key":"Zm9v"}"#).await;
        }
        for _ in 1..lines {
            read.push_str(&format!("{}\n", stream.next().await.unwrap()));
        }
        read
    }
}

/// How the keys of locks and elections begin, in base64 as far as the transcript's names reach: `mylock/`, `elec/`. The
/// id of a lease of the server's own follows.
const KEYS_OF_LEASES: [&str; 2] = ["bXlsb2NrL", "ZWxlYy8"];

/// Whether two answers are alike, where a lease's remaining seconds may differ by one, and newer versions give a
/// reason for a canceled watch.
fn are_alike(ours: &str, theirs: &str) -> bool {
    let mut theirs = theirs.to_owned();
    for key in KEYS_OF_LEASES {
        if let Some((before, rest)) = theirs.split_once(key) {
            let behind = rest.split_once('"').map_or("", |(_, behind)| behind);
            theirs = format!("{before}{key}<any>\"{behind}");
        }
    }
    let theirs = theirs.replace(r#""compact_revision":"3"}}"#, r#""compact_revision":"3"<any>}}"#);
    let a_second_later = theirs.replace(r#""TTL":"4","#, r#""TTL":"5","#);
    is_like(ours, &theirs) || is_like(ours, &a_second_later)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_a_transcript_as_etcd_did() {
    let Some(path) = std::env::var_os("HOLDFAST_GATEWAY_TRANSCRIPT") else {
        println!("SKIPPED: HOLDFAST_GATEWAY_TRANSCRIPT=<file> replays a transcript of a real etcd");
        return;
    };
    let exchanges = parse(&std::fs::read_to_string(path).unwrap());
    assert!(!exchanges.is_empty());
    let server = server::start().await;
    let mut replay = Replay { web: &server.web, tokens: BTreeMap::new() };
    let (mut equal, mut known, mut wrong) = (0, 0, Vec::new());
    for exchange in &exchanges {
        let ours = normal(replay.answer(exchange).await.trim_end());
        let theirs = normal(exchange.answer.trim_end());
        let difference = DIFFERENCES.iter().find(|(start, _)| exchange.request.starts_with(start));
        match difference {
            _ if are_alike(&ours, &theirs) => equal += 1,
            Some((_, reason)) => {
                known += 1;
                println!("known difference at `{}`: {reason}", exchange.request);
            }
            None => wrong.push(format!("$ {}\n-- etcd\n{theirs}\n-- ours\n{ours}\n", exchange.request)),
        }
    }
    println!("{} exchanges: {equal} equal, {known} known differences, {} others", exchanges.len(), wrong.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    server.node.stop().await;
}
