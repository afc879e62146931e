//! What arrives at a TLS port, well or badly meant.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{Scene, ask, authority_of, connect, put_as, start};

/// More than the handshakes that may be under way at a time.
const SILENT: usize = 600;
/// A handshake's limit, and some more for a busy machine.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);
/// Nobody may wait that long because of others.
const AT_ONCE: Duration = Duration::from_secs(5);

pub async fn versions() {
    let scene = Scene::new();
    let roots = scene.authority.file();
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (flag, good, bad) in [("--tls-min-version=TLS1.3", new, old), ("--tls-max-version=TLS1.2", old, new)] {
        let mut cluster = scene.lay_out(1, scene.tls());
        cluster.add_flag(0, flag);
        start(&mut cluster).await;
        let url = cluster.endpoint(0);
        let answer =
            ask(connect(&url, &roots, None, &[good]).await, "/version").await.expect("a version that is spoken");
        assert!(answer.contains("etcdserver"), "{answer}");
        let refused = connect(&url, &roots, None, &[bad]).await.expect_err("a version that is not");
        assert!(refused.to_string().contains("ProtocolVersion"), "{flag}: {refused}");
    }
}

pub async fn plain_http() {
    let scene = Scene::new();
    let mut cluster = scene.lay_out(1, scene.tls());
    start(&mut cluster).await;
    let mut stream = TcpStream::connect(authority_of(&cluster.endpoint(0))).await.expect("the port is open");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("a request is sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(AT_ONCE, stream.read_to_string(&mut answer)).await;
    read.expect("the connection ends at once").expect("and in order");
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
    assert!(answer.contains("HTTP request to an HTTPS server"), "{answer}");
    cluster.wait_said(0, "does not speak TLS").await;
}

pub async fn silent_clients() {
    let scene = Scene::new();
    let mut cluster = scene.lay_out(1, scene.tls());
    start(&mut cluster).await;
    let address = authority_of(&cluster.endpoint(0));
    let begun = Instant::now();
    let silent = join_all((0..SILENT).map(|_| TcpStream::connect(&address))).await;
    let mut silent: Vec<TcpStream> = silent.into_iter().map(|stream| stream.expect("accepted")).collect();
    let asked = Instant::now();
    put_as(&cluster, scene.tls()).await.expect("who speaks is served");
    assert!(asked.elapsed() < AT_ONCE, "it took {:?} past those who say nothing", asked.elapsed());
    // Each is given up: the first because there are too many, the last because its time is over.
    let mut last = silent.pop().expect("some");
    let mut nothing = [0; 1];
    let ended = tokio::time::timeout(GIVEN_UP_AFTER, last.read(&mut nothing)).await.expect("it is given up");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(begun.elapsed() < GIVEN_UP_AFTER);
    let mut first = silent.swap_remove(0);
    let ended = tokio::time::timeout(AT_ONCE, first.read(&mut nothing)).await.expect("it was given up before");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
