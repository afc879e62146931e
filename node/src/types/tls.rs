//! What an operator says about TLS: files and rules, nothing read yet.

use std::path::PathBuf;
use std::time::Duration;

/// TLS of one node. Which listeners use it is said by their URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The client port and the metrics port.
    pub client: PortTls,
    /// The peer port, and the connections this node makes to other members.
    pub peer: PortTls,
    pub oldest: TlsVersion,
    pub newest: TlsVersion,
    /// Names of the suites that are offered, as IANA writes them. Empty: all that the library holds safe.
    pub cipher_suites: Vec<String>,
    /// How long a certificate that the node makes for itself is valid.
    pub self_signed_validity: Duration,
}

/// TLS for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTls {
    pub own: OwnCertificate,
    /// What this node shows where it is the client; the same as `own` if nothing else was given.
    pub as_client: Option<KeyPairFiles>,
    pub clients: ClientCertificates,
    /// Authorities that others' certificates must come from.
    pub trusted_ca_file: Option<PathBuf>,
    /// Certificates that are not good any more.
    pub crl_file: Option<PathBuf>,
    pub allowed: AllowedNames,
}

/// What a port shows to those who connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnCertificate {
    #[default]
    None,
    Files(KeyPairFiles),
    /// One that the node makes when it starts; nobody can verify it.
    SelfSigned,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a port asks of those who connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    #[default]
    NotAsked,
    /// A trusted authority must have signed one.
    Required,
    /// And its common name says which user this is.
    RequiredAndNaming,
}

/// Which of the certificates that a trusted authority signed are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedNames {
    #[default]
    All,
    /// The subject's common name must be one of these.
    CommonNames(Vec<String>),
    /// The certificate must be good for one of these hosts or addresses.
    Hosts(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl PortTls {
    /// Whether anything was said at all.
    pub fn is_configured(&self) -> bool {
        *self != Self::default()
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            client: PortTls::default(),
            peer: PortTls::default(),
            oldest: TlsVersion::V1_2,
            newest: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
            self_signed_validity: Duration::from_secs(365 * 24 * 3600),
        }
    }
}
