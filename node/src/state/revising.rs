//! One command while it runs: what it reads, and the revision it may make.

use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader,
};
use holdfast_proto::log::refusal::Reason;

use super::halt::Halt;
use crate::lease;
use crate::mvcc::{self, Head, Horizon, NewValue, Overlay, ReadError, Revisioned, Writer};
use crate::storage::Column;
use crate::types::{KeyRange, LeaseId, Revision};

/// Reads and writes of one command. It may stop at any point with a [`Halt`]; what it wrote until then is undone by
/// whoever started it.
pub(super) struct Revising<'s, 'v> {
    overlay: &'s mut Overlay<'v>,
    /// As it was before the command.
    horizon: Horizon,
    writer: Writer,
}

impl<'s, 'v> Revising<'s, 'v> {
    pub fn new(overlay: &'s mut Overlay<'v>, horizon: Horizon) -> Self {
        Self { overlay, horizon, writer: Writer::new(horizon.revision) }
    }

    /// The state as this command has made it so far.
    pub fn view(&self) -> &Overlay<'v> {
        self.overlay
    }

    /// With the newest revision that can be seen from inside the command.
    pub fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.writer.revision().0, ..Default::default() })
    }

    /// The revision that was made, if anything was written.
    pub fn finish(self) -> Option<Revisioned> {
        self.writer.finish()
    }

    /// `checksum` belongs to the value in the request.
    pub fn put(&mut self, request: &PutRequest, checksum: u32) -> Result<PutResponse, Halt> {
        let asked_lease = lease_id(request.lease);
        if let Some(id) = asked_lease {
            self.check_lease(id)?;
        }
        let previous = mvcc::head(self.overlay, &request.key)?;
        if previous.is_none() && (request.ignore_value || request.ignore_lease) {
            return Err(nothing_to_keep());
        }
        let old = match &previous {
            Some(head) if request.prev_kv || request.ignore_value => {
                Some(mvcc::value_of(self.overlay, &request.key, head)?)
            }
            _ => None,
        };
        let kept = old.as_ref().filter(|_| request.ignore_value);
        let new = NewValue {
            value: kept.map_or(&request.value, |old| &old.value),
            checksum: kept.map_or(checksum, |old| old.checksum),
            lease: if request.ignore_lease { previous.and_then(|head| head.lease) } else { asked_lease },
        };
        self.writer.put(self.overlay, &request.key, new, previous.as_ref());
        self.move_to_lease(&request.key, previous.and_then(|head| head.lease), new.lease);

        let prev_kv = previous.zip(old).filter(|_| request.prev_kv);
        let prev_kv = prev_kv.map(|(head, old)| head.to_key_value(request.key.clone(), old.value));
        Ok(PutResponse { header: self.header(), prev_kv })
    }

    pub fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, Halt> {
        let keys = KeyRange::from_wire(request.key.clone(), request.range_end.clone());
        let found = mvcc::heads(self.overlay, &keys)?;
        let mut prev_kvs = Vec::new();
        if request.prev_kv {
            for (key, head) in &found {
                let old = mvcc::value_of(self.overlay, key, head)?;
                prev_kvs.push(head.to_key_value(key.clone(), old.value));
            }
        }
        for (key, head) in &found {
            self.delete(key, head);
        }
        Ok(DeleteRangeResponse { header: self.header(), deleted: found.len() as i64, prev_kvs })
    }

    /// Whether a put inside a transaction can be carried out. Here the key comes first, and the lease after it.
    pub fn check_put(&self, request: &PutRequest) -> Result<(), Halt> {
        if (request.ignore_value || request.ignore_lease) && mvcc::head(self.overlay, &request.key)?.is_none() {
            return Err(nothing_to_keep());
        }
        lease_id(request.lease).map_or(Ok(()), |id| self.check_lease(id))
    }

    /// Whether a range inside a transaction can be carried out. Outside, a negative revision means the newest one.
    /// Here etcd compares it with the compacted one, which is -1 before the first compaction.
    pub fn check_range(&self, request: &RangeRequest) -> Result<(), Halt> {
        let requested = Revision(request.revision);
        if requested.0 < 0 && requested < self.horizon.compacted.unwrap_or(Revision(-1)) {
            let compacted = self.horizon.oldest();
            return Err(ReadError::Compacted { requested, compacted }.into());
        }
        self.horizon.resolve(requested)?;
        Ok(())
    }

    /// Sees what the command wrote before. A revision in the request means one from before the command.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Halt> {
        self.horizon.resolve(Revision(request.revision))?;
        let horizon = Horizon { revision: self.writer.revision(), ..self.horizon };
        Ok(mvcc::range_within(self.overlay, &horizon, request)?)
    }

    /// The lease and all its keys, in their order, so that members number the deletions alike.
    pub fn end_lease(&mut self, id: LeaseId) -> Result<(), Halt> {
        for key in lease::attached_keys(self.overlay, id)? {
            if let Some(head) = mvcc::head(self.overlay, &key)? {
                self.delete(&key, &head);
            }
        }
        let (row_key, _) = lease::lease_row(id, 0);
        self.overlay.delete(Column::Lease, row_key);
        Ok(())
    }

    pub fn check_lease(&self, id: LeaseId) -> Result<(), Halt> {
        match lease::granted(self.overlay, id)? {
            Some(_) => Ok(()),
            None => Err(Halt::refused(Reason::LeaseNotFound, format!("there is no lease {id}"))),
        }
    }

    fn delete(&mut self, key: &[u8], head: &Head) {
        self.writer.delete(self.overlay, key, head);
        self.move_to_lease(key, head.lease, None);
    }

    fn move_to_lease(&mut self, key: &[u8], from: Option<LeaseId>, to: Option<LeaseId>) {
        if from == to {
            return;
        }
        if let Some(id) = from {
            self.overlay.delete(Column::LeaseKey, lease::attachment(id, key));
        }
        if let Some(id) = to {
            self.overlay.put(Column::LeaseKey, lease::attachment(id, key), Vec::new());
        }
    }
}

fn nothing_to_keep() -> Halt {
    Halt::refused(Reason::KeyNotFound, "there is no present value or lease to keep")
}

/// 0 on the wire is no lease.
pub(super) fn lease_id(wire: i64) -> Option<LeaseId> {
    (wire != 0).then_some(LeaseId(wire))
}
