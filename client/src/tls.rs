//! TLS of a client: whom it believes, and what it shows.
//!
//! Files are read when a connection is made, so that a certificate that was renewed is used by the next connection,
//! without a restart. [`Tls::check`] reads them once beforehand, to say early what is wrong with them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::Error;

/// What members speak.
const PROTOCOL: &[u8] = b"h2";

/// How a [`Client`](crate::Client) speaks TLS with endpoints whose URL says `https`. With it, an endpoint without a
/// scheme (`host:port`) means `https` too.
///
/// ```no_run
/// use holdfast_client::{Client, Options, Tls};
///
/// # fn example() -> Result<(), holdfast_client::Error> {
/// let tls = Tls::new().ca_file("ca.pem").identity_files("alice.pem", "alice-key.pem");
/// let client = Client::connect(["https://10.0.1.1:2379"], Options { tls: Some(tls), ..Options::default() })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
    server_name: Option<String>,
    trust: Trust,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Verified,
    Anybody,
}

impl Tls {
    /// Believes the authorities that this machine believes, and shows no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Believes the authorities in this PEM file, and no others.
    #[must_use]
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Shows this certificate, in PEM with its chain, to servers that ask for one.
    #[must_use]
    pub fn identity_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Expects certificates to be good for this name instead of the host in the endpoint's URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Believes anybody. The connection is secret, but it may be with the wrong server; for trials only.
    #[must_use]
    pub fn insecure_skip_verify(mut self) -> Self {
        self.trust = Trust::Anybody;
        self
    }

    /// Reads all files once.
    ///
    /// # Errors
    /// [`Error::Usage`], which names the file and says what is wrong with it.
    pub fn check(&self) -> Result<(), Error> {
        self.config().map(|_| ()).map_err(Error::Usage)
    }

    /// The name that the server at `host` must prove.
    pub(crate) fn name_at(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.server_name.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(name.to_owned()).map_err(|error| format!("{name:?} is no host: {error}"))
    }

    /// What the next connection is made with.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.trust {
            Trust::Verified => builder.with_root_certificates(self.roots()?),
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer { provider })),
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = certificates(certificate)?;
                let key_file = key.display();
                let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| format!("{key_file} holds no private key in PEM: {error}"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("{} and {key_file} cannot be used together: {error}", certificate.display())
                })?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca_file else {
            let found = rustls_native_certs::load_native_certs();
            if roots.add_parsable_certificates(found.certs).0 == 0 {
                return Err("this machine trusts no authority; name the file of the cluster's own".to_owned());
            }
            return Ok(roots);
        };
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(roots)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{} holds no certificate in PEM", file.display())),
        Err(error) => Err(format!("{} is no PEM: {error}", file.display())),
    }
}

/// Asks for no proof of who the server is.
struct AnyServer {
    provider: Arc<CryptoProvider>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let said = |tls: &Tls| tls.check().expect_err("cannot be used").to_string();
        let tls = Tls::new().ca_file(&file);
        assert!(said(&tls).contains("ca.pem cannot be read"), "{}", said(&tls));
        std::fs::write(&file, "nothing").expect("written");
        assert!(said(&tls).contains("ca.pem holds no certificate"), "{}", said(&tls));
        let tls = Tls::new().insecure_skip_verify().identity_files(&file, &file);
        assert!(said(&tls).contains("ca.pem holds no certificate"), "{}", said(&tls));
    }

    #[test]
    fn a_host_is_proved_unless_another_name_is_asked_for() {
        assert_eq!(Tls::new().name_at("[::1]"), Ok(ServerName::try_from("::1").expect("an address")));
        assert_eq!(
            Tls::new().server_name("store").name_at("10.0.0.1"),
            Ok(ServerName::try_from("store").expect("a name"))
        );
        assert!(Tls::new().name_at("no host").is_err());
    }
}
