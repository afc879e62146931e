//! Certificates that the other side shows and that are trusted themselves.
//!
//! A self-signed certificate of `openssl req -x509` is an authority, and small installations use the same file as the
//! certificate and as the trusted authority. To webpki an authority cannot be what a peer shows; to etcd (Go's
//! verifier) a chain of one that ends in a trusted certificate is as good as any. Whoever has its key could sign any
//! other certificate anyway, so taking it as it is lets nobody in who would be kept out.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownBy {
    Client,
    Server,
}

/// The certificates of a file of trusted authorities, and who of them is trusted no more.
#[derive(Clone, Debug)]
pub struct Anchors {
    certificates: Arc<[CertificateDer<'static>]>,
    revoked: Arc<[CertificateRevocationListDer<'static>]>,
}

impl Anchors {
    pub fn new(
        certificates: Vec<CertificateDer<'static>>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Self {
        Self { certificates: certificates.into(), revoked: revoked.into() }
    }

    /// What is to be said of a certificate that was refused with `refusal`: nothing, if it is itself among those that
    /// are trusted, and good today for this use.
    pub fn reconsider(
        &self,
        shown: &CertificateDer<'_>,
        by: ShownBy,
        now: UnixTime,
        refusal: Error,
    ) -> Result<(), Error> {
        if !self.certificates.iter().any(|trusted| trusted == shown) {
            return Err(refusal);
        }
        let Ok((_, parsed)) = X509Certificate::from_der(shown) else { return Err(refusal) };
        let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let wrong = if now_unix_s < parsed.validity().not_before.timestamp() {
            Some(CertificateError::NotValidYet)
        } else if now_unix_s > parsed.validity().not_after.timestamp() {
            Some(CertificateError::Expired)
        } else if !is_for(&parsed, by) {
            Some(CertificateError::InvalidPurpose)
        } else if self.revoked.iter().any(|list| is_revoked(&parsed, list)) {
            Some(CertificateError::Revoked)
        } else {
            None
        };
        wrong.map_or(Ok(()), |wrong| Err(wrong.into()))
    }

    /// The same for a server, which must be the one that was called, too.
    pub fn reconsider_server(
        &self,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
        refusal: Error,
    ) -> Result<(), Error> {
        self.reconsider(shown, ShownBy::Server, now, refusal)?;
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)
    }
}

/// Without a list of its uses it is good for all.
fn is_for(certificate: &X509Certificate<'_>, by: ShownBy) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => {
            let usage = usage.value;
            usage.any
                || match by {
                    ShownBy::Client => usage.client_auth,
                    ShownBy::Server => usage.server_auth,
                }
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

fn is_revoked(certificate: &X509Certificate<'_>, list: &CertificateRevocationListDer<'_>) -> bool {
    // Lists that cannot be read were refused when the settings were.
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else { return true };
    list.issuer() == certificate.issuer()
        && list.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == certificate.raw_serial())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;

    const REFUSAL: CertificateError = CertificateError::UnknownIssuer;

    struct Made {
        params: CertificateParams,
        key: KeyPair,
    }

    /// A self-signed authority for example.com, good in the year 2026.
    fn made(uses: &[ExtendedKeyUsagePurpose]) -> Made {
        let mut params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses.to_vec();
        params.serial_number = Some(SerialNumber::from(7));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 12, 31);
        Made { params, key: KeyPair::generate().unwrap() }
    }

    impl Made {
        fn der(&self) -> CertificateDer<'static> {
            self.params.clone().self_signed(&self.key).unwrap().der().clone()
        }

        fn revoking(&self, serial: u64) -> CertificateRevocationListDer<'static> {
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(2026, 2, 1),
                next_update: date_time_ymd(2026, 12, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: vec![RevokedCertParams {
                    serial_number: SerialNumber::from(serial),
                    revocation_time: date_time_ymd(2026, 2, 1),
                    reason_code: None,
                    invalidity_date: None,
                }],
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().clone()
        }
    }

    fn at(year: i32) -> UnixTime {
        let day = date_time_ymd(year, 6, 1).unix_timestamp();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(day).unwrap()))
    }

    fn wrong(result: Result<(), Error>) -> CertificateError {
        match result {
            Err(Error::InvalidCertificate(wrong)) => wrong,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_trusted_itself_is_good_in_its_time_and_for_its_use() {
        let itself = made(&[]);
        let shown = itself.der();
        let anchors = Anchors::new(vec![shown.clone()], Vec::new());
        let ask = |by, now| anchors.reconsider(&shown, by, now, REFUSAL.into());
        ask(ShownBy::Client, at(2026)).unwrap();
        ask(ShownBy::Server, at(2026)).unwrap();
        assert_eq!(wrong(ask(ShownBy::Client, at(2025))), CertificateError::NotValidYet);
        assert_eq!(wrong(ask(ShownBy::Client, at(2027))), CertificateError::Expired);

        let for_servers = made(&[ExtendedKeyUsagePurpose::ServerAuth]).der();
        let anchors = Anchors::new(vec![for_servers.clone()], Vec::new());
        anchors.reconsider(&for_servers, ShownBy::Server, at(2026), REFUSAL.into()).unwrap();
        let as_client = anchors.reconsider(&for_servers, ShownBy::Client, at(2026), REFUSAL.into());
        assert_eq!(wrong(as_client), CertificateError::InvalidPurpose);
    }

    #[test]
    fn another_of_the_same_name_stays_refused() {
        let anchors = Anchors::new(vec![made(&[]).der()], Vec::new());
        let other = made(&[]).der();
        assert_eq!(wrong(anchors.reconsider(&other, ShownBy::Client, at(2026), REFUSAL.into())), REFUSAL);
    }

    #[test]
    fn a_list_takes_trust_back() {
        let itself = made(&[]);
        let shown = itself.der();
        let with = |list| {
            let anchors = Anchors::new(vec![shown.clone()], vec![list]);
            anchors.reconsider(&shown, ShownBy::Client, at(2026), REFUSAL.into())
        };
        with(itself.revoking(8)).unwrap();
        assert_eq!(wrong(with(itself.revoking(7))), CertificateError::Revoked);
    }

    #[test]
    fn a_server_is_the_one_that_was_called() {
        let itself = made(&[]).der();
        let anchors = Anchors::new(vec![itself.clone()], Vec::new());
        let ask = |host: &'static str| {
            let name = ServerName::try_from(host).unwrap();
            anchors.reconsider_server(&itself, &name, at(2026), REFUSAL.into())
        };
        ask("example.com").unwrap();
        ask("example.net").unwrap_err();
    }
}
