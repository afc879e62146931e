//! TLS: which files, for which port, by which rules. The files are not read here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::settle::{Addresses, Reader};
use super::values::{self, Expected, Switch};
use super::{ConfigError, urls};
use crate::tls::{Suite, judge, suite_names};
use crate::types::{AllowedNames, ClientCertificates, KeyPairFiles, OwnCertificate, PortTls, TlsSettings, TlsVersion};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const VALIDITY_YEARS_MAX: u64 = 100;

/// The names of one port's settings.
struct Names {
    certificate: &'static str,
    key: &'static str,
    client_certificate: &'static str,
    client_key: &'static str,
    auto: &'static str,
    auth: &'static str,
    trusted: &'static str,
    revoked: &'static str,
    allowed_cn: Option<&'static str>,
    allowed_hosts: &'static str,
}

const CLIENT: Names = Names {
    certificate: "cert-file",
    key: "key-file",
    client_certificate: "client-cert-file",
    client_key: "client-key-file",
    auto: "auto-tls",
    auth: "client-cert-auth",
    trusted: "trusted-ca-file",
    revoked: "client-crl-file",
    allowed_cn: None,
    allowed_hosts: "client-cert-allowed-hostname",
};

const PEER: Names = Names {
    certificate: "peer-cert-file",
    key: "peer-key-file",
    client_certificate: "peer-client-cert-file",
    client_key: "peer-client-key-file",
    auto: "peer-auto-tls",
    auth: "peer-client-cert-auth",
    trusted: "peer-trusted-ca-file",
    revoked: "peer-crl-file",
    allowed_cn: Some("peer-cert-allowed-cn"),
    allowed_hosts: "peer-cert-allowed-hostname",
};

/// Reads it all, and holds it against the URLs: `https` needs a certificate, and without `https` there is no use for
/// one.
pub fn tls(
    reader: &Reader<'_>,
    addresses: &Addresses,
    initial_cluster: &BTreeMap<String, Vec<String>>,
    remarks: &mut Vec<String>,
) -> Result<TlsSettings, ConfigError> {
    let listen_client: Vec<&String> = addresses.listen_client.iter().chain(&addresses.listen_metrics).collect();
    let listen_peer: Vec<&String> = addresses.listen_peer.iter().collect();
    let dials_https = initial_cluster.values().flatten().any(|url| urls::is_https(url));
    let client = Port { reader, names: &CLIENT, listen: &listen_client, dials_https: false }.read(remarks)?;
    let peer = Port { reader, names: &PEER, listen: &listen_peer, dials_https }.read(remarks)?;
    let oldest = reader.read("tls-min-version", "TLS1.2", version)?;
    let newest = reader.read("tls-max-version", "TLS1.3", version)?;
    if oldest > newest {
        return Err(ConfigError::Conflict(
            "--tls-min-version is newer than --tls-max-version: no version is left".to_owned(),
        ));
    }
    let years = reader.number("self-signed-cert-validity", 1, 1, VALIDITY_YEARS_MAX)?;
    Ok(TlsSettings {
        client,
        peer,
        oldest,
        newest,
        cipher_suites: cipher_suites(reader, oldest, remarks)?,
        self_signed_validity: YEAR * u32::try_from(years).expect("at most a hundred"),
    })
}

struct Port<'r> {
    reader: &'r Reader<'r>,
    names: &'r Names,
    listen: &'r [&'r String],
    dials_https: bool,
}

impl Port<'_> {
    fn read(&self, remarks: &mut Vec<String>) -> Result<PortTls, ConfigError> {
        let names = self.names;
        let trusted_ca_file = self.file(names.trusted)?;
        let port = PortTls {
            own: self.own(remarks)?,
            as_client: self.pair(names.client_certificate, names.client_key)?,
            clients: self.clients(trusted_ca_file.is_some())?,
            crl_file: self.file(names.revoked)?,
            allowed: self.allowed()?,
            trusted_ca_file,
        };
        if port.trusted_ca_file.is_none() {
            let needs = [(names.revoked, port.crl_file.is_some()), (names.allowed_hosts, !is_all(&port.allowed))];
            if let Some((name, _)) = needs.iter().find(|(_, is_given)| *is_given) {
                return Err(ConfigError::Conflict(format!(
                    "--{name} says which certificates are good, but nobody is asked for one: give --{}",
                    names.trusted
                )));
            }
        }
        self.hold_against_urls(port, remarks)
    }

    fn file(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        match self.reader.sources.get(name) {
            Some(given) if !given.text.is_empty() => self.reader.parse(name, given, path).map(Some),
            _ => Ok(None),
        }
    }

    fn pair(&self, certificate_name: &str, key_name: &str) -> Result<Option<KeyPairFiles>, ConfigError> {
        match (self.file(certificate_name)?, self.file(key_name)?) {
            (Some(certificate), Some(key)) => Ok(Some(KeyPairFiles { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(ConfigError::Conflict(format!("--{certificate_name} is given without its key: give --{key_name}")))
            }
            (None, Some(_)) => Err(ConfigError::Conflict(format!(
                "--{key_name} is given without its certificate: give --{certificate_name}"
            ))),
        }
    }

    fn own(&self, remarks: &mut Vec<String>) -> Result<OwnCertificate, ConfigError> {
        let auto = self.reader.read(self.names.auto, "false", values::switch)?;
        Ok(match (self.pair(self.names.certificate, self.names.key)?, auto) {
            (Some(pair), Switch::Off) => OwnCertificate::Files(pair),
            (Some(pair), Switch::On) => {
                remarks.push(format!("--{} has no effect: a certificate was given", self.names.auto));
                OwnCertificate::Files(pair)
            }
            (None, Switch::On) => OwnCertificate::SelfSigned,
            (None, Switch::Off) => OwnCertificate::None,
        })
    }

    /// As in etcd, authorities alone are reason enough to ask for certificates.
    fn clients(&self, has_authorities: bool) -> Result<ClientCertificates, ConfigError> {
        match (self.reader.read(self.names.auth, "false", values::switch)?, has_authorities) {
            (Switch::On, true) => Ok(ClientCertificates::RequiredAndNaming),
            (Switch::Off, true) => Ok(ClientCertificates::Required),
            (Switch::Off, false) => Ok(ClientCertificates::NotAsked),
            (Switch::On, false) => Err(ConfigError::Conflict(format!(
                "--{} asks for certificates, but whose are good is not said: give --{}",
                self.names.auth, self.names.trusted
            ))),
        }
    }

    fn allowed(&self) -> Result<AllowedNames, ConfigError> {
        let list = |name: &str| self.reader.read(name, "", |text| Ok(listed(text)));
        let names = self.names.allowed_cn.map_or_else(|| Ok(Vec::new()), list)?;
        let hosts = list(self.names.allowed_hosts)?;
        match (names.is_empty(), hosts.is_empty()) {
            (true, true) => Ok(AllowedNames::All),
            (false, true) => Ok(AllowedNames::CommonNames(names)),
            (true, false) => Ok(AllowedNames::Hosts(hosts)),
            (false, false) => Err(ConfigError::Conflict(format!(
                "--{} and --{} are both given: choose one",
                self.names.allowed_cn.unwrap_or_default(),
                self.names.allowed_hosts
            ))),
        }
    }

    fn hold_against_urls(&self, port: PortTls, remarks: &mut Vec<String>) -> Result<PortTls, ConfigError> {
        let names = self.names;
        let (https, http): (Vec<&String>, Vec<&String>) = self.listen.iter().partition(|url| urls::is_https(url));
        if let Some(url) = https.first()
            && port.own == OwnCertificate::None
        {
            return Err(ConfigError::Conflict(format!(
                "{url} is to be served with TLS, but there is no certificate: give --{} and --{}, or --{} for a trial",
                names.certificate, names.key, names.auto
            )));
        }
        if !port.is_configured() {
            return Ok(port);
        }
        for url in http {
            remarks
                .push(format!("{url} is served without TLS: its scheme is http, so certificates do not count there"));
        }
        if https.is_empty() && !self.dials_https {
            return Ok(PortTls::default());
        }
        Ok(port)
    }
}

fn is_all(allowed: &AllowedNames) -> bool {
    *allowed == AllowedNames::All
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn path(text: &str) -> Result<PathBuf, Expected> {
    std::path::absolute(text).or_else(|_| values::expected("a file"))
}

/// etcd takes an empty one for its default.
fn version(text: &str) -> Result<TlsVersion, Expected> {
    match text {
        "TLS1.2" => Ok(TlsVersion::V1_2),
        "TLS1.3" => Ok(TlsVersion::V1_3),
        _ => values::expected("TLS1.2 or TLS1.3; older versions are not safe and not spoken"),
    }
}

fn cipher_suites(
    reader: &Reader<'_>,
    oldest: TlsVersion,
    remarks: &mut Vec<String>,
) -> Result<Vec<String>, ConfigError> {
    let Some(given) = reader.sources.get("cipher-suites") else { return Ok(Vec::new()) };
    let named = listed(&given.text);
    let all = suite_names().join(", ");
    reader.parse("cipher-suites", given, |_| match named.iter().find(|name| judge(name) == Suite::Unknown) {
        Some(unknown) => values::expected(format!("names out of {all}; {unknown} is not known")),
        None if named.iter().all(|name| judge(name) == Suite::PassedOver) && !named.is_empty() => {
            values::expected(format!("at least one of {all}; those that were given are not safe, and not offered"))
        }
        None => Ok(()),
    })?;
    for name in named.iter().filter(|name| judge(name) == Suite::PassedOver) {
        remarks.push(format!("{} names {name}, which is not safe: it is not offered", given.describe("cipher-suites")));
    }
    let is_new = |name: &String| name.starts_with("TLS_AES") || name.starts_with("TLS_CHACHA20");
    if oldest == TlsVersion::V1_3 && !named.is_empty() && !named.iter().any(is_new) {
        return Err(ConfigError::Conflict(
            "--cipher-suites names suites of TLS 1.2 alone, but --tls-min-version is TLS1.3: name suites of TLS 1.3, \
             or none"
                .to_owned(),
        ));
    }
    Ok(named.into_iter().filter(|name| judge(name) == Suite::Offered).collect())
}
