//! Certificates, keys, authorities and lists of revoked certificates: out of PEM, looked at, and refused where nobody
//! could use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::files::Files;
use crate::types::KeyPairFiles;

const LOCKED_KEY: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
/// How a key of the old form says that it is locked.
const LOCKED_OLD_KEY: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// What is watched of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub file: PathBuf,
    pub subject: String,
    pub at_unix_s: i64,
}

/// A chain and its key, fit for use.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certified: Arc<CertifiedKey>,
    pub expiry: Expiry,
}

fn parse<'d>(file: &Path, der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, TlsError> {
    let parsed = X509Certificate::from_der(der);
    let bad = |reason: String| TlsError::BadCertificate { file: file.to_owned(), reason };
    parsed.map(|(_, certificate)| certificate).map_err(|error| bad(error.to_string()))
}

/// The subject's common name; empty if there is none.
pub fn common_name(der: &CertificateDer<'_>) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return String::new() };
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().to_owned()
}

/// All certificates of a file.
fn chain(files: &Files, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |reason: String| TlsError::NotPem { file: file.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(files.bytes(file)?).collect();
    let chain = chain.map_err(|error| not_pem(error.to_string()))?;
    if chain.is_empty() { Err(TlsError::NoCertificate { file: file.to_owned() }) } else { Ok(chain) }
}

fn key(files: &Files, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = files.bytes(file)?;
    let holds = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    if holds(LOCKED_KEY) || holds(LOCKED_OLD_KEY) {
        return Err(TlsError::LockedKey { file: file.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey { file: file.to_owned() },
        error => TlsError::NotPem { file: file.to_owned(), reason: error.to_string() },
    })
}

/// Reads a chain and its key, and sees that they belong together and are good at `now_unix_s`.
pub fn pair(files: &Files, named: &KeyPairFiles, provider: &CryptoProvider, now_unix_s: i64) -> Result<Pair, TlsError> {
    let chain = chain(files, &named.certificate)?;
    let expiry = expiry(&named.certificate, &chain[0])?;
    if expiry.at_unix_s <= now_unix_s {
        let at = utc(expiry.at_unix_s);
        return Err(TlsError::Expired { file: expiry.file, subject: expiry.subject, at });
    }
    let certified = CertifiedKey::from_der(chain, key(files, &named.key)?, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::NotAPair { certificate: named.certificate.clone(), key: named.key.clone() }
        }
        rustls::Error::InvalidCertificate(reason) => {
            TlsError::BadCertificate { file: named.certificate.clone(), reason: reason.to_string() }
        }
        error => TlsError::BadKey { file: named.key.clone(), reason: error.to_string() },
    })?;
    Ok(Pair { certified: Arc::new(certified), expiry })
}

/// Authorities: as those who sign, and as the certificates that they are.
#[derive(Clone)]
pub struct Roots {
    pub store: RootCertStore,
    pub certificates: Vec<CertificateDer<'static>>,
}

/// When the certificate ends, and whose it is.
pub fn expiry(file: &Path, der: &CertificateDer<'_>) -> Result<Expiry, TlsError> {
    let certificate = parse(file, der)?;
    Ok(Expiry {
        file: file.to_owned(),
        subject: certificate.subject().to_string(),
        at_unix_s: certificate.validity().not_after.timestamp(),
    })
}

/// Reads a bundle of authorities. Each is watched; one that has expired is kept, as a bundle may hold the old one
/// beside the new.
pub fn authorities(files: &Files, file: &Path) -> Result<(Roots, Vec<Expiry>), TlsError> {
    let mut store = RootCertStore::empty();
    let mut expiries = Vec::new();
    let certificates = chain(files, file)?;
    for der in &certificates {
        expiries.push(expiry(file, der)?);
        store
            .add(der.clone())
            .map_err(|error| TlsError::BadCertificate { file: file.to_owned(), reason: error.to_string() })?;
    }
    Ok((Roots { store, certificates }, expiries))
}

/// Reads lists of revoked certificates, PEM or DER.
pub fn revoked(files: &Files, file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = files.bytes(file)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        // DER opens with a sequence.
        Ok(_) if bytes.first() == Some(&0x30) => Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]),
        Ok(_) => Err(TlsError::NoCrl { file: file.to_owned() }),
        Err(error) => Err(TlsError::NotPem { file: file.to_owned(), reason: error.to_string() }),
    }
}

/// A moment as people read it.
pub fn utc(unix_s: i64) -> String {
    x509_parser::time::ASN1Time::from_timestamp(unix_s).map_or_else(|_| unix_s.to_string(), |time| time.to_string())
}
