//! An authority of our own, and the files it issues.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
    serial: u64,
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    Over,
}

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    name: String,
}

/// Puts a file in place in one step, as who renews certificates should.
pub fn put_in_place(file: &Path, contents: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, contents).expect("a file can be written");
    std::fs::rename(&new, file).expect("a file can be replaced");
}

/// Now and that many days. rcgen's moments are of a type of another crate: it can be computed with, not named.
macro_rules! in_days {
    ($days:expr) => {{
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        let days: i32 = $days;
        let now = rcgen::date_time_ymd(1970, 1, 1) + since;
        if days < 0 { now - DAY * days.unsigned_abs() } else { now + DAY * days.unsigned_abs() }
    }};
}

impl Authority {
    /// Makes one, and writes its certificate to `<folder>/<name>.pem`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self { issuer, folder: folder.to_owned(), name: name.to_owned() };
        std::fs::write(authority.file(), authority.pem()).expect("a file can be written");
        authority
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Good for `hosts`, to serve and to call.
    pub fn issue(&self, common_name: &str, hosts: &[String]) -> Pair {
        self.issue_valid(common_name, hosts, Validity::Now)
    }

    pub fn issue_valid(&self, common_name: &str, hosts: &[String], validity: Validity) -> Pair {
        let serial: u64 = rand::random_range(1..u64::MAX / 2);
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(&serial.to_be_bytes()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = in_days!(-3);
        params.not_after = match validity {
            Validity::Now => in_days!(90),
            Validity::Over => in_days!(-1),
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |suffix: &str| self.folder.join(format!("{}-{common_name}-{serial:x}{suffix}.pem", self.name));
        let pair = Pair { certificate: path(""), key: path("-key"), serial };
        std::fs::write(&pair.certificate, certificate.pem()).expect("a file can be written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("a file can be written");
        pair
    }

    /// The list of those that are good no more, in PEM.
    pub fn revoked(&self, pairs: &[&Pair]) -> String {
        let revoked = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&pair.serial.to_be_bytes()),
            revocation_time: in_days!(-1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: in_days!(-1),
            next_update: in_days!(7),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("a list in PEM")
    }
}
