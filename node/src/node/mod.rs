//! A node: built bottom-up, started, drained, stopped. The only place where the parts meet.
//!
//! ```text
//!   IDENTITY -> who am I?      (new cluster: computed; existing one: the peers tell)
//!   wal      -> vote, entries, holes
//!   storage  -> state as of the last flush
//!   raft     -> replays the rest, elects, replicates       <- peer port
//!   ops      -> proposes, reads, renews
//!   api      -> answers                                    <- client port
//!   gateway  -> puts JSON before it                        <- the same
//! ```
//!
//! What cannot start safely does not start: the error says which file, what is wrong, and what to do.

mod bootstrap;
mod error;
mod founding;
mod front;
mod identity;
mod opening;
mod restored;
mod restoring;
mod serving;
mod tokens;
mod unready;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use error::StartError;
pub use restoring::{Done, Restore, RestoreError, restore};

use crate::env::DiskLock;
use crate::io::Io;
use crate::metrics::{self, Metrics};
use crate::ops::{self, Deadline, Ops};
use crate::raft::{self, Applier, Holes, Member, Peers, Replica, Tally};
use crate::rt;
use crate::rt::watch::{WatchReceiver as _, WatchSender as _};
use crate::settings::Settings;
use crate::state;
use crate::storage::{Recent, Store};
use crate::tls::NodeTls;
use crate::watch::Hub;
use crate::{admin, api, gateway};
use front::Front;
use opening::{OpenedAll, Who, open_all, who_am_i};
use serving::{Listeners, Served, Serving, own_hosts};
use unready::Unready;

/// How long a stopping node may take to hand leadership over.
const HAND_OVER_MS: u64 = 2_000;
/// How long requests under way may take to finish when the node stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Memory for the rows of keys that were written last.
const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A running node.
pub struct Node {
    ops: Ops,
    store: Arc<Store>,
    /// Turns true when the node begins to stop.
    stopping: rt::watch::Sender<bool>,
    clients: Served,
    peers: Served,
    client_addresses: Vec<SocketAddr>,
    /// Turns true when the cluster knows this member, and so has a leader.
    ready: rt::watch::Receiver<bool>,
}

impl Node {
    /// Opens everything, takes the ports, and joins the cluster. Returns when requests are taken; a leader may not have
    /// been elected yet.
    pub async fn start(settings: Settings, io: Io) -> Result<Self, StartError> {
        // Certificates first: a start that is refused for them leaves no folder behind.
        let tls = NodeTls::open(&settings.tls, &own_hosts(&settings), &settings.data_dir, &io.disk).await?;
        let locks = opening::lock_directories(&settings, &io).await?;
        let settings = opening::taken_up(settings, &io).await?;
        let dial = tls.dial();
        let listeners = Listeners::bind(&settings, &tls).await?;
        let client_addresses = listeners.client.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        // The ports are served before anything is open: probes get an answer, and founders ask one another.
        let unready = Unready::new();
        let mut clients = Serving::with_streams_max(settings.limits.streams_max);
        clients.add_all(listeners.client, &unready.client_routes());
        clients.add_all(listeners.metrics, &unready.metrics_routes());
        let front = Front::closed();
        let mut peer_port = Serving::default();
        peer_port.add_all(listeners.peer, &front.routes());
        let who = who_am_i(&settings, &io, &dial, &front).await?;
        tracing::info!(
            name = settings.name,
            zone = settings.zone,
            cluster = %who.identity.cluster,
            member = %who.identity.member,
            "starting"
        );
        let tokens = tokens::read(&settings.auth.tokens, &io).await?;
        let opened = open_all(&settings, &io, &who).await?;
        let store = Arc::clone(&opened.store);
        let metrics = Metrics::new(&metrics::Identity {
            member_id: who.identity.member.to_string(),
            zone: settings.zone.clone(),
            etcd_version: api::ETCD_VERSION,
            holdfast_version: api::HOLDFAST_VERSION,
        });
        tls.watch(&metrics.tls);
        let peers = Peers::new(who.identity.cluster, who.identity.member, dial);
        let ops = build(&settings, &io, (&who, peers), opened, locks, &metrics).await?;

        let (stopping, stopping_seen) = rt::watch::channel(false);
        let options = api::Options {
            metrics: metrics.clone(),
            tokens,
            hash_cost: settings.auth.hash_cost,
            audit: settings.audit.clone(),
            disk: Arc::clone(&io.disk),
            watch_progress_interval: settings.watch_progress_interval,
            stopping: stopping_seen,
        };
        let grpc = api::client_services(&ops, &options);
        let admin = admin::routes(&ops, &metrics);
        let json = gateway::routes(&grpc, ops.limits(), &metrics);
        let http = gateway::guarded(admin.clone().merge(json), settings.access.clone());
        // The peer port first: without it there is no election.
        front.open(api::peer_routes(&ops, ops.replica().service(), admin::peer_routes(&ops, &metrics)));
        if let Some(first_members) = who.first_members
            && !ops.replica().is_initialized().await?
        {
            ops.replica().initialize(first_members).await?;
        }
        unready.open(api::with_http(grpc, http), admin);
        let (say_ready, ready) = rt::watch::channel(false);
        rt::spawn(publish(ops.clone(), settings, say_ready));
        let (clients, peers) = (clients.started(), peer_port.started());
        Ok(Self { ops, store, stopping, clients, peers, client_addresses, ready })
    }

    /// What the node can do, for tests that live in its process.
    pub fn ops(&self) -> &Ops {
        &self.ops
    }

    /// Resolves when the cluster knows this member, and so has a leader.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        while !*ready.borrow_and_update() {
            if ready.changed().await.is_err() {
                return;
            }
        }
    }

    /// Where clients are served. Useful when a port was chosen by the system.
    pub fn client_addresses(&self) -> &[SocketAddr] {
        &self.client_addresses
    }

    /// Hands leadership over, lets requests finish, and makes the state durable.
    pub async fn stop(&self) {
        self.ops.replica().stop_standing();
        if let Err(error) = self.ops.hand_over(Deadline::after_ms(HAND_OVER_MS)).await {
            tracing::warn!(%error, "leadership was not handed over; the others will elect");
        }
        // Open streams are told first, or the servers would wait for them.
        let _nobody_streams = self.stopping.send(true);
        self.clients.stop(DRAIN).await;
        // The leader's stream to this member ends with Raft, so the peer port comes last.
        self.ops.replica().shutdown().await;
        self.peers.stop(DRAIN).await;
        let store = Arc::clone(&self.store);
        match rt::blocking(move || store.engine().flush()).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the state could not be flushed; the log has it all"),
            Err(error) => tracing::error!(%error, "the state could not be flushed; the log has it all"),
        }
    }
}

/// Puts replication and operations on top of what was opened.
async fn build(
    settings: &Settings,
    io: &Io,
    (who, peers): (&Who, Peers),
    opened: OpenedAll,
    locks: Vec<Arc<dyn DiskLock>>,
    metrics: &Metrics,
) -> Result<Ops, StartError> {
    let lease_epoch = rt::now();
    let (applied_seen, applied) = rt::watch::channel(opened.applied.unwrap_or_default());
    let leases = Arc::new(Mutex::new(opened.leases));
    let hub = Hub::new(opened.revision, settings.limits.clone());
    let holes = Holes::new(opened.holes);
    let applier = Arc::new(Applier {
        store: Arc::clone(&opened.store),
        recent: Recent::new(RECENT_BYTES_MAX),
        machine: state::Machine,
        leases: Arc::clone(&leases),
        hub: Arc::clone(&hub),
        auth: Arc::clone(&opened.auth),
        halt: io.halt.clone(),
        member: peers.me(),
        holes: holes.clone(),
        changing: Arc::default(),
        tally: Tally::new(metrics.state.clone()),
        lease_epoch,
        applied: applied_seen,
    });
    let log = Arc::new(opened.log);
    who.founding.watch_log(Arc::clone(&log));
    let replica = Replica::start(raft::Parts {
        peers: peers.clone(),
        log,
        applier,
        disk: Arc::clone(&io.disk),
        incoming_dir: settings.data_dir.join("incoming"),
        timing: settings.timing.clone(),
        halt: io.halt.clone(),
        applied,
        metrics: metrics.clone(),
    })
    .await?;
    Ok(Ops::start(ops::Parts {
        replica,
        peers,
        store: opened.store,
        disk: Arc::clone(&io.disk),
        data_dir: settings.data_dir.clone(),
        wal_dir: settings.wal_dir.clone(),
        locks,
        leases,
        lease_epoch,
        hub,
        auth: opened.auth,
        limits: settings.limits.clone(),
        timing: settings.timing.clone(),
        auto_compaction: settings.auto_compaction,
        learners: settings.learners,
        holes,
        founding: Arc::clone(&who.founding),
        halt: io.halt.clone(),
        metrics: metrics.raft.clone(),
        space_metrics: metrics.space.clone(),
        state_metrics: metrics.state.clone(),
    }))
}

/// Tells the cluster who this member is; then says that the node is ready.
async fn publish(ops: Ops, settings: Settings, say_ready: rt::watch::Sender<bool>) {
    let me = Member {
        name: settings.name.clone(),
        peer_urls: settings.advertise_peer_urls.clone(),
        client_urls: settings.advertise_client_urls.clone(),
        zone: settings.zone.clone(),
        incarnation: ops.founding().incarnation().0,
        ..Member::default()
    };
    ops.publish(me).await;
    // The words of etcd, as all of these lines: its own tests, and scripts, wait for them.
    tracing::info!(
        "local-member-id" = %ops.me(),
        "cluster-id" = %ops.peers().cluster(),
        "published local member to cluster through raft"
    );
    tracing::info!("cluster-version" = api::ETCD_CLUSTER_VERSION, "enabled capabilities for version");
    tracing::info!(name = settings.name, urls = ?settings.advertise_client_urls, "ready to serve client requests");
    for url in &settings.listen_client_urls {
        if let Some(address) = url.strip_prefix("http://") {
            tracing::info!(address, "serving client traffic insecurely; this is strongly discouraged!");
        } else if let Some(address) = url.strip_prefix("https://") {
            tracing::info!(address, "serving client traffic securely");
        }
    }
    // Nobody may wait for it.
    let _nobody_waits = say_ready.send(true);
}
