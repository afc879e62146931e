//! Whom a connection is believed to come from or to go to.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use super::anchors::{Anchors, ShownBy};
use super::certificate::{Roots, common_name};
use crate::types::AllowedNames;

type Revoked = Vec<CertificateRevocationListDer<'static>>;

/// Clients need a certificate of one of `roots`, not revoked, and with an allowed name.
pub fn of_clients(
    roots: Roots,
    revoked: Revoked,
    allowed: &AllowedNames,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let anchors = Anchors::new(roots.certificates, revoked.clone());
    // An authority of a bundle may have no list; certificates of the others are still looked up.
    let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.store), Arc::clone(provider))
        .with_crls(revoked)
        .allow_unknown_revocation_status()
        .build()?;
    Ok(Arc::new(Clients { signed, anchors, allowed: allowed.clone() }))
}

/// Servers need a certificate of one of `roots`, not revoked, and good for the host in their URL.
pub fn of_servers(
    roots: Roots,
    revoked: Revoked,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let anchors = Anchors::new(roots.certificates, revoked.clone());
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.store), Arc::clone(provider))
        .with_crls(revoked)
        .allow_unknown_revocation_status()
        .build()?;
    Ok(Arc::new(Servers { signed, anchors }))
}

/// What a refused client's name was, for the log.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of {shown:?} is good, but only {allowed:?} may connect")]
struct NotAllowed {
    shown: String,
    allowed: AllowedNames,
}

/// What an authority signed, and the authorities themselves; of those, some names or all.
#[derive(Debug)]
struct Clients {
    signed: Arc<dyn ClientCertVerifier>,
    anchors: Anchors,
    allowed: AllowedNames,
}

impl Clients {
    fn is_allowed(&self, certificate: &CertificateDer<'_>) -> bool {
        match &self.allowed {
            AllowedNames::All => true,
            AllowedNames::CommonNames(names) => names.contains(&common_name(certificate)),
            AllowedNames::Hosts(hosts) => {
                let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
                let names = hosts.iter().filter_map(|host| ServerName::try_from(host.as_str()).ok());
                names.into_iter().any(|name| verify_server_name(&parsed, &name).is_ok())
            }
        }
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.signed.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Err(refusal) = self.signed.verify_client_cert(end_entity, intermediates, now) {
            self.anchors.reconsider(end_entity, ShownBy::Client, now, refusal)?;
        }
        if self.is_allowed(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        let refused = NotAllowed { shown: common_name(end_entity), allowed: self.allowed.clone() };
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// What an authority signed, and the authorities themselves.
#[derive(Debug)]
struct Servers {
    signed: Arc<WebPkiServerVerifier>,
    anchors: Anchors,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let signed = self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(refusal) = signed {
            self.anchors.reconsider_server(end_entity, server_name, now, refusal)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// For members with certificates of their own making: the connection is secret, and nobody knows with whom.
pub struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl AnyServer {
    pub fn new(provider: &Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self { provider: Arc::clone(provider) })
    }
}

impl fmt::Debug for AnyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyServer")
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
