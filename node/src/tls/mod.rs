//! TLS: which certificates a node shows, whose it believes, and both while their files change.
//!
//! ```text
//!   types::TlsSettings     files and rules, from the command line
//!          |
//!   offered.rs             versions and cipher suites
//!   files.rs               the files of one port, read at one moment
//!   certificate.rs         PEM to chains, keys, authorities, lists of revoked certificates; expired is refused
//!   self_signed.rs         a pair that the node makes for itself
//!   trust.rs               who is believed: authority, revocation, name
//!   anchors.rs             authorities that are shown themselves, which webpki refuses and etcd takes
//!          |
//!   port.rs                all of it together, or what is wrong with it
//!          |
//!   reload.rs   ------->   rt::ServerTls, rt::PeerTls: the slots that listeners and connections look into
//! ```
//!
//! - Each port is built whole or not at all: a node never shows the new certificate with the old authorities.
//! - What was fine once stays in use until something better is there.
//! - rustls, ring and rcgen do the work. They compute, and know no clock, socket or disk of ours; so they are compiled
//!   into the simulator too, where links are plain.

mod anchors;
mod certificate;
mod error;
mod files;
mod offered;
mod port;
mod reload;
mod self_signed;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::TlsError;
pub use offered::{Suite, judge, suite_names};

use crate::env::Disk;
use crate::metrics::TlsMetrics;
use crate::rt;
use crate::types::{OwnCertificate, PortTls, TlsSettings};
use files::Files;
use offered::Offered;
use port::{PortRules, UseFor};
use reload::Watched;
use self_signed::SelfSigned;

/// Where a node keeps what it made for itself, under its data directory; etcd's name.
const FIXTURES: &str = "fixtures";
const CERTIFICATE: &str = "cert.pem";

/// Hosts that a certificate of the node's own making is good for.
#[derive(Clone, Debug, Default)]
pub struct OwnHosts {
    pub client: Vec<String>,
    pub peer: Vec<String>,
}

/// TLS of one node, opened.
#[derive(Debug)]
pub struct NodeTls {
    client: Option<Watched>,
    peer: Option<Watched>,
    disk: Arc<dyn Disk>,
}

impl NodeTls {
    /// Reads everything that `settings` name. Fails where something could not be used.
    pub async fn open(
        settings: &TlsSettings,
        hosts: &OwnHosts,
        data_dir: &Path,
        disk: &Arc<dyn Disk>,
    ) -> Result<Self, TlsError> {
        let offered = Offered::new(settings)?;
        let open = |port: &PortTls, name: &'static str, hosts: &[String], use_for| {
            let file = data_dir.join(FIXTURES).join(name).join(CERTIFICATE);
            let (port, hosts, offered) = (port.clone(), hosts.to_vec(), offered.clone());
            let (disk, validity) = (Arc::clone(disk), settings.self_signed_validity);
            let make = move || -> Result<Watched, TlsError> {
                let self_signed = match port.own {
                    OwnCertificate::None | OwnCertificate::Files(_) => None,
                    OwnCertificate::SelfSigned => {
                        let made = SelfSigned::make(&file, &hosts, validity, now_unix_s(), &offered.provider)?;
                        made.write(disk.as_ref())?;
                        tracing::warn!(
                            port = name,
                            certificate = %file.display(),
                            "made a certificate for itself: connections are secret, but nobody can verify whom they \
                             are with; for trials only"
                        );
                        Some(made)
                    }
                };
                let rules = PortRules { settings: port, offered, self_signed, use_for };
                Watched::open(name, rules, disk.as_ref(), now_unix_s())
            };
            rt::blocking(make)
        };
        let died = |error: std::io::Error| TlsError::NotMade(error.to_string());
        let client = match settings.client.is_configured() {
            true => Some(open(&settings.client, "client", &hosts.client, UseFor::Serving).await.map_err(died)??),
            false => None,
        };
        let peer = match settings.peer.is_configured() {
            true => Some(open(&settings.peer, "peer", &hosts.peer, UseFor::ServingAndDialling).await.map_err(died)??),
            false => None,
        };
        Ok(Self { client, peer, disk: Arc::clone(disk) })
    }

    /// For listeners whose URL says `https`.
    pub fn client(&self) -> Option<rt::ServerTls> {
        self.client.as_ref()?.server.clone()
    }

    pub fn peer(&self) -> Option<rt::ServerTls> {
        self.peer.as_ref()?.server.clone()
    }

    /// For connections to members whose URL says `https`.
    pub fn dial(&self) -> rt::PeerTls {
        self.peer.as_ref().map(|peer| peer.dial.clone()).unwrap_or_default()
    }

    /// From now on changed files are noticed, and certificates that come to their end.
    pub fn watch(self, metrics: &TlsMetrics) {
        for watched in self.client.into_iter().chain(self.peer) {
            rt::spawn(reload::watch(watched, Arc::clone(&self.disk), metrics.clone()));
        }
    }
}

fn now_unix_s() -> i64 {
    i64::try_from(rt::wall_unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// Reads what a port's settings name. Blocks.
fn read(rules: &PortRules, disk: &dyn Disk) -> Files {
    let paths: Vec<PathBuf> = files::paths(&rules.settings);
    Files::read(disk, &paths)
}
