//! A client for Holdfast, and for any server that speaks the etcd v3 API.
//!
//! ```no_run
//! use holdfast_client::{Client, Options};
//!
//! # async fn example() -> Result<(), holdfast_client::Error> {
//! let client = Client::connect(["10.0.1.1:2379", "10.0.2.1:2379", "10.0.3.1:2379"], Options::default())?;
//!
//! client.put("greeting", "hello").await?;
//! let answer = client.get("greeting").await?;
//! assert_eq!(answer.kvs[0].value, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Did it happen?
//!
//! A client that loses its connection in the middle of a write cannot know whether the write was executed. This one
//! never guesses, and never sends such a write twice. It says which of three things is the case:
//!
//! | result | the write | what to do |
//! |---|---|---|
//! | `Ok` | is on disk on a quorum | go on |
//! | [`Error::Unknown`] | may have been executed, or may yet be | read the key, then decide |
//! | any other error | was not executed, and will not be | repeat it, or give up |
//!
//! Reads, and writes that certainly never reached the log, are repeated by the client itself: on another endpoint,
//! with growing jittered pauses, until [`Options::request_timeout`]. The rules are in [`retry`].
//!
//! ```no_run
//! # use holdfast_client::{Client, Error, Fate};
//! # async fn example(client: Client) -> Result<(), Error> {
//! match client.put("balance", "100").await {
//!     Ok(answer) => println!("written at revision {}", answer.header.unwrap_or_default().revision),
//!     Err(error) if error.fate() == Fate::Unknown => println!("look before you write again: {error}"),
//!     Err(error) => println!("nothing happened: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Transactions
//!
//! ```no_run
//! # use holdfast_client::{Client, Compare, Error, Get, Put};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let answer = client
//!     .txn()
//!     .when(Compare::missing("lock"))
//!     .then(Put::new("lock", "mine"))
//!     .otherwise(Get::new("lock"))
//!     .await?;
//! println!("{}", if answer.succeeded { "the lock is mine" } else { "somebody was faster" });
//! # Ok(())
//! # }
//! ```
//!
//! # Watching
//!
//! A [`Watch`] is a stream that survives the loss of its server: it goes on elsewhere, at the first revision it has
//! not delivered. Every change comes exactly once, in order. To follow a range from a known state, read it and watch
//! from the next revision:
//!
//! ```no_run
//! # use futures::StreamExt;
//! # use holdfast_client::{Client, Error, Update};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let state = client.get("config/").prefix().await?;
//! let revision = state.header.unwrap_or_default().revision;
//!
//! let mut watch = client.watch("config/").prefix().start_revision(revision + 1).await?;
//! while let Some(update) = watch.next().await {
//!     match update {
//!         Ok(Update::Events { events, .. }) => println!("{} changes", events.len()),
//!         Ok(Update::Progress { header }) => println!("nothing new up to {}", header.revision),
//!         Err(Error::Compacted { compact_revision }) => {
//!             println!("too slow: read the range again (history begins at {compact_revision})");
//!         }
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Leases
//!
//! ```no_run
//! # use holdfast_client::{Client, Error};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let lease = client.lease_grant(10).await?;
//! client.put("workers/7", "up").lease(lease.id).await?;
//!
//! let keeper = client.lease_keep_alive(lease.id).await?; // renews until it is dropped
//! let why = keeper.lost().await; // returns only when the lease is gone
//! println!("no longer registered: {why}");
//! # Ok(())
//! # }
//! ```
//!
//! # Locks and elections
//!
//! ```no_run
//! # use holdfast_client::{Client, Code, Error};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let lock = client.lock("jobs", 10).await?; // kept alive; its lease ends 10 s after the last renewal
//! // Refused if this process was paused so long that somebody else holds the lock by now.
//! match lock.guarded().put("config", "new").await {
//!     Ok(_) => lock.unlock().await?,
//!     Err(Error::Refused { code: Code::FailedPrecondition, message }) => println!("too late: {message}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Lock::token`] is the fencing token, for whatever else the lock protects. [`Client::campaign`], [`Client::leader`]
//! and [`Client::observe`] are the same for elections.
//!
//! # TLS
//!
//! Endpoints whose URL says `https` are spoken to with TLS. [`Tls`] says whom to believe and what to show; without it,
//! the authorities of the machine are believed, and nothing is shown.
//!
//! # Being somebody
//!
//! In a cluster with authentication, say who you are with [`Options::login`]. The client fetches a token when it
//! connects, and a new one whenever a server asks for it.
//!
//! # Finding the way
//!
//! Connections are made when first needed. Reads stick to one endpoint, chosen at random, as long as it works;
//! writes go straight to the leader once the client has learned who that is, and to any member before. An endpoint
//! that fails is passed over for a while. See [`Options`] for the time limits, all finite, and
//! [`Client::sync_endpoints`] for following changes of membership. Another transport than TCP is a [`Connector`].

mod auth;
mod call;
mod client;
mod cluster;
mod connect;
mod dial;
mod election;
mod endpoints;
mod error;
mod fencing;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod options;
mod queue;
mod range;
pub mod retry;
mod rt;
mod session;
mod tls;
mod topology;
mod txn;
mod watch;

pub use auth::{Access, Login, PermittedKeys};
pub use client::Client;
pub use cluster::JoinAs;
pub use connect::{Channel, Connector, NO_CONNECTION, TcpConnector, not_connected};
pub use election::Leadership;
pub use error::{Error, Fate};
pub use fencing::{Guard, Guarded};
/// The messages of the wire, as they are.
pub use holdfast_proto as proto;
pub use kv::{Compact, Delete, Get, Order, Put, SortBy};
pub use lease::{AttachedKeys, KeepAlive};
pub use lock::Lock;
pub use maintenance::SavedSnapshot;
pub use options::{KEEP_ALIVE_INTERVAL_MIN, Options};
pub use range::prefix_end;
pub use session::Session;
pub use tls::Tls;
pub use tonic::Code;
pub use txn::{Compare, Number, Op, Subject, Txn, Value};
pub use watch::{Update, Watch, WatchBuilder};
