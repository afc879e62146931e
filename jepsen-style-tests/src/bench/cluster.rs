//! A running contender: its member processes, who leads them, how far they are, and whether what was written is there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use holdfast_proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest, StatusRequest, StatusResponse};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::bench::contender::{Contender, Kind, Place};
use crate::bench::dataset::Dataset;
use crate::bench::error::BenchError;
use crate::bench::process::{Ports, Process};

const ZONES: [&str; 3] = ["a", "b", "c"];
const START_LIMIT: Duration = Duration::from_secs(60);
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const FILL_LIMIT: Duration = Duration::from_secs(300);
const COMPACTION_LIMIT: Duration = Duration::from_secs(120);
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Between two questions to a cluster that is not yet where it should be.
const PAUSE: Duration = Duration::from_millis(50);
const FILL_TASKS: usize = 48;
const PROBE_KEYS: usize = 30;

pub struct Cluster {
    pub contender: Contender,
    members: Vec<Member>,
}

struct Member {
    url: String,
    channel: Channel,
    process: Process,
}

/// Who led, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Position among the members.
    at: usize,
    term: u64,
}

/// A cluster at rest: everybody is at this revision.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub leader: Leader,
    pub revision: i64,
}

impl Cluster {
    /// Starts all members, and waits until each one takes writes and they agree who leads.
    pub async fn start(contender: &Contender, folder: &Path, ports: &mut Ports) -> Result<Self, BenchError> {
        let mut places = Vec::new();
        for zone in ZONES.into_iter().take(contender.members()) {
            let url = |port| format!("http://127.0.0.1:{port}");
            let (client_url, peer_url) = (url(ports.take()?), url(ports.take()?));
            places.push(Place { name: format!("{}-{zone}", contender.kind), zone, client_url, peer_url });
        }
        let mut members = Vec::new();
        for place in &places {
            let command = contender.command(place, &places, &folder.join(&place.name));
            let process = Process::start(&place.name, command, folder)?;
            let channel = endpoint(&place.client_url)?.connect_lazy();
            members.push(Member { url: place.client_url.clone(), channel, process });
        }
        let mut cluster = Self { contender: contender.clone(), members };
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.process.id()).collect()
    }

    /// An error if a member has ended.
    pub fn check(&mut self) -> Result<(), BenchError> {
        self.members.iter_mut().try_for_each(|member| member.process.check())
    }

    async fn wait_ready(&mut self) -> Result<(), BenchError> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let Err(not_yet) = self.try_ready().await else { return Ok(()) };
            if begun.elapsed() > START_LIMIT {
                return Err(self.not_ready(START_LIMIT, not_yet.to_string()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_ready(&self) -> Result<(), BenchError> {
        for member in &self.members {
            member.put(Bytes::from_static(b"ready"), Bytes::from_static(b"?")).await?;
        }
        self.leader().await.map(|_| ())
    }

    fn not_ready(&self, limit: Duration, why: String) -> BenchError {
        let log = self.members[0].process.log_tail();
        BenchError::NotReady { name: self.contender.label.clone(), seconds: limit.as_secs(), why, log }
    }

    /// The leader all members agree on.
    async fn leader(&self) -> Result<Leader, BenchError> {
        if self.contender.kind == Kind::Null {
            return Ok(Leader { at: 0, term: 0 });
        }
        let mut seen = Vec::new();
        for member in &self.members {
            let status = member.status().await?;
            let id = status.header.map_or(0, |header| header.member_id);
            seen.push((id, status.leader, status.raft_term));
        }
        let (_, leader, term) = seen[0];
        let at = seen.iter().position(|(id, _, _)| *id == leader);
        match at {
            Some(at) if leader != 0 && seen.iter().all(|(_, l, t)| (*l, *t) == (leader, term)) => {
                Ok(Leader { at, term })
            }
            _ => Err(self.members[0].failed("leader", "the members do not agree who leads")),
        }
    }

    /// Waits until all members agree who leads and have applied everything: a serializable get from one that lags
    /// would be measured against an older state, and find nothing right after the first fill.
    pub async fn settle(&self) -> Result<Settled, BenchError> {
        let begun = Instant::now();
        loop {
            let not_yet = match self.try_settled().await {
                Ok(settled) => return Ok(settled),
                Err(not_yet) => not_yet,
            };
            if begun.elapsed() > SETTLE_LIMIT {
                return Err(self.not_ready(SETTLE_LIMIT, not_yet.to_string()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_settled(&self) -> Result<Settled, BenchError> {
        let revision = self.members[0].get(b"ready", Consistency::Linearizable).await?.revision;
        for member in &self.members {
            let at = member.get(b"ready", Consistency::Serializable).await?.revision;
            if at < revision {
                return Err(member.failed("settle", format!("at revision {at}, behind {revision}")));
            }
        }
        Ok(Settled { leader: self.leader().await?, revision })
    }

    /// URLs for the generator to spread its connections over, the leader's first.
    pub fn urls(&self, leader: Leader) -> Vec<String> {
        let mut urls: Vec<_> = self.members.iter().map(|member| member.url.clone()).collect();
        urls.rotate_left(leader.at);
        urls
    }

    /// Writes every key of a data set once.
    pub async fn fill(&self, dataset: &Arc<Dataset>) -> Result<(), BenchError> {
        if self.contender.kind == Kind::Null {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for first in 0..FILL_TASKS {
            let member = &self.members[first % self.members.len()];
            let mut kv = KvClient::new(member.channel.clone());
            let puts = dataset.fill(first, FILL_TASKS);
            tasks.spawn(async move {
                for put in puts {
                    kv.put(put).await?;
                }
                Ok::<(), Status>(())
            });
        }
        let filled = timeout(FILL_LIMIT, async {
            while let Some(task) = tasks.join_next().await {
                task?.map_err(|status| self.members[0].failed("fill", describe(&status)))?;
            }
            Ok(())
        });
        filled.await.unwrap_or_else(|_| Err(self.members[0].failed("fill", "it takes too long")))
    }

    /// Drops all history and waits for it, so that the next run starts from the same amount of data, and the work of
    /// dropping is not done during somebody else's turn.
    pub async fn compact(&self, revision: i64) -> Result<(), BenchError> {
        if self.contender.kind == Kind::Null {
            return Ok(());
        }
        let member = &self.members[0];
        let request = CompactionRequest { revision, physical: true };
        let mut kv = KvClient::new(member.channel.clone());
        match timeout(COMPACTION_LIMIT, kv.compact(request)).await {
            Ok(answer) => answer.map(|_| ()).map_err(|status| member.failed("compact", describe(&status))),
            Err(_) => Err(member.failed("compact", "it takes too long")),
        }
    }

    /// What is written through one member is read through every other one, with its value.
    pub async fn verify(&self) -> Result<(), BenchError> {
        if self.contender.kind == Kind::Null {
            return Ok(());
        }
        for number in 0..PROBE_KEYS {
            let (key, value) = (format!("probe/{number}"), Bytes::from(format!("value {number}")));
            self.members[number % self.members.len()].put(key.clone().into(), value.clone()).await?;
            for member in &self.members {
                let read = member.get(key.as_bytes(), Consistency::Linearizable).await?.value;
                if read.as_ref() != Some(&value) {
                    let what = format!("{key} is {read:?} through {} and was written as {value:?}", member.url);
                    return Err(BenchError::WrongAnswer { server: self.contender.label.clone(), what });
                }
            }
        }
        Ok(())
    }
}

struct Read {
    revision: i64,
    value: Option<Bytes>,
}

#[derive(PartialEq)]
enum Consistency {
    Linearizable,
    Serializable,
}

impl Member {
    fn failed(&self, what: &'static str, why: impl ToString) -> BenchError {
        BenchError::Call { what, url: self.url.clone(), why: why.to_string() }
    }

    async fn limited<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, BenchError> {
        match timeout(CALL_LIMIT, call).await {
            Ok(answer) => {
                answer.map(tonic::Response::into_inner).map_err(|status| self.failed(what, describe(&status)))
            }
            Err(_) => Err(self.failed(what, format!("no answer within {} s", CALL_LIMIT.as_secs()))),
        }
    }

    async fn put(&self, key: Bytes, value: Bytes) -> Result<(), BenchError> {
        let mut kv = KvClient::new(self.channel.clone());
        self.limited("put", kv.put(PutRequest { key, value, ..PutRequest::default() })).await.map(|_| ())
    }

    async fn get(&self, key: &[u8], consistency: Consistency) -> Result<Read, BenchError> {
        let serializable = consistency == Consistency::Serializable;
        let request = RangeRequest { key: Bytes::copy_from_slice(key), serializable, ..RangeRequest::default() };
        let mut kv = KvClient::new(self.channel.clone());
        let answer = self.limited("get", kv.range(request)).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok(Read { revision, value: answer.kvs.into_iter().next().map(|kv| kv.value) })
    }

    async fn status(&self) -> Result<StatusResponse, BenchError> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        self.limited("status", maintenance.status(StatusRequest::default())).await
    }
}

pub fn endpoint(url: &str) -> Result<Endpoint, BenchError> {
    let parsed = Endpoint::from_shared(url.to_owned());
    let parsed = parsed.map_err(|e| BenchError::Call { what: "connect", url: url.to_owned(), why: e.to_string() })?;
    Ok(parsed.connect_timeout(CALL_LIMIT))
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
