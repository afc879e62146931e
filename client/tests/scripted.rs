//! The client against servers that follow a script: no network, no server, every failure on demand.
//!
//! Each test is a story about one request: what the endpoints do, how often they are asked, and what the caller is
//! told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use holdfast_client::proto::etcdserverpb::{PutResponse, RangeResponse, ResponseHeader, StatusResponse};
use holdfast_client::{Channel, Client, Code, Connector, Error, Fate, Options, not_connected};
use prost::Message;
use tonic::Status;

/// What an endpoint does with a request.
#[derive(Clone, Debug)]
enum Act {
    Answer,
    Fail(Code, &'static str),
    /// Takes the request and never answers.
    Hang,
    /// Takes the request and drops the connection.
    Break,
}

/// What comes of connecting to it.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Well,
    Refused,
    /// The first time; later ones are not answered.
    RefusedThenSilent,
}

/// One endpoint: whether it can be reached, and what it does with its first, second, … request. The last act goes on.
struct Endpoint {
    reach: Reach,
    acts: Vec<Act>,
    asked: AtomicUsize,
    member: u64,
    leader: u64,
}

struct World {
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Addresses in the order in which requests reached them.
    log: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        Self { endpoints: BTreeMap::new(), log: Arc::default() }
    }

    fn with(mut self, address: &str, acts: &[Act]) -> Self {
        let member = self.endpoints.len() as u64 + 1;
        let endpoint =
            Endpoint { reach: Reach::Well, acts: acts.to_vec(), asked: AtomicUsize::new(0), member, leader: 0 };
        self.endpoints.insert(address.into(), Arc::new(endpoint));
        self
    }

    fn unreachable(self, address: &str) -> Self {
        self.reached(address, Reach::Refused)
    }

    fn reached(mut self, address: &str, reach: Reach) -> Self {
        let endpoint = Endpoint { reach, acts: vec![Act::Answer], asked: AtomicUsize::new(0), member: 9, leader: 0 };
        self.endpoints.insert(address.into(), Arc::new(endpoint));
        self
    }

    /// All members agree that this one leads.
    fn led_by(mut self, leader: u64) -> Self {
        for endpoint in self.endpoints.values_mut() {
            Arc::get_mut(endpoint).expect("not shared yet").leader = leader;
        }
        self
    }

    fn client(self, options: Options) -> (Client, Arc<Mutex<Vec<String>>>) {
        let log = Arc::clone(&self.log);
        let addresses: Vec<String> = self.endpoints.keys().cloned().collect();
        (Client::with_connector(addresses, options, Arc::new(self)).expect("options"), log)
    }
}

impl Connector for World {
    fn connect(&self, address: &str) -> BoxFuture<'static, Result<Channel, Status>> {
        let endpoint = Arc::clone(&self.endpoints[address]);
        let (address, log) = (address.to_owned(), Arc::clone(&self.log));
        Box::pin(async move {
            match endpoint.reach {
                Reach::Well => {}
                Reach::RefusedThenSilent if endpoint.asked.fetch_add(1, Ordering::SeqCst) > 0 => {
                    std::future::pending::<()>().await;
                }
                Reach::Refused | Reach::RefusedThenSilent => return Err(not_connected("connection refused")),
            }
            Ok(Channel::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
                serve(Arc::clone(&endpoint), address.clone(), Arc::clone(&log), request.uri().path().to_owned())
            })))
        })
    }
}

async fn serve(
    endpoint: Arc<Endpoint>,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    path: String,
) -> Result<http::Response<tonic::body::Body>, Status> {
    let header = Some(ResponseHeader { member_id: endpoint.member, revision: 7, raft_term: 2, ..Default::default() });
    if path.ends_with("/Status") {
        return Ok(ok(&StatusResponse { header, leader: endpoint.leader, raft_term: 2, ..Default::default() }));
    }
    log.lock().expect("lock").push(address);
    let turn = endpoint.asked.fetch_add(1, Ordering::SeqCst).min(endpoint.acts.len() - 1);
    match &endpoint.acts[turn] {
        Act::Answer if path.ends_with("/Put") => Ok(ok(&PutResponse { header, ..Default::default() })),
        Act::Answer => Ok(ok(&RangeResponse { header, ..Default::default() })),
        Act::Fail(code, text) => Ok(Status::new(*code, *text).into_http()),
        Act::Hang => std::future::pending().await,
        Act::Break => Err(Status::unknown("transport error")),
    }
}

/// A unary gRPC answer: one framed message.
fn ok(message: &impl Message) -> http::Response<tonic::body::Body> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.encoded_len()).expect("small").to_be_bytes());
    frame.extend(message.encode_to_vec());
    http::Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "0")
        .body(tonic::body::Body::new(http_body_util::Full::new(bytes::Bytes::from(frame))))
        .expect("valid")
}

fn options() -> Options {
    Options {
        request_timeout: Duration::from_millis(800),
        read_attempt_timeout: Duration::from_millis(150),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_not_sent_again() {
    let (client, log) = World::new().with("a", &[Act::Break, Act::Answer]).client(options());
    let error = client.put("k", "v").await.expect_err("nobody knows what became of it");
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    assert_eq!(error.fate(), Fate::Unknown);
    assert_eq!(*log.lock().expect("lock"), ["a"]);
}

#[tokio::test]
async fn a_write_that_is_not_answered_in_time_has_an_unknown_fate() {
    let (client, log) = World::new().with("a", &[Act::Hang]).with("b", &[Act::Hang]).client(options());
    let begun = Instant::now();
    let error = client.put("k", "v").await.expect_err("hangs");
    assert_eq!(error.fate(), Fate::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(2), "the deadline holds");
    assert_eq!(log.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn a_write_that_possibly_timed_out_in_the_log_has_an_unknown_fate() {
    let text = "etcdserver: request timed out, possibly due to previous leader failure";
    let (client, log) = World::new().with("a", &[Act::Fail(Code::Unavailable, text)]).client(options());
    let error = client.put("k", "v").await.expect_err("unavailable");
    assert_eq!((error.fate(), error.message().as_str()), (Fate::Unknown, text));
    assert_eq!(log.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn a_write_moves_on_from_an_endpoint_that_cannot_be_reached() {
    let (client, log) = World::new().unreachable("a").unreachable("b").with("c", &[Act::Answer]).client(options());
    client.put("k", "v").await.expect("c takes it");
    assert_eq!(*log.lock().expect("lock"), ["c"]);
}

#[tokio::test]
async fn a_write_moves_on_from_a_member_without_a_leader() {
    let no_leader = Act::Fail(Code::Unavailable, "etcdserver: no leader");
    let (client, log) =
        World::new().with("a", std::slice::from_ref(&no_leader)).with("b", &[no_leader, Act::Answer]).client(options());
    client.put("k", "v").await.expect("b has one the second time");
    assert_eq!(log.lock().expect("lock").last().map(String::as_str), Some("b"));
}

#[tokio::test]
async fn when_nobody_can_be_reached_a_write_certainly_did_not_happen() {
    let (client, log) = World::new().unreachable("a").unreachable("b").client(options());
    let error = client.put("k", "v").await.expect_err("nobody there");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(error.fate(), Fate::NotExecuted);
    assert!(log.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn why_nobody_could_be_reached_is_said_though_the_last_attempt_had_no_time_to_find_out() {
    let (client, _) = World::new().reached("a", Reach::RefusedThenSilent).client(options());
    let error = client.put("k", "v").await.expect_err("nobody there");
    assert_eq!(error.fate(), Fate::NotExecuted);
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn a_refusal_is_final_and_verbatim() {
    let text = "etcdserver: mvcc: database space exceeded";
    let (client, log) = World::new().with("a", &[Act::Fail(Code::ResourceExhausted, text)]).client(options());
    let error = client.put("k", "v").await.expect_err("full");
    assert!(matches!(&error, Error::Refused { code: Code::ResourceExhausted, message } if message == text));
    assert_eq!(log.lock().expect("lock").len(), 1);
}

#[tokio::test]
async fn a_read_is_asked_again_elsewhere_when_its_endpoint_hangs_or_breaks() {
    for trouble in [Act::Hang, Act::Break, Act::Fail(Code::Unavailable, "etcdserver: leader changed")] {
        // Whichever endpoint is asked first is in trouble once, and then well.
        let acts = [trouble.clone(), Act::Answer];
        let (client, log) = World::new().with("a", &acts).with("b", &acts).client(options());
        client.get("k").await.unwrap_or_else(|error| panic!("{trouble:?}: {error}"));
        assert!(log.lock().expect("lock").len() >= 2, "{trouble:?}");
    }
}

/// A leader that stands still keeps its connections: nothing but its silence tells.
#[tokio::test]
async fn writes_pass_over_a_leader_that_does_not_answer() {
    let patient = Options { request_timeout: Duration::from_secs(5), ..options() };
    let world = World::new().with("a", &[Act::Answer]).with("b", &[Act::Answer, Act::Hang]).with("c", &[Act::Answer]);
    let (client, log) = world.led_by(2).client(patient);
    while log.lock().expect("lock").last().is_none_or(|last| last != "b") {
        client.put("k", "until it is known who leads").await.expect("answered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    let hanging = client.put("k", "to the leader");
    let elsewhere = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        client.put("k", "to another").await.expect("another member takes it");
        let took = begun.elapsed();
        // As long as an election may take: those that know of no leader are no worse than one that says nothing.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        client.put("k", "and again").await.expect("another member takes it");
        took
    };
    let took = tokio::select! {
        outcome = hanging => panic!("it hangs, and ended with {outcome:?}"),
        took = elsewhere => took,
    };
    assert!(took < Duration::from_millis(1500), "it took {took:?}");
    let log = log.lock().expect("lock");
    assert!(log[log.len() - 2..].iter().all(|address| address != "b"), "{log:?}");
}

#[tokio::test]
async fn reads_stay_where_they_are_and_writes_go_to_the_leader() {
    let (client, log) = World::new()
        .with("a", &[Act::Answer])
        .with("b", &[Act::Answer])
        .with("c", &[Act::Answer])
        .led_by(2)
        .client(options());
    assert_eq!(client.find_leader().await, Some(2));
    assert_eq!(client.leader_endpoint().as_deref(), Some("b"));
    for _ in 0..5 {
        client.get("k").await.expect("read");
    }
    for _ in 0..5 {
        client.put("k", "v").await.expect("write");
    }
    let log = log.lock().expect("lock");
    assert!(log[..5].iter().all(|address| *address == log[0]), "{log:?}");
    assert!(log[5..].iter().all(|address| address == "b"), "{log:?}");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_with_a_reason() {
    let pinging = Options { keep_alive_interval: Duration::from_secs(1), ..Options::default() };
    let error = Client::connect(["a"], pinging).expect_err("too often");
    assert!(error.to_string().contains("cut off"), "{error}");
    let hasty = Options { request_timeout: Duration::ZERO, ..Options::default() };
    assert!(Client::connect(["a"], hasty).is_err());
    assert!(Client::connect([""; 1], Options::default()).expect_err("none").to_string().contains("endpoint"));
}
