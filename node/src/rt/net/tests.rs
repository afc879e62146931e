//! What a request learns of the connection that it came by, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{ClientCertificate, ServerTerms, ServerTls, bind, serve};
use crate::rt;

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &CertifiedIssuer<'_, KeyPair>, host: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (vec![certificate.der().clone()], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

fn roots(authority: &CertifiedIssuer<'_, KeyPair>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    Arc::new(roots)
}

fn server(
    authority: &CertifiedIssuer<'_, KeyPair>,
    common_name_of: Option<fn(&CertificateDer<'_>) -> String>,
) -> ServerTls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority), Arc::clone(&provider)).build().unwrap();
    let (chain, key) = issue(authority, "127.0.0.1");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    ServerTls::new(ServerTerms { config: Arc::new(config), common_name_of })
}

async fn who(certificate: Option<Extension<ClientCertificate>>) -> String {
    certificate.map_or_else(|| "nobody".to_owned(), |Extension(certificate)| certificate.common_name)
}

/// Serves one answer, over TLS or bare, and gives it.
async fn asked(tls: Option<(&CertifiedIssuer<'_, KeyPair>, ServerTls)>) -> String {
    let (issuer, tls) = tls.map_or((None, None), |(issuer, tls)| (Some(issuer), Some(tls)));
    let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), tls).await.unwrap();
    let address = bound.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = tonic::service::Routes::from(axum::Router::new().route("/", get(who)));
    let served = rt::spawn(serve(bound, routes, None, async { _ = stopped.await }));
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = match issuer {
        None => ask(stream).await,
        Some(issuer) => {
            let (chain, key) = issue(issuer, "alice.example");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots(issuer))
                .with_client_auth_cert(chain, key)
                .unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("127.0.0.1").unwrap();
            ask(connector.connect(name, stream).await.unwrap()).await
        }
    };
    drop(stop);
    served.await.unwrap().unwrap();
    answer
}

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A server may end the connection without saying so.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap().rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_carries_the_name_of_a_verified_client_where_that_is_wanted() {
    let authority = authority();
    let named = server(&authority, Some(|_| "alice".to_owned()));
    assert_eq!(asked(Some((&authority, named))).await, "alice");
    assert_eq!(asked(Some((&authority, server(&authority, None)))).await, "nobody");
    assert_eq!(asked(None).await, "nobody");
}

/// HTTP/2 (RFC 9113), by hand: a client that gave up `count` calls before they were looked at, and then asks whether
/// anybody is there. Gives the types of the frames that come back, up to the answer to that, or the end.
async fn frames_after_given_up_calls(address: SocketAddr, count: u32) -> Vec<u8> {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const END_OF_HEADERS: u8 = 4;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    /// POST, http, /, and the authority "a", with the static table of RFC 7541.
    const HEADER_BLOCK: [u8; 6] = [0x83, 0x86, 0x84, 0x01, 0x01, b'a'];
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for call in 0..count {
        bytes.extend(frame(HEADERS, END_OF_HEADERS, 2 * call + 1, &HEADER_BLOCK));
        bytes.extend(frame(RST_STREAM, 0, 2 * call + 1, &CANCEL));
    }
    bytes.extend(frame(PING, 0, 0, b"are you?"));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
        if head[3] == PING {
            break;
        }
    }
    kinds
}

#[tokio::test]
async fn a_connection_outlives_calls_that_were_given_up_while_it_was_slow() {
    const GO_AWAY: u8 = 7;
    let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap();
    let address = bound.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = tonic::service::Routes::from(axum::Router::new().route("/", get(who)));
    let served = rt::spawn(serve(bound, routes, None, async { _ = stopped.await }));
    let kinds = frames_after_given_up_calls(address, 200).await;
    assert!(!kinds.contains(&GO_AWAY), "{kinds:?}");
    // Whoever does that without end is stopped all the same.
    let kinds = frames_after_given_up_calls(address, 5000).await;
    assert!(kinds.contains(&GO_AWAY), "{kinds:?}");
    drop(stop);
    served.await.unwrap().unwrap();
}
