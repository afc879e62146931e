//! Which versions and cipher suites are offered.
//!
//! Suites are named as IANA, Go and so etcd name them. rustls has only those with forward secrecy and an AEAD; of what
//! else etcd knows, the names are taken and passed over, so that a start script may name them beside better ones.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::TlsError;
use crate::types::{TlsSettings, TlsVersion};

/// What etcd's start scripts may name, and is not safe enough to be offered.
const PASSED_OVER: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// What connections are made with.
#[derive(Clone, Debug)]
pub struct Offered {
    pub provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

/// A suite by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Offered,
    /// Known, and not offered.
    PassedOver,
    Unknown,
}

fn name_of(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    // rustls marks the suites of TLS 1.3 in a way of its own.
    name.replacen("TLS13_", "TLS_", 1)
}

/// Go also has names without the hash for one family.
fn means(name: &str, suite: &SupportedCipherSuite) -> bool {
    let full = name_of(suite);
    full == name || full.ends_with("CHACHA20_POLY1305_SHA256") && full.strip_suffix("_SHA256") == Some(name)
}

pub fn judge(name: &str) -> Suite {
    if ring::ALL_CIPHER_SUITES.iter().any(|suite| means(name, suite)) {
        Suite::Offered
    } else if PASSED_OVER.contains(&name) {
        Suite::PassedOver
    } else {
        Suite::Unknown
    }
}

/// All names that can be chosen.
pub fn suite_names() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(name_of).collect()
}

impl Offered {
    /// Suites that are named narrow their own version: whoever names suites of TLS 1.2 alone keeps all of TLS 1.3.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let mut provider = ring::default_provider();
        let is_named = |suite: &SupportedCipherSuite| settings.cipher_suites.iter().any(|name| means(name, suite));
        let named: Vec<SupportedCipherSuite> = provider.cipher_suites.iter().copied().filter(is_named).collect();
        for is_1_3 in [false, true] {
            if named.iter().any(|suite| suite.tls13().is_some() == is_1_3) {
                provider.cipher_suites.retain(|suite| suite.tls13().is_some() != is_1_3 || is_named(suite));
            }
        }
        // Whoever names suites, but none that TLS 1.2 could use, does not want it with others.
        if !named.is_empty() && named.iter().all(|suite| suite.tls13().is_some()) {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        }
        let all = [(TlsVersion::V1_2, &rustls::version::TLS12), (TlsVersion::V1_3, &rustls::version::TLS13)];
        let range = settings.oldest..=settings.newest;
        let has_suite = |version: TlsVersion| {
            provider.cipher_suites.iter().any(|suite| suite.tls13().is_some() == (version == TlsVersion::V1_3))
        };
        let usable = all.into_iter().filter(|(version, _)| range.contains(version) && has_suite(*version));
        let versions: Vec<_> = usable.map(|(_, known)| known).collect();
        if versions.is_empty() {
            return Err(TlsError::NothingOffered(settings.cipher_suites.join(",")));
        }
        Ok(Self { provider: Arc::new(provider), versions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(suites: &[&str], oldest: TlsVersion) -> Result<(Vec<String>, usize), TlsError> {
        let cipher_suites = suites.iter().map(|name| (*name).to_owned()).collect();
        let offered = Offered::new(&TlsSettings { cipher_suites, oldest, ..TlsSettings::default() })?;
        Ok((offered.provider.cipher_suites.iter().map(name_of).collect(), offered.versions.len()))
    }

    #[test]
    fn without_a_choice_all_safe_suites_are_offered() {
        let (suites, versions) = offered(&[], TlsVersion::V1_2).unwrap();
        assert_eq!((suites.len(), versions), (suite_names().len(), 2));
    }

    #[test]
    fn a_choice_for_tls_1_2_leaves_1_3_alone() {
        let name = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
        let (suites, versions) = offered(&[name], TlsVersion::V1_2).unwrap();
        let old: Vec<&String> = suites.iter().filter(|name| name.contains("ECDHE")).collect();
        assert_eq!((old, versions), (vec![&name.to_owned()], 2));
        assert_eq!(suites.len(), 4);
    }

    #[test]
    fn a_choice_of_1_3_alone_turns_1_2_off() {
        let (suites, versions) = offered(&["TLS_AES_256_GCM_SHA384"], TlsVersion::V1_2).unwrap();
        assert_eq!((suites, versions), (vec!["TLS_AES_256_GCM_SHA384".to_owned()], 1));
    }

    #[test]
    fn names_are_judged_as_etcd_writes_them() {
        assert_eq!(judge("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"), Suite::Offered);
        assert_eq!(judge("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"), Suite::Offered);
        assert_eq!(judge("TLS_AES_128_GCM_SHA256"), Suite::Offered);
        assert_eq!(judge("TLS_RSA_WITH_AES_128_CBC_SHA"), Suite::PassedOver);
        assert_eq!(judge("TLS_ROT13"), Suite::Unknown);
    }

    #[test]
    fn only_new_versions_leave_only_new_suites_in_use() {
        assert_eq!(offered(&[], TlsVersion::V1_3).unwrap().1, 1);
    }
}
