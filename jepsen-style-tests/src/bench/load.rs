//! One run: a number of clients, each with one request under way, against one cluster.
//!
//! ```text
//!   start          measure                      stop
//!     |-- warm-up --|---------- window ----------|-- stragglers, at most 10 s --|
//!                   cpu                          cpu
//! ```
//!
//! The rate counts what is answered inside the window, over the same time as the CPU. A request that is under way when
//! the window ends still gives its latency: the slowest ones would be missing otherwise. Errors count in every phase.
//!
//! Clients share connections, as the clients of a process do. Connections are dealt round the members from the leader
//! on: one client talks to the leader, many are spread evenly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use holdfast_proto::etcdserverpb::kv_client::KvClient;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::Channel;

use crate::bench::args::Cell;
use crate::bench::cluster::endpoint;
use crate::bench::dataset::{Dataset, Request, Requests};
use crate::bench::error::BenchError;
use crate::bench::latency::{Latencies, Percentiles};
use crate::bench::proc_stat;

const STRAGGLER_LIMIT: Duration = Duration::from_secs(10);
/// A client that was refused waits, or refusals would be the load.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

pub struct Load {
    pub cell: Cell,
    pub round: u32,
    pub dataset: Arc<Dataset>,
    /// Where to connect to, the leader first.
    pub urls: Vec<String>,
    pub connections_max: u32,
    pub warm_up: Duration,
    pub window: Duration,
    /// The processes of the server.
    pub pids: Vec<u32>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Answered inside the window.
    pub operations: u64,
    pub window_s: f64,
    pub latency: Percentiles,
    /// Of the puts and of the gets alone; they differ in the mixed workload.
    pub put: Percentiles,
    pub get: Percentiles,
    pub server_cpu_s: f64,
    pub generator_cpu_s: f64,
    /// All members together, at the end of the window.
    pub server_resident_bytes: u64,
    /// Puts acknowledged in all phases.
    pub acknowledged_puts: u64,
    /// By gRPC code, or by what was wrong with the answer.
    pub errors: BTreeMap<String, ErrorCount>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ErrorCount {
    pub count: u64,
    /// The first one's message.
    pub example: String,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.window_s
    }

    pub fn server_cpu_us(&self) -> f64 {
        per_operation_us(self.server_cpu_s, self.operations)
    }

    pub fn generator_cpu_us(&self) -> f64 {
        per_operation_us(self.generator_cpu_s, self.operations)
    }

    pub fn error_count(&self) -> u64 {
        self.errors.values().map(|errors| errors.count).sum()
    }

    pub fn note_error(&mut self, kind: &str, count: u64, example: String) {
        add_errors(&mut self.errors, kind, ErrorCount { count, example });
    }
}

fn per_operation_us(seconds: f64, operations: u64) -> f64 {
    if operations == 0 { 0.0 } else { seconds * 1e6 / operations as f64 }
}

fn add_errors(errors: &mut BTreeMap<String, ErrorCount>, kind: &str, more: ErrorCount) {
    let known = errors.entry(kind.to_owned()).or_insert_with(|| ErrorCount { count: 0, example: more.example });
    known.count += more.count;
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    WarmUp,
    Window,
    Over,
}

/// What all clients look at after every answer.
struct Clock(AtomicU8);

impl Clock {
    fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Window,
            _ => Phase::Over,
        }
    }
}

/// What one client has seen, and then what all have.
#[derive(Default)]
struct Tally {
    operations: u64,
    puts: Latencies,
    gets: Latencies,
    acknowledged_puts: u64,
    errors: BTreeMap<String, ErrorCount>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.puts.append(other.puts);
        self.gets.append(other.gets);
        self.acknowledged_puts += other.acknowledged_puts;
        for (kind, more) in other.errors {
            add_errors(&mut self.errors, &kind, more);
        }
    }
}

pub async fn run(load: Load) -> Result<Measured, BenchError> {
    let channels = connect(&load).await?;
    let clock = Arc::new(Clock(AtomicU8::new(Phase::WarmUp as u8)));
    let mut clients = JoinSet::new();
    for number in 0..load.cell.clients {
        let kv = KvClient::new(channels[number as usize % channels.len()].clone());
        let requests = load.dataset.requests(&load.cell, load.round, number);
        clients.spawn(drive(kv, requests, Arc::clone(&clock)));
    }

    let own = [std::process::id()];
    sleep(load.warm_up).await;
    let (server_before, own_before) = (proc_stat::cpu(&load.pids), proc_stat::cpu(&own));
    let begun = Instant::now();
    clock.set(Phase::Window);
    sleep(load.window).await;
    clock.set(Phase::Over);
    let window_s = begun.elapsed().as_secs_f64();
    let (server_after, own_after) = (proc_stat::cpu(&load.pids), proc_stat::cpu(&own));
    let server_resident_bytes = proc_stat::resident_bytes(&load.pids);

    let tally = gather(clients).await?;
    let mut all = tally.puts.clone();
    all.append(tally.gets.clone());
    Ok(Measured {
        operations: tally.operations,
        window_s,
        latency: all.percentiles(),
        put: tally.puts.percentiles(),
        get: tally.gets.percentiles(),
        server_cpu_s: (server_after - server_before).duration().as_secs_f64(),
        generator_cpu_s: (own_after - own_before).duration().as_secs_f64(),
        server_resident_bytes,
        acknowledged_puts: tally.acknowledged_puts,
        errors: tally.errors,
    })
}

async fn connect(load: &Load) -> Result<Vec<Channel>, BenchError> {
    let count = load.cell.clients.min(load.connections_max) as usize;
    let mut channels = Vec::with_capacity(count);
    for url in load.urls.iter().cycle().take(count) {
        let channel = endpoint(url)?.connect().await;
        let why = |error: tonic::transport::Error| format!("{error:?}");
        channels.push(channel.map_err(|e| BenchError::Call { what: "connect", url: url.clone(), why: why(e) })?);
    }
    Ok(channels)
}

async fn gather(mut clients: JoinSet<Tally>) -> Result<Tally, BenchError> {
    let mut tally = Tally::default();
    let joining = timeout(STRAGGLER_LIMIT, async {
        while let Some(client) = clients.join_next().await {
            tally.add(client?);
        }
        Ok::<(), BenchError>(())
    });
    match joining.await {
        Ok(joined) => joined?,
        Err(_) => {
            let example = format!("no answer {} s after the end of the window", STRAGGLER_LIMIT.as_secs());
            add_errors(&mut tally.errors, "unanswered", ErrorCount { count: clients.len() as u64, example });
        }
    }
    Ok(tally)
}

async fn drive(mut kv: KvClient<Channel>, mut requests: Requests, clock: Arc<Clock>) -> Tally {
    let mut tally = Tally::default();
    let value_bytes = requests.value_bytes();
    while clock.phase() != Phase::Over {
        let request = requests.draw();
        let is_put = matches!(request, Request::Put(_));
        let begun = Instant::now();
        let answer = ask(&mut kv, request, value_bytes).await;
        let took = begun.elapsed();
        if let Err(fault) = answer {
            let (kind, example) = fault.describe();
            add_errors(&mut tally.errors, &kind, ErrorCount { count: 1, example });
            sleep(AFTER_AN_ERROR).await;
            continue;
        }
        tally.acknowledged_puts += u64::from(is_put);
        let phase = clock.phase();
        if phase == Phase::WarmUp {
            continue;
        }
        tally.operations += u64::from(phase == Phase::Window);
        if is_put { tally.puts.push(took) } else { tally.gets.push(took) }
    }
    tally
}

enum Fault {
    Refused(Status),
    WrongAnswer(String),
}

impl Fault {
    fn describe(&self) -> (String, String) {
        match self {
            Self::Refused(status) => (format!("{:?}", status.code()), status.message().to_owned()),
            Self::WrongAnswer(what) => ("wrong answer".to_owned(), what.clone()),
        }
    }
}

async fn ask(kv: &mut KvClient<Channel>, request: Request, value_bytes: usize) -> Result<(), Fault> {
    match request {
        Request::Put(put) => {
            let answer = kv.put(put).await.map_err(Fault::Refused)?.into_inner();
            match answer.header {
                Some(header) if header.revision > 0 => Ok(()),
                _ => Err(Fault::WrongAnswer("a put without a revision".to_owned())),
            }
        }
        Request::Get(get) => {
            let key = get.key.clone();
            let answer = kv.range(get).await.map_err(Fault::Refused)?.into_inner();
            match answer.kvs.as_slice() {
                [kv] if kv.key == key && kv.value.len() == value_bytes => Ok(()),
                kvs => {
                    let sizes: Vec<_> = kvs.iter().map(|kv| kv.value.len()).collect();
                    Err(Fault::WrongAnswer(format!("{key:?} of {value_bytes} bytes came back with sizes {sizes:?}")))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::bench::args::Workload;
    use crate::bench::null_server;

    /// A short run against the server that stores nothing, inside this process.
    async fn run_against_nothing(workload: Workload, value_bytes: u32) -> Measured {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let server = tokio::spawn(null_server::answer(port));
        let url = format!("http://{port}");
        while endpoint(&url).expect("a url").connect().await.is_err() {
            tokio::task::yield_now().await;
        }
        let load = Load {
            cell: Cell { workload, value_bytes, clients: 3 },
            round: 0,
            dataset: Dataset::new(10, value_bytes, 1),
            urls: vec![url],
            connections_max: 2,
            warm_up: Duration::ZERO,
            window: Duration::from_millis(100),
            pids: Vec::new(),
        };
        let measured = run(load).await.expect("it runs");
        server.abort();
        measured
    }

    #[tokio::test]
    async fn answers_are_counted_and_timed() {
        let measured = run_against_nothing(Workload::Mixed, 256).await;
        assert!(measured.operations > 0 && measured.errors.is_empty(), "{measured:?}");
        assert!(measured.acknowledged_puts > 0, "{measured:?}");
        assert!(measured.put.max_us > 0 && measured.get.max_us > 0, "{measured:?}");
        assert_eq!(measured.latency.max_us, measured.put.max_us.max(measured.get.max_us));
    }

    #[tokio::test]
    async fn a_value_of_the_wrong_size_is_an_error_and_no_operation() {
        let longer = u32::try_from(null_server::VALUE_BYTES_MAX).expect("small") + 1;
        let measured = run_against_nothing(Workload::Get, longer).await;
        assert_eq!(measured.operations, 0, "{measured:?}");
        assert!(measured.errors["wrong answer"].count > 0, "{measured:?}");
    }

    #[tokio::test]
    async fn a_server_that_goes_away_is_an_error_and_ends_the_run() {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let kv = KvClient::new(endpoint(&format!("http://{port}")).expect("a url").connect_lazy());
        let clock = Arc::new(Clock(AtomicU8::new(Phase::Window as u8)));
        let cell = Cell { workload: Workload::Put, value_bytes: 1, clients: 1 };
        let client = tokio::spawn(drive(kv, Dataset::new(1, 1, 1).requests(&cell, 0, 0), Arc::clone(&clock)));
        sleep(AFTER_AN_ERROR * 3).await;
        clock.set(Phase::Over);
        let tally = client.await.expect("it ends");
        assert_eq!((tally.operations, tally.acknowledged_puts), (0, 0));
        assert!(tally.errors["Unavailable"].count > 0, "{:?}", tally.errors);
    }
}
