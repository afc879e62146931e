//! What a watcher wants to hear of: a range of keys, and puts, deletes or both.

use bytes::Bytes;
use holdfast_proto::etcdserverpb::WatchCreateRequest;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;

use crate::mvcc::{Event, EventKind};
use crate::types::KeyRange;

/// The keys a request asks to watch. The permission check must ask about exactly these: a second reading of the wire
/// form elsewhere is how a watch on one key became a watch on all keys behind it (CVE-2026-33343's class).
pub fn watched_range(request: &WatchCreateRequest) -> KeyRange {
    // No key is the lowest key there can be; a lone zero byte is how the wire spells that.
    let key = if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
    KeyRange::from_wire(key, request.range_end.clone())
}

/// Which kinds of events are left over by a request's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    All,
    Puts,
    Deletes,
    /// Both filters were given. Such a watcher only ever hears of progress.
    Nothing,
}

impl Kinds {
    /// Unknown filters are passed over, as etcd does.
    pub fn after_filters(filters: &[i32]) -> Kinds {
        let has = |filter: FilterType| filters.contains(&(filter as i32));
        match (has(FilterType::Noput), has(FilterType::Nodelete)) {
            (false, false) => Kinds::All,
            (false, true) => Kinds::Puts,
            (true, false) => Kinds::Deletes,
            (true, true) => Kinds::Nothing,
        }
    }

    pub fn include(self, event: &Event) -> bool {
        match self {
            Kinds::All => true,
            Kinds::Puts => event.kind == EventKind::Put,
            Kinds::Deletes => event.kind == EventKind::Delete,
            Kinds::Nothing => false,
        }
    }
}

/// See the module's comment.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    pub range: KeyRange,
    pub kinds: Kinds,
}

impl Interest {
    pub fn of(request: &WatchCreateRequest) -> Self {
        Self { range: watched_range(request), kinds: Kinds::after_filters(&request.filters) }
    }
}
