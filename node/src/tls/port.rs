//! From the files of one port to what its connections are made with.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::VerifierBuilderError;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::{self, Expiry, Roots};
use super::files::Files;
use super::offered::Offered;
use super::self_signed::SelfSigned;
use super::{TlsError, trust};
use crate::rt;
use crate::types::{ClientCertificates, OwnCertificate, PortTls};

/// What both HTTP/2 and HTTP/1 clients find, the better one first.
const SERVED: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
/// What members speak with one another.
const DIALLED: [&[u8]; 1] = [b"h2"];

/// One port's settings and what never changes while the node runs.
#[derive(Debug)]
pub struct PortRules {
    pub settings: PortTls,
    pub offered: Offered,
    pub self_signed: Option<SelfSigned>,
    pub use_for: UseFor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseFor {
    Serving,
    /// And connecting to others.
    ServingAndDialling,
}

/// What one look at the files gave.
pub struct Built {
    pub server: Option<rt::ServerTerms>,
    pub dial: Option<Arc<ClientConfig>>,
    /// What ends when.
    pub expiries: Vec<Expiry>,
}

impl PortRules {
    /// Everything, or what is wrong with the first file that cannot be used.
    pub fn build(&self, files: &Files, now_unix_s: i64) -> Result<Built, TlsError> {
        let provider = &self.offered.provider;
        let mut expiries = Vec::new();
        let own = match &self.settings.own {
            OwnCertificate::None => None,
            OwnCertificate::Files(named) => {
                let pair = certificate::pair(files, named, provider, now_unix_s)?;
                expiries.push(pair.expiry);
                Some(pair.certified)
            }
            OwnCertificate::SelfSigned => self.self_signed.as_ref().map(|made| {
                expiries.push(made.pair.expiry.clone());
                Arc::clone(&made.pair.certified)
            }),
        };
        let as_client = match &self.settings.as_client {
            Some(named) => {
                let pair = certificate::pair(files, named, provider, now_unix_s)?;
                expiries.push(pair.expiry);
                Some(pair.certified)
            }
            None => own.clone(),
        };
        let roots = match &self.settings.trusted_ca_file {
            Some(file) => {
                let (roots, of_roots) = certificate::authorities(files, file)?;
                expiries.extend(of_roots);
                Some(roots)
            }
            None => None,
        };
        let revoked = match &self.settings.crl_file {
            Some(file) => certificate::revoked(files, file)?,
            None => Vec::new(),
        };
        let dial = match self.use_for {
            UseFor::Serving => None,
            UseFor::ServingAndDialling => Some(self.dial(roots.clone(), revoked.clone(), as_client)?),
        };
        let server = own.map(|own| self.server(own, roots, revoked)).transpose()?;
        Ok(Built { server, dial, expiries })
    }

    fn server(
        &self,
        own: Arc<CertifiedKey>,
        roots: Option<Roots>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<rt::ServerTerms, TlsError> {
        let provider = &self.offered.provider;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&self.offered.versions)
            .map_err(|error| TlsError::NothingOffered(error.to_string()))?;
        let builder = match (self.settings.clients, roots) {
            (ClientCertificates::NotAsked, _) | (_, None) => builder.with_no_client_auth(),
            (ClientCertificates::Required | ClientCertificates::RequiredAndNaming, Some(roots)) => {
                let verifier = trust::of_clients(roots, revoked, &self.settings.allowed, provider);
                builder.with_client_cert_verifier(verifier.map_err(|error| self.unverifiable(error))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = SERVED.iter().map(|name| name.to_vec()).collect();
        let common_name: fn(&CertificateDer<'_>) -> String = certificate::common_name;
        let common_name_of = match self.settings.clients {
            ClientCertificates::RequiredAndNaming => Some(common_name),
            ClientCertificates::NotAsked | ClientCertificates::Required => None,
        };
        Ok(rt::ServerTerms { config: Arc::new(config), common_name_of })
    }

    fn dial(
        &self,
        roots: Option<Roots>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        as_client: Option<Arc<CertifiedKey>>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = &self.offered.provider;
        let verifier: Arc<dyn ServerCertVerifier> = match (&self.settings.own, roots) {
            (OwnCertificate::SelfSigned, _) => trust::AnyServer::new(provider),
            (OwnCertificate::None | OwnCertificate::Files(_), roots) => {
                let roots = roots.map_or_else(system_roots, Ok)?;
                trust::of_servers(roots, revoked, provider).map_err(|error| self.unverifiable(error))?
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&self.offered.versions)
            .map_err(|error| TlsError::NothingOffered(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match as_client {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = DIALLED.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Authorities were read before, so that it can only be the list of revoked certificates.
    fn unverifiable(&self, error: VerifierBuilderError) -> TlsError {
        let file = match error {
            VerifierBuilderError::InvalidCrl(_) => &self.settings.crl_file,
            _ => &self.settings.trusted_ca_file,
        };
        TlsError::BadCrl { file: file.clone().unwrap_or_default(), reason: error.to_string() }
    }
}

/// What this machine trusts anyway.
fn system_roots() -> Result<Roots, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _strange) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let said = found.errors.first().map_or_else(|| "this machine trusts nobody".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots(said));
    }
    // Nobody's own certificate is among them.
    Ok(Roots { store: roots, certificates: Vec::new() })
}
