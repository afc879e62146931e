//! Clusters with certificates, and what their tests ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_client::{Client, Error, Options, Tls};
use holdfast_jepsen::world::process::{Cluster, NodeIndex, PATIENCE, Shape, until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::{Authority, Pair};

/// For requests that are refused: nobody should have to wait for them.
const SOON: Duration = Duration::from_secs(4);

/// A folder for certificates, and an authority in it.
pub struct Scene {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new(folder.path(), "ca");
        Self { folder, authority }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a client needs that believes the authority.
    pub fn tls(&self) -> Tls {
        Tls::new().ca_file(self.authority.file())
    }

    pub fn tls_as(&self, pair: &Pair) -> Tls {
        self.tls().identity_files(&pair.certificate, &pair.key)
    }

    /// A cluster whose client ports speak TLS, with certificates of the authority; nothing runs yet.
    pub fn lay_out(&self, nodes: usize, tls: Tls) -> Cluster {
        let shape = Shape::holdfast(nodes).https_for_clients(tls);
        let mut cluster = Cluster::lay_out(&shape);
        for node in 0..nodes {
            let own = self.authority.issue(&format!("n{}", node + 1), &hosts(&cluster, node));
            add_flag(&mut cluster, node, "cert-file", &own.certificate);
            add_flag(&mut cluster, node, "key-file", &own.key);
        }
        cluster
    }
}

/// Where a node is reached.
pub fn hosts(cluster: &Cluster, node: NodeIndex) -> Vec<String> {
    let url = cluster.endpoint(node);
    let host = url.split("://").nth(1).and_then(|rest| rest.rsplit_once(':')).expect("a URL with a port").0;
    vec![host.to_owned()]
}

pub fn add_flag(cluster: &mut Cluster, node: NodeIndex, name: &str, value: &Path) {
    cluster.add_flag(node, &format!("--{name}={}", value.display()));
}

pub async fn start(cluster: &mut Cluster) {
    (0..cluster.len()).for_each(|node| cluster.spawn(node));
    cluster.wait_formed().await;
}

/// One put of a new client with these settings.
pub async fn put_as(cluster: &Cluster, tls: Tls) -> Result<(), Error> {
    let options = Options { tls: Some(tls), connect_timeout: SOON, request_timeout: SOON, ..Options::default() };
    Client::connect([cluster.endpoint(0)], options)?.put("key", "value").await.map(|_| ())
}

/// `host:port` of a URL.
pub fn authority_of(url: &str) -> String {
    url.split("://").nth(1).expect("a URL").to_owned()
}

/// A bare TLS connection to `url`, which believes `roots` and may show a certificate.
pub async fn connect(
    url: &str,
    roots: &Path,
    shown: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(roots).expect("a file") {
        store.add(root.expect("PEM")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    let builder = builder.with_root_certificates(store);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_file(&pair.certificate).expect("PEM");
            let key = PrivateKeyDer::from_pem_file(&pair.key).expect("PEM");
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        }
    };
    let address = authority_of(url);
    let host = address.rsplit_once(':').expect("a port").0.to_owned();
    let stream = TcpStream::connect(&address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host).expect("a host"), stream).await
}

/// Asks over HTTP/1.1 inside TLS, and gives all of the answer. With TLS 1.3 a client is refused only when it reads.
pub async fn ask(stream: std::io::Result<TlsStream<TcpStream>>, path: &str) -> std::io::Result<String> {
    exchange(stream?, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

/// The same for a request in JSON.
pub async fn post(stream: std::io::Result<TlsStream<TcpStream>>, path: &str, json: &str) -> std::io::Result<String> {
    let length = json.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    exchange(stream?, &format!("{head}{json}")).await
}

async fn exchange(mut stream: TlsStream<TcpStream>, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    match read.expect("an answer comes to its end") {
        Ok(_) => {}
        // A server may end the connection without saying so.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The value of one of the node's metrics, asked for over TLS.
pub async fn metric(cluster: &Cluster, node: NodeIndex, roots: &Path, shown: Option<&Pair>, line: &str) -> u64 {
    let stream = connect(&cluster.endpoint(node), roots, shown, rustls::ALL_VERSIONS).await;
    let text = ask(stream, "/metrics").await.expect("metrics");
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in\n{text}"))
}

/// Waits until the node has said `words` that many times since it was started.
pub async fn wait_said_times(cluster: &Cluster, node: NodeIndex, words: &str, times: usize) {
    until(PATIENCE, &format!("{times} times {words:?} of {}", cluster.name(node)), || async {
        let found = cluster.said(node).matches(words).count();
        if found >= times { Ok(()) } else { Err(format!("{found} times")) }
    })
    .await;
}
