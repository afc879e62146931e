//! What a listener shows, and what a connection to another member shows and asks: slots that can be refilled while
//! both are in use. Whoever fills them reads files and knows rules; here they are only used.
//!
//! A connection keeps what it was made with. The next one takes what the slot holds then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;

/// TLS of a listener. Clones share the slot.
#[derive(Clone)]
pub struct ServerTls {
    inner: Arc<ServerSlot>,
}

struct ServerSlot {
    terms: RwLock<Arc<ServerTerms>>,
    failed_handshakes: AtomicU64,
}

/// What a listener shows and asks at the moment.
pub struct ServerTerms {
    pub config: Arc<rustls::ServerConfig>,
    /// Reads the common name out of a verified client's certificate, where that names a user.
    pub common_name_of: Option<fn(&CertificateDer<'_>) -> String>,
}

impl ServerTls {
    pub fn new(terms: ServerTerms) -> Self {
        let terms = RwLock::new(Arc::new(terms));
        Self { inner: Arc::new(ServerSlot { terms, failed_handshakes: AtomicU64::new(0) }) }
    }

    /// From the next connection on.
    pub fn replace(&self, terms: ServerTerms) {
        *self.inner.terms.write() = Arc::new(terms);
    }

    /// How many connections did not get through their handshake.
    pub fn failed_handshakes(&self) -> u64 {
        self.inner.failed_handshakes.load(Ordering::Relaxed)
    }

    #[cfg(not(madsim))]
    pub(super) fn terms(&self) -> Arc<ServerTerms> {
        Arc::clone(&self.inner.terms.read())
    }

    /// Counts one more, and gives how many there were before.
    #[cfg(not(madsim))]
    pub(super) fn count_failed(&self) -> u64 {
        self.inner.failed_handshakes.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// TLS of the connections to other members. The default has none, and refuses `https` URLs. Clones share the slot.
#[derive(Clone, Default)]
pub struct PeerTls {
    config: Option<Arc<RwLock<Arc<rustls::ClientConfig>>>>,
    #[cfg(not(madsim))]
    complaints: Complaints,
}

/// What was said last of each member without TLS: connections come and go, and the log hears the same once a minute.
#[cfg(not(madsim))]
#[derive(Clone, Default)]
pub(super) struct Complaints {
    said: Arc<parking_lot::Mutex<std::collections::BTreeMap<String, (String, crate::rt::Instant)>>>,
}

#[cfg(not(madsim))]
impl Complaints {
    const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(60);

    /// Whether nobody has said so of the member for a while.
    pub(super) fn is_news(&self, member: &str, error: &str, now: crate::rt::Instant) -> bool {
        let mut said = self.said.lock();
        if said.get(member).is_some_and(|(last, at)| last == error && now - *at < Self::AGAIN_AFTER) {
            return false;
        }
        said.insert(member.to_owned(), (error.to_owned(), now));
        true
    }

    /// All is well with the member.
    pub(super) fn forget(&self, member: &str) {
        self.said.lock().remove(member);
    }
}

impl PeerTls {
    pub fn new(config: Arc<rustls::ClientConfig>) -> Self {
        Self { config: Some(Arc::new(RwLock::new(config))), ..Self::default() }
    }

    /// From the next connection on.
    pub fn replace(&self, config: Arc<rustls::ClientConfig>) {
        if let Some(slot) = &self.config {
            *slot.write() = config;
        }
    }

    #[cfg(not(madsim))]
    pub(super) fn config(&self) -> Option<Arc<rustls::ClientConfig>> {
        self.config.as_ref().map(|slot| Arc::clone(&slot.read()))
    }

    #[cfg(not(madsim))]
    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls").field("is_on", &self.config.is_some()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use std::time::Duration;

    use super::Complaints;
    use crate::rt;

    #[test]
    fn the_same_is_said_once_a_minute_of_each_member() {
        let complaints = Complaints::default();
        let start = rt::now();
        let is_news =
            |member, error, seconds| complaints.clone().is_news(member, error, start + Duration::from_secs(seconds));
        assert!(is_news("a:1", "expired", 0));
        assert!(!is_news("a:1", "expired", 59));
        assert!(is_news("b:1", "expired", 59), "another member");
        assert!(is_news("a:1", "unknown issuer", 59), "another reason");
        assert!(is_news("a:1", "unknown issuer", 119));
        complaints.forget("a:1");
        assert!(is_news("a:1", "unknown issuer", 120), "it was well in between");
    }
}
