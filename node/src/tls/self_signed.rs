//! Certificates that a node makes for itself, for trials: connections are secret, and nobody knows who is at the other
//! end.
//!
//! The key never leaves memory; the next start makes another pair. The certificate is written to
//! `<data dir>/fixtures/<port>/cert.pem`, where etcd has it, so that a client of a trial can be given something to
//! trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::certificate::{self, Pair};
use crate::env::{Disk, OpenMode};

/// Valid from this long ago: the clocks of other machines may be behind.
const BACKDATED: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct SelfSigned {
    pub pair: Pair,
    pem: String,
}

impl SelfSigned {
    /// Makes one that is good for `hosts` from now on.
    pub fn make(
        file: &Path,
        hosts: &[String],
        validity: Duration,
        now_unix_s: i64,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| TlsError::NotMade(error.to_string());
        let mut params = CertificateParams::new(hosts).map_err(failed)?;
        params.distinguished_name.push(DnType::OrganizationName, "holdfast");
        params.distinguished_name.push(DnType::CommonName, "self-signed for trials");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let since_epoch = Duration::from_secs(u64::try_from(now_unix_s).unwrap_or(0));
        let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch;
        params.not_before = now - BACKDATED;
        params.not_after = now + validity;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let expiry = certificate::expiry(file, certificate.der())?;
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(chain, key, provider);
        let certified = certified.map_err(|error| TlsError::NotMade(error.to_string()))?;
        Ok(Self { pair: Pair { certified: Arc::new(certified), expiry }, pem: certificate.pem() })
    }

    /// Puts the certificate, not the key, where clients can be shown it. Blocks.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), TlsError> {
        let file: &PathBuf = &self.pair.expiry.file;
        let write = || -> std::io::Result<()> {
            let dir = file.parent().unwrap_or(Path::new("."));
            disk.create_dir_all(dir)?;
            if disk.exists(file)? {
                disk.remove_file(file)?;
            }
            let opened = disk.open(file, OpenMode::CreateNew)?;
            opened.write_all_at(self.pem.as_bytes(), 0)?;
            opened.sync()?;
            disk.sync_dir(dir)
        };
        write().map_err(|error| TlsError::NotWritten { file: file.clone(), reason: error.to_string() })
    }
}
