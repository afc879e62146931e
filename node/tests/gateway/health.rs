//! gRPC's health protocol and reflection, on the same port.

use std::time::Duration;

use futures::StreamExt;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::PutRequest;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::health::HealthCheckRequest;
use holdfast_proto::health::health_check_response::ServingStatus;
use holdfast_proto::health::health_client::HealthClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::Code;
use tonic_reflection::pb::{v1, v1alpha};

use crate::server::{self, Server};
use crate::web::Web;

fn channel(server: &Server) -> rt::Channel {
    channel_to(&server.web)
}

fn channel_to(web: &Web) -> rt::Channel {
    rt::connect(&format!("http://{}", web.address), &rt::PeerTls::default()).unwrap()
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_node_serves_each_of_its_services() {
    let server = server::start().await;
    let mut health = HealthClient::new(channel(&server));
    for service in ["", "etcdserverpb.KV", "etcdserverpb.Watch", "holdfast.v1.Topology"] {
        let answer = health.check(about(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(about("no.such.Service")).await.unwrap_err().code(), Code::NotFound);

    let mut unknown = health.watch(about("no.such.Service")).await.unwrap().into_inner();
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut all = health.watch(about("")).await.unwrap().into_inner();
    assert_eq!(all.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // Nothing is said again while nothing changes; whoever watches hears of the stop.
    assert!(tokio::time::timeout(Duration::from_millis(1500), all.next()).await.is_err());
    server.node.stop().await;
    assert_eq!(all.next().await.unwrap().unwrap_err().message(), "etcdserver: server stopped");
}

/// What the client port of a founder that waits says, until it is told to go on.
async fn look_at_a_waiting_founder(web: &Web, go_on: oneshot::Sender<()>) {
    server::wait_well(web, "/livez").await;
    let ready = web.ask("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with("[-]started failed: etcdserver: no leader"), "{}", ready.body);
    let classic = web.ask("GET", "/health", &[], "").await;
    assert_eq!((classic.status, classic.body.as_str()), (503, r#"{"health":"false","reason":"RAFT NO LEADER"}"#));
    assert_eq!(web.ask("GET", "/version", &[], "").await.status, 200);

    let mut health = HealthClient::new(channel_to(web));
    assert_eq!(health.check(about("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    let mut watch = health.watch(about("etcdserverpb.KV")).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);

    // A connection that was made early is as good as a later one.
    let mut early_connection = TcpStream::connect(web.address).await.unwrap();
    // Whoever is a little early waits a little.
    let mut kv = KvClient::new(channel_to(web));
    let mut early = Box::pin(kv.put(PutRequest { key: b"early".as_slice().into(), ..PutRequest::default() }));
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut early).await.is_err());
    go_on.send(()).unwrap();
    if let Err(status) = early.await {
        // On a machine that is short of time.
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    let mut watch = health.watch(about("etcdserverpb.KV")).await.unwrap().into_inner();
    while watch.next().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    early_connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: early\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    early_connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(health.check(about("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_waits_says_so() {
    // Neither of two founders can start alone.
    let urls = [server::free_address(), server::free_address()].map(|address| format!("http://{address}"));
    let members = format!("default={},other={}", urls[0], urls[1]);
    let web = Web { address: server::free_address() };
    let client = format!("http://{}", web.address);
    let one = [
        ("listen-peer-urls", urls[0].as_str()),
        ("initial-cluster", members.as_str()),
        ("listen-client-urls", client.as_str()),
    ];
    let two = [("name", "other"), ("listen-peer-urls", urls[1].as_str()), ("initial-cluster", members.as_str())];
    let (go_on, seen) = oneshot::channel();
    let other = async {
        seen.await.expect("the waiting founder was looked at");
        server::start_unready(&two).await
    };
    let look = look_at_a_waiting_founder(&web, go_on);
    let (server, other, ()) = tokio::join!(server::start_unready(&one), other, look);
    other.node.stop().await;
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_can_ask_what_is_spoken() {
    let server = server::start().await;
    let expected = ["etcdserverpb.KV", "etcdserverpb.Watch", "grpc.health.v1.Health", "holdfast.v1.Topology"];

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(&server));
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("peer")), "{names:?}");

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&server));
    let symbol = "etcdserverpb.RangeRequest".to_owned();
    let symbol = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let found = matches!(answer, v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_));
    assert!(found, "{answer:?}");
    server.node.stop().await;
}
