//! Certificates are renewed while the node runs: their files are looked at again and again.
//!
//! A change counts when two looks in a row saw the same: whoever replaces a certificate and its key does so one after
//! the other, and what is there between the two is no mistake. What cannot be used is said once, counted, and passed
//! over; the old goes on. Connections that stand are not touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::certificate::{Expiry, utc};
use super::files::{Files, Fingerprint};
use super::port::PortRules;
use super::{TlsError, now_unix_s, read};
use crate::env::Disk;
use crate::metrics::TlsMetrics;
use crate::rt;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const DAY_S: i64 = 24 * 3600;
/// When an end that comes nearer is said, in days before it.
const WARN_DAYS: [i64; 3] = [30, 7, 1];

/// One port, and what its listeners and connections look into.
#[derive(Debug)]
pub struct Watched {
    name: &'static str,
    rules: Arc<PortRules>,
    pub server: Option<rt::ServerTls>,
    pub dial: rt::PeerTls,
    expiries: Vec<Expiry>,
    settled: Settling,
}

impl Watched {
    /// Blocks.
    pub fn open(name: &'static str, rules: PortRules, disk: &dyn Disk, now_unix_s: i64) -> Result<Self, TlsError> {
        let files = read(&rules, disk);
        let built = rules.build(&files, now_unix_s)?;
        Ok(Self {
            name,
            rules: Arc::new(rules),
            server: built.server.map(rt::ServerTls::new),
            dial: built.dial.map(rt::PeerTls::new).unwrap_or_default(),
            expiries: built.expiries,
            settled: Settling { judged: files.fingerprint(), seen: None },
        })
    }

    fn take(&mut self, files: &Files, metrics: &TlsMetrics) {
        match self.rules.build(files, now_unix_s()) {
            Ok(built) => {
                if let (Some(slot), Some(terms)) = (&self.server, built.server) {
                    slot.replace(terms);
                }
                if let Some(config) = built.dial {
                    self.dial.replace(config);
                }
                for gone in self.expiries.iter().filter(|old| !built.expiries.iter().any(|new| new.file == old.file)) {
                    metrics.forget_expiry(self.name, &gone.file);
                }
                self.expiries = built.expiries;
                metrics.reloads(self.name).inc();
                tracing::info!(port = self.name, "certificates were replaced; new connections use them");
            }
            Err(error) => {
                metrics.reload_failures(self.name).inc();
                tracing::error!(port = self.name, %error, "changed certificates cannot be used; the old ones stay");
            }
        }
    }
}

/// Which contents were judged, and which are waited for to stay as they are.
#[derive(Debug)]
struct Settling {
    judged: Fingerprint,
    seen: Option<Fingerprint>,
}

impl Settling {
    /// Whether what was seen now is new, and was the same at the look before.
    fn is_due(&mut self, now: Fingerprint) -> bool {
        if now == self.judged {
            self.seen = None;
            return false;
        }
        if self.seen.replace(now) != Some(now) {
            return false;
        }
        self.judged = now;
        self.seen = None;
        true
    }
}

/// Looks until the process ends.
pub async fn watch(mut watched: Watched, disk: Arc<dyn Disk>, metrics: TlsMetrics) {
    // Zero is a number too: a dashboard needs it before anything happened.
    metrics.reloads(watched.name);
    metrics.reload_failures(watched.name);
    let mut said = Said::default();
    let mut counted = 0;
    loop {
        for (file, at_unix_s) in first_ends(&watched.expiries) {
            metrics.set_expiry(watched.name, file, at_unix_s);
        }
        said.say(watched.name, &watched.expiries, now_unix_s());
        let failed = watched.server.as_ref().map_or(0, rt::ServerTls::failed_handshakes);
        metrics.handshakes_failed(watched.name).inc_by(failed - counted);
        counted = failed;
        rt::sleep(LOOK_EVERY).await;
        let (rules, disk) = (Arc::clone(&watched.rules), Arc::clone(&disk));
        match rt::blocking(move || read(&rules, disk.as_ref())).await {
            Ok(files) => {
                if watched.settled.is_due(files.fingerprint()) {
                    watched.take(&files, &metrics);
                }
            }
            Err(error) => tracing::error!(%error, "certificates could not be looked at"),
        }
    }
}

/// A file may hold several certificates: the first to end counts.
fn first_ends(expiries: &[Expiry]) -> BTreeMap<&Path, i64> {
    let mut ends = BTreeMap::new();
    for expiry in expiries {
        let end = ends.entry(expiry.file.as_path()).or_insert(expiry.at_unix_s);
        *end = (*end).min(expiry.at_unix_s);
    }
    ends
}

/// How near an end is: the number of bounds that were passed, one more when it is over.
fn nearness(at_unix_s: i64, now_unix_s: i64) -> usize {
    let left = at_unix_s - now_unix_s;
    WARN_DAYS.iter().filter(|days| left <= **days * DAY_S).count() + usize::from(left <= 0)
}

/// What was said of which certificate.
#[derive(Default)]
struct Said {
    nearness: BTreeMap<(PathBuf, i64), usize>,
}

impl Said {
    fn say(&mut self, port: &str, expiries: &[Expiry], now_unix_s: i64) {
        let before = std::mem::take(&mut self.nearness);
        for expiry in expiries {
            let key = (expiry.file.clone(), expiry.at_unix_s);
            let now = nearness(expiry.at_unix_s, now_unix_s);
            if now > before.get(&key).copied().unwrap_or(0) {
                let days_left = (expiry.at_unix_s - now_unix_s).max(0) / DAY_S;
                tracing::warn!(
                    port,
                    file = %expiry.file.display(),
                    subject = expiry.subject,
                    at = utc(expiry.at_unix_s),
                    days_left,
                    "{}", if now > WARN_DAYS.len() { "a certificate has expired" } else { "a certificate expires soon" }
                );
            }
            self.nearness.insert(key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_comes_nearer_is_noticed_at_each_bound() {
        let at = 100 * DAY_S;
        let seen: Vec<usize> = [0, 69, 70, 92, 93, 98, 99, 100].iter().map(|day| nearness(at, day * DAY_S)).collect();
        assert_eq!(seen, [0, 0, 1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn a_change_counts_when_it_stays() {
        let (old, half, new) = (Fingerprint([1; 32]), Fingerprint([2; 32]), Fingerprint([3; 32]));
        let mut settling = Settling { judged: old, seen: None };
        assert!(!settling.is_due(old));
        assert!(!settling.is_due(half));
        assert!(!settling.is_due(new), "it is still changing");
        assert!(settling.is_due(new));
        assert!(!settling.is_due(new), "judged once");
        assert!(!settling.is_due(half));
        assert!(!settling.is_due(new), "and back again is nothing new");
        assert!(!settling.is_due(half), "it was away in between");
        assert!(settling.is_due(half));
    }
}
