//! Care of the store: status, hash, alarms, defragmentation, snapshots, handing over the leadership.
//!
//! Most of this is about one member, so these calls take an endpoint and never go elsewhere.

use std::time::Duration;

use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use holdfast_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse, HashKvRequest, HashKvResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, StatusRequest, StatusResponse,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::call::Route;
use crate::endpoints::Target;
use crate::retry::{self, Intent};
use crate::{Client, Error, rt};

/// The digest that ends a snapshot.
const DIGEST_BYTES: usize = 32;
/// Rewriting a whole store takes longer than a request.
const DEFRAGMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// A snapshot may take as long as it takes, but no longer than this between two pieces.
const SNAPSHOT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// A snapshot that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Bytes written, the digest at the end included.
    pub bytes: u64,
    /// SHA-256 of all before the digest; compared with what the server sent.
    pub sha256: [u8; DIGEST_BYTES],
    /// Version of the server that made it; empty when it did not say.
    pub version: String,
}

impl Client {
    /// How the member behind `endpoint` is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be reached.
    pub async fn status(&self, endpoint: &str) -> Result<StatusResponse, Error> {
        let send = |channel, request| async move { MaintenanceClient::new(channel).status(request).await };
        self.core.unary(Route::at(Intent::Read, endpoint), StatusRequest {}, send).await
    }

    /// The hash of the history of the member behind `endpoint` up to `revision` (0: now). Members that agree on
    /// revision and compaction must agree on the hash.
    ///
    /// # Errors
    /// Refused for a revision that is compacted or in the future.
    pub async fn hash_kv(&self, endpoint: &str, revision: i64) -> Result<HashKvResponse, Error> {
        let send = |channel, request| async move { MaintenanceClient::new(channel).hash_kv(request).await };
        self.core.unary(Route::at(Intent::Read, endpoint), HashKvRequest { revision }, send).await
    }

    /// Gives space back to the file system on the member behind `endpoint`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn defragment(&self, endpoint: &str) -> Result<DefragmentResponse, Error> {
        let route = Route { timeout: Some(DEFRAGMENT_TIMEOUT), ..Route::at(Intent::Write, endpoint) };
        let send = |channel, request| async move { MaintenanceClient::new(channel).defragment(request).await };
        self.core.unary(route, DefragmentRequest {}, send).await
    }

    /// The alarms that are up.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alarms(&self) -> Result<AlarmResponse, Error> {
        self.alarm(AlarmAction::Get, 0, AlarmType::None).await
    }

    /// Raises an alarm for a member (0: for all).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alarm_raise(&self, member: u64, alarm: AlarmType) -> Result<AlarmResponse, Error> {
        self.alarm(AlarmAction::Activate, member, alarm).await
    }

    /// Takes an alarm down. Do what it asks for first: it will come back otherwise.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alarm_disarm(&self, member: u64, alarm: AlarmType) -> Result<AlarmResponse, Error> {
        self.alarm(AlarmAction::Deactivate, member, alarm).await
    }

    async fn alarm(&self, action: AlarmAction, member: u64, alarm: AlarmType) -> Result<AlarmResponse, Error> {
        let route = if action == AlarmAction::Get { Route::read() } else { Route::write() };
        let request = AlarmRequest { action: action.into(), member_id: member, alarm: alarm.into() };
        let send = |channel, request| async move { MaintenanceClient::new(channel).alarm(request).await };
        self.core.unary(route, request, send).await
    }

    /// Hands the leadership to another member. Only the leader can, so it is looked up first.
    ///
    /// # Errors
    /// Refused where `target` cannot lead; [`Error::Unavailable`] where nobody leads or none of the endpoints is
    /// the leader's.
    pub async fn move_leader(&self, target: u64) -> Result<MoveLeaderResponse, Error> {
        self.find_leader().await;
        let Some(leader) = self.leader_endpoint() else {
            let message = format!("no leader endpoint given at {:?}; add the leader's endpoint", self.endpoints());
            return Err(Error::Unavailable { code: tonic::Code::Unavailable, message });
        };
        let send = |channel, request| async move { MaintenanceClient::new(channel).move_leader(request).await };
        self.core.unary(Route::at(Intent::Write, &leader), MoveLeaderRequest { target_id: target }, send).await
    }

    /// Writes a snapshot of the member behind `endpoint` to `writer` and checks it against the digest that ends it.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when it is cut off or damaged: what was written must then not be used.
    pub async fn snapshot(
        &self,
        endpoint: &str,
        writer: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<SavedSnapshot, Error> {
        let refuse = |status: tonic::Status| retry::into_error(Intent::Read, &status);
        let slot = self.core.endpoints.pick(&Target::At(endpoint.to_owned()));
        let deadline = rt::Instant::now() + self.core.options.request_timeout;
        let connection = self.core.connection(&slot, deadline).await.map_err(refuse)?;
        let mut stub =
            MaintenanceClient::new(connection.channel).max_decoding_message_size(self.core.options.response_bytes_max);
        let stream = rt::timeout(SNAPSHOT_SILENCE_MAX, stub.snapshot(SnapshotRequest {})).await;
        let mut stream = stream.map_err(|_| silent(endpoint))?.map_err(refuse)?.into_inner();

        let mut intake = Intake::default();
        let mut version = String::new();
        loop {
            let piece = rt::timeout(SNAPSHOT_SILENCE_MAX, stream.message()).await.map_err(|_| silent(endpoint))?;
            let Some(piece) = piece.map_err(|status| Error::Snapshot(format!("it was cut off: {status}")))? else {
                break;
            };
            writer.write_all(&piece.blob).await?;
            intake.take(&piece.blob);
            if !piece.version.is_empty() {
                version = piece.version;
            }
        }
        writer.flush().await?;
        let (bytes, sha256) = intake.finish()?;
        Ok(SavedSnapshot { bytes, sha256, version })
    }
}

fn silent(endpoint: &str) -> Error {
    Error::Snapshot(format!("{endpoint} sent nothing for {SNAPSHOT_SILENCE_MAX:?}"))
}

/// Hashes a stream whose last 32 bytes are the hash of all before; the stream may be cut anywhere.
#[derive(Default)]
struct Intake {
    hasher: Sha256,
    /// The last bytes so far, not hashed yet: they may be the digest.
    tail: Vec<u8>,
    bytes: u64,
}

impl Intake {
    fn take(&mut self, blob: &[u8]) {
        self.bytes += blob.len() as u64;
        self.tail.extend_from_slice(blob);
        let settled = self.tail.len().saturating_sub(DIGEST_BYTES);
        self.hasher.update(&self.tail[..settled]);
        self.tail.drain(..settled);
    }

    fn finish(self) -> Result<(u64, [u8; DIGEST_BYTES]), Error> {
        let sent: [u8; DIGEST_BYTES] =
            self.tail.try_into().map_err(|_| Error::Snapshot(format!("only {} bytes arrived", self.bytes)))?;
        let own: [u8; DIGEST_BYTES] = self.hasher.finalize().into();
        if own == sent {
            return Ok((self.bytes, own));
        }
        Err(Error::Snapshot("its SHA-256 is not the one the server sent".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(content: &[u8]) -> Vec<u8> {
        let mut all = content.to_vec();
        all.extend_from_slice(&Sha256::digest(content));
        all
    }

    #[test]
    fn a_snapshot_is_checked_however_it_is_cut() {
        let all = stream_of(&[7; 100]);
        for piece in [1, 31, 32, 33, 99, 132] {
            let mut intake = Intake::default();
            all.chunks(piece).for_each(|blob| intake.take(blob));
            assert_eq!(intake.finish().expect("whole").0, 132, "pieces of {piece}");
        }
    }

    #[test]
    fn one_wrong_bit_or_one_missing_byte_is_found() {
        let all = stream_of(&[7; 100]);
        for bit in 0..all.len() * 8 {
            let mut rotten = all.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            let mut intake = Intake::default();
            intake.take(&rotten);
            assert!(matches!(intake.finish(), Err(Error::Snapshot(_))), "bit {bit}");
        }
        for kept in 0..all.len() {
            let mut intake = Intake::default();
            intake.take(&all[..kept]);
            assert!(matches!(intake.finish(), Err(Error::Snapshot(_))), "{kept} bytes");
        }
    }
}
