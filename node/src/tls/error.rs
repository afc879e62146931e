//! Why there is no TLS. Each says which file, what is wrong with it, and what to do.

use std::path::PathBuf;

/// What is wrong with what an operator gave.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read: {reason}; check the path, and that the user that runs this may read it")]
    Unreadable { file: PathBuf, reason: String },
    #[error("{file} is no PEM: {reason}")]
    NotPem { file: PathBuf, reason: String },
    #[error("{file} holds no certificate: expected PEM with `BEGIN CERTIFICATE`")]
    NoCertificate { file: PathBuf },
    #[error("{file} holds a certificate that does not parse: {reason}")]
    BadCertificate { file: PathBuf, reason: String },
    #[error(
        "{file} holds no private key: expected PEM with `BEGIN PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`"
    )]
    NoKey { file: PathBuf },
    #[error("{file} holds a key that is locked with a password: unlock it first (openssl pkey -in ... -out ...)")]
    LockedKey { file: PathBuf },
    #[error("{file} holds a private key that cannot be used: {reason}")]
    BadKey { file: PathBuf, reason: String },
    #[error("{key} is not the key of the certificate in {certificate}: give the pair that was made together")]
    NotAPair { certificate: PathBuf, key: PathBuf },
    #[error("{file}: the certificate of {subject} has expired at {at} (UTC): nobody would accept it; renew it")]
    Expired { file: PathBuf, subject: String, at: String },
    #[error("{file} holds no list of revoked certificates: expected PEM with `BEGIN X509 CRL`, or DER")]
    NoCrl { file: PathBuf },
    #[error("{file} holds a list of revoked certificates that cannot be used: {reason}")]
    BadCrl { file: PathBuf, reason: String },
    #[error("{0}: there are no authorities to check other members by; give --peer-trusted-ca-file")]
    NoSystemRoots(String),
    #[error("--cipher-suites, --tls-min-version and --tls-max-version leave nothing to offer: {0}")]
    NothingOffered(String),
    #[error("no certificate could be made: {0}")]
    NotMade(String),
    #[error("{file} could not be written: {reason}")]
    NotWritten { file: PathBuf, reason: String },
}
