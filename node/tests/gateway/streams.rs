//! What a script cannot say: clients that hang up or keep talking, bodies without end, a node that stops.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::server::{self, Server};

const LIMIT: Duration = Duration::from_secs(10);

/// Waits until the node has this many watch streams.
async fn wait_streams(server: &Server, expected: usize) {
    let begun = Instant::now();
    while server.node.ops().hub().counts().streams != expected {
        assert!(begun.elapsed() < LIMIT, "{:?}, expected {expected} streams", server.node.ops().hub().counts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_its_watch() {
    let server = server::start().await;
    let mut lines = server.web.open("/v3/watch", r#"{"create_request":{"key":"YQ=="}}"#).await;
    assert_eq!((lines.status, lines.content_type.as_str()), (200, "application/json"));
    assert!(lines.next().await.unwrap().ends_with(r#""created":true}}"#));
    wait_streams(&server, 1).await;
    drop(lines);
    wait_streams(&server, 0).await;

    // Also one that was never answered: without a request there is nothing to say.
    let web = server.web.clone();
    let silent = tokio::spawn(async move { web.open("/v3/watch", "").await.status });
    wait_streams(&server, 1).await;
    silent.abort();
    assert!(silent.await.unwrap_err().is_cancelled());
    wait_streams(&server, 0).await;
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_go_on_talking() {
    let server = server::start().await;
    server.web.post("/v3/lease/grant", r#"{"ID":7,"TTL":600}"#).await;
    let (say, lines) = server.web.converse("/v3/lease/keepalive");
    say.send(r#"{"ID":7}"#.to_owned()).await.unwrap();
    let mut lines = lines.await;
    assert!(lines.next().await.unwrap().ends_with(r#""ID":"7","TTL":"600"}}"#));
    // A value may arrive in pieces.
    for piece in [r#" {"I"#, r#"D":"8""#, "}"] {
        say.send(piece.to_owned()).await.unwrap();
    }
    assert!(lines.next().await.unwrap().ends_with(r#""ID":"8"}}"#));
    drop(say);
    assert_eq!(lines.next().await, None);
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_in_the_middle_of_a_conversation_ends_the_clients_half_of_it() {
    let server = server::start().await;
    let first = server.web.post("/v3/watch", "bad").await;
    assert_eq!((first.status, first.content_type.as_str()), (400, "application/json"));
    assert!(first.body.contains(r#""code":3"#), "{}", first.body);
    let mut lines = server.web.open("/v3/watch", r#"{"create_request":{"key":"YQ=="}} bad"#).await;
    assert!(lines.next().await.unwrap().ends_with(r#""created":true}}"#));
    server.web.post("/v3/kv/put", r#"{"key":"YQ=="}"#).await;
    assert!(lines.next().await.unwrap().contains("events"));
    drop(lines);
    server.node.stop().await;
}

/// As in etcd, where JSON shares one connection to gRPC, and that has so many streams.
#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_wait_for_a_place() {
    let server = server::start_with(&[("max-concurrent-streams", "2")]).await;
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;
    let mut first = server.web.open("/v3/watch", watch).await;
    let mut second = server.web.open("/v3/watch", watch).await;
    assert!(first.next().await.unwrap().ends_with(r#""created":true}}"#));
    assert!(second.next().await.unwrap().ends_with(r#""created":true}}"#));
    let web = server.web.clone();
    let third = tokio::spawn(async move { web.post("/v3/kv/range", r#"{"key":"YQ=="}"#).await.status });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!third.is_finished(), "it has no place");
    drop(first);
    assert_eq!(tokio::time::timeout(LIMIT, third).await.unwrap().unwrap(), 200);
    drop(second);
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_tells_its_watchers() {
    let server = server::start().await;
    let mut lines = server.web.open("/v3/watch", r#"{"create_request":{"key":"YQ=="}}"#).await;
    lines.next().await.unwrap();
    server.node.stop().await;
    let expected = concat!(
        r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped","#,
        r#""http_status":"Service Unavailable","code":14}}"#
    );
    assert_eq!(lines.next().await.as_deref(), Some(expected));
    assert_eq!(lines.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_hurry_is_told_that_time_is_up() {
    let server = server::start().await;
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;
    let answer = server.web.ask("POST", "/v3/watch", &[("grpc-timeout", "300m")], watch).await;
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!((answer.status, lines.len()), (200, 2), "{}", answer.body);
    assert!(lines[0].ends_with(r#""created":true}}"#), "{}", lines[0]);
    assert!(
        lines[1].contains(r#""grpc_code":4,"http_code":504,"message":"context deadline exceeded""#),
        "{}",
        lines[1]
    );
    // A stream that has said nothing yet can still say it with its status.
    let silent = server.web.ask("POST", "/v3/watch", &[("grpc-timeout", "100m")], "").await;
    assert_eq!(silent.status, 504, "{}", silent.body);
    wait_streams(&server, 0).await;
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_in_pieces_with_its_digest_behind() {
    let server = server::start().await;
    server.web.post("/v3/kv/put", r#"{"key":"YQ==","value":"Yg=="}"#).await;
    let mut lines = server.web.open("/v3/maintenance/snapshot", "{}").await;
    let mut snapshot = Vec::new();
    while let Some(line) = lines.next().await {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        // The last piece may be the digest alone; no piece is empty.
        snapshot.extend(STANDARD.decode(line["result"]["blob"].as_str().unwrap()).unwrap());
    }
    let (file, digest) = snapshot.split_at(snapshot.len() - 32);
    assert_eq!(Sha256::digest(file).as_slice(), digest);
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let server = server::start_with(&[("max-request-bytes", "1000")]).await;
    let put = |bytes: usize| format!(r#"{{"key":"YQ==","value":"{}"}}"#, STANDARD.encode(vec![0; bytes]));
    let fits = server.web.post("/v3/kv/put", &put(900)).await;
    assert_eq!(fits.status, 200, "{}", fits.body);
    let over = server.web.post("/v3/kv/put", &put(1001)).await;
    assert_eq!(over.status, 400);
    assert!(over.body.contains("etcdserver: request is too large"), "{}", over.body);
    // Larger than a message may be at all: refused before it is looked at.
    let far_over = server.web.post("/v3/kv/put", &put(600_000)).await;
    assert_eq!(far_over.status, 429);
    assert!(far_over.body.contains("received message larger than max (600007 vs. 525288)"), "{}", far_over.body);
    let endless = server.web.post("/v3/kv/put", &" ".repeat(3_000_000)).await;
    assert_eq!(endless.status, 429, "{}", endless.body);
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_hosts_are_let_in_by_the_lists() {
    let server = server::start_with(&[("cors", "https://a.example"), ("host-whitelist", "127.0.0.1")]).await;
    let origin = |answer: &crate::web::Answer| {
        answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    for path in ["/v3/kv/range", "/version"] {
        let method = if path == "/version" { "GET" } else { "POST" };
        let good = server.web.ask(method, path, &[("origin", "https://a.example")], r#"{"key":"YQ=="}"#).await;
        assert_eq!((good.status, origin(&good).as_deref()), (200, Some("https://a.example")), "{path}");
        let other = server.web.ask(method, path, &[("origin", "https://b.example")], r#"{"key":"YQ=="}"#).await;
        assert_eq!((other.status, origin(&other)), (200, None), "{path}");
    }
    server.node.stop().await;

    let server = server::start_unready(&[("host-whitelist", "db.example")]).await;
    let rebound = server.web.post("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
    assert_eq!(rebound.status, 421, "{}", rebound.body);
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_method_and_code() {
    let server = server::start().await;
    for body in [r#"{"key":"YQ=="}"#, r#"{"key":"YQ=="}"#, "bad"] {
        server.web.post("/v3/kv/range", body).await;
    }
    server.web.post("/v3/nope", "").await;
    let metrics = server.web.ask("GET", "/metrics", &[], "").await.body;
    let method = r#"grpc_method="Range",grpc_service="etcdserverpb.KV""#;
    for line in [
        format!("holdfast_gateway_requests_total{{{method},http_code=\"200\"}} 2"),
        format!("holdfast_gateway_requests_total{{{method},http_code=\"400\"}} 1"),
        r#"holdfast_gateway_requests_total{grpc_method="unknown",grpc_service="unknown",http_code="404"} 1"#.to_owned(),
        // The call behind it is a call like any other.
        format!("grpc_server_started_total{{{method},grpc_type=\"unary\"}} 2"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
    server.node.stop().await;
}
