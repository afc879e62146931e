//! TLS on the command line, by etcdctl's names.

use std::path::PathBuf;

use clap::Args;
use holdfast_client::Tls;

use crate::failure::Failure;

/// What a server must prove, and what is shown to it.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// Authorities to believe, in PEM [env: also ETCDCTL_CACERT] [default: those of this machine]
    #[arg(long, global = true, env = "HOLDFASTCTL_CACERT", value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Certificate to show to servers that ask for one, in PEM [env: also ETCDCTL_CERT]
    #[arg(long, global = true, env = "HOLDFASTCTL_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key [env: also ETCDCTL_KEY]
    #[arg(long = "key", global = true, env = "HOLDFASTCTL_KEY", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Believe any server; for trials [env: also ETCDCTL_INSECURE_SKIP_TLS_VERIFY]
    #[arg(long, global = true, env = "HOLDFASTCTL_INSECURE_SKIP_TLS_VERIFY")]
    insecure_skip_tls_verify: bool,
}

fn of_etcdctl(name: &str) -> Option<String> {
    std::env::var(format!("ETCDCTL_{name}")).ok().filter(|text| !text.is_empty())
}

fn file(given: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
    let given = given.filter(|path| !path.as_os_str().is_empty()).cloned();
    given.or_else(|| of_etcdctl(name).map(PathBuf::from))
}

impl TlsArgs {
    /// `None` if nothing was said of TLS: then it depends on each endpoint's scheme.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let (cacert, cert, key) = (
            file(self.cacert.as_ref(), "CACERT"),
            file(self.cert.as_ref(), "CERT"),
            file(self.key_file.as_ref(), "KEY"),
        );
        let is_insecure = self.insecure_skip_tls_verify
            || of_etcdctl("INSECURE_SKIP_TLS_VERIFY").is_some_and(|text| text == "true" || text == "1");
        if cacert.is_none() && cert.is_none() && key.is_none() && !is_insecure {
            return Ok(None);
        }
        let mut tls = Tls::new();
        if let Some(cacert) = cacert {
            tls = tls.ca_file(cacert);
        }
        match (cert, key) {
            (Some(cert), Some(key)) => tls = tls.identity_files(cert, key),
            (None, None) => {}
            (Some(_), None) => return Err(Failure::args("--cert is given without its key: give --key")),
            (None, Some(_)) => return Err(Failure::args("--key is given without its certificate: give --cert")),
        }
        if is_insecure {
            tls = tls.insecure_skip_verify();
        }
        Ok(Some(tls))
    }
}
