//! Connections to the other members, one for each address and purpose.
//!
//! Purposes have connections of their own, so that a heartbeat never waits behind a snapshot or a megabyte of entries.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use holdfast_proto::peer;
use holdfast_proto::peer::peer_client::PeerClient;
use holdfast_proto::peer::raft_client::RaftClient;
use parking_lot::Mutex;
use tonic::Status;

use crate::rt;
use crate::types::{ClusterId, MemberId};

/// Largest message between members: a full read of the log, and one largest request on top.
pub const PEER_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    Append,
    Heartbeat,
    Vote,
    Snapshot,
    /// Work handed to the leader, and questions to any member.
    Work,
}

/// All connections of this node. Clones share them.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    me: MemberId,
    tls: rt::PeerTls,
    channels: Mutex<BTreeMap<(String, Purpose), rt::Channel>>,
    /// Where each member listens, as of the newest membership known here. Replication that runs looks here before each
    /// attempt: openraft keeps a connection when only its member's addresses change.
    addresses: Mutex<BTreeMap<u64, Vec<String>>>,
}

impl Peers {
    /// `tls` is for the members whose URL says `https`.
    pub fn new(cluster: ClusterId, me: MemberId, tls: rt::PeerTls) -> Self {
        let (channels, addresses) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { cluster, me, tls, channels, addresses }) }
    }

    pub fn me(&self) -> MemberId {
        self.inner.me
    }

    pub fn cluster(&self) -> ClusterId {
        self.inner.cluster
    }

    /// Says who sends a message, to whom, in which cluster.
    pub fn envelope(&self, to: u64) -> peer::Envelope {
        peer::Envelope { cluster_id: self.inner.cluster.0, from_member: self.inner.me.0, to_member: to }
    }

    /// Refuses a message that was meant for another member or another cluster.
    pub fn check(&self, envelope: Option<&peer::Envelope>) -> Result<(), Status> {
        let envelope =
            envelope.ok_or_else(|| Status::invalid_argument("a message between members without an envelope"))?;
        if envelope.cluster_id != self.inner.cluster.0 {
            return Err(Status::failed_precondition(format!(
                "etcdserver: cluster ID mismatch: this member is of cluster {}, the message of cluster {}",
                self.inner.cluster,
                ClusterId(envelope.cluster_id)
            )));
        }
        if envelope.to_member != self.inner.me.0 {
            return Err(Status::failed_precondition(format!(
                "this is member {}, the message is for member {}: check the peer URLs of both",
                self.inner.me,
                MemberId(envelope.to_member)
            )));
        }
        Ok(())
    }

    /// Takes over where all members listen.
    pub fn set_addresses(&self, addresses: BTreeMap<u64, Vec<String>>) {
        *self.inner.addresses.lock() = addresses;
    }

    /// Takes over where one member listens.
    pub fn set_address(&self, member: u64, urls: Vec<String>) {
        self.inner.addresses.lock().insert(member, urls);
    }

    /// Where a member listens; empty if it is not known.
    pub fn addresses_of(&self, member: u64) -> Vec<String> {
        self.inner.addresses.lock().get(&member).cloned().unwrap_or_default()
    }

    /// The channel to the member that listens at `url`. It connects when first used.
    fn channel(&self, url: &str, purpose: Purpose) -> Result<rt::Channel, Status> {
        let mut channels = self.inner.channels.lock();
        if let Some(channel) = channels.get(&(url.to_owned(), purpose)) {
            return Ok(channel.clone());
        }
        let channel = rt::connect(url, &self.inner.tls)?;
        channels.insert((url.to_owned(), purpose), channel.clone());
        Ok(channel)
    }

    /// A client for Raft's own messages.
    pub fn raft(&self, url: &str, purpose: Purpose) -> Result<RaftClient<rt::Channel>, Status> {
        Ok(RaftClient::new(self.channel(url, purpose)?)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    /// A client for work and questions.
    pub fn work(&self, url: &str) -> Result<PeerClient<rt::Channel>, Status> {
        Ok(work_client(self.channel(url, Purpose::Work)?))
    }

    /// Forgets the connections to every member that is not at one of `urls`.
    pub fn keep_only(&self, urls: &[String]) {
        self.inner.channels.lock().retain(|(url, _), _| urls.contains(url));
    }
}

/// A client for work and questions over any channel.
pub fn work_client(channel: rt::Channel) -> PeerClient<rt::Channel> {
    PeerClient::new(channel)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX)
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("me", &self.inner.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_addresses_count() {
        let peers = Peers::new(ClusterId(1), MemberId(1), rt::PeerTls::default());
        let at = |url: &str| vec![url.to_owned()];
        assert!(peers.addresses_of(2).is_empty());
        peers.set_address(2, at("http://old"));
        peers.set_addresses(BTreeMap::from([(2, at("http://new")), (3, at("http://three"))]));
        assert_eq!((peers.addresses_of(2), peers.addresses_of(3)), (at("http://new"), at("http://three")));
        peers.set_addresses(BTreeMap::from([(2, at("http://new"))]));
        assert!(peers.addresses_of(3).is_empty(), "a member that left is forgotten");
    }
}
