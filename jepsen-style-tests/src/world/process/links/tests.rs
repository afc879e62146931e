//! Links between this process and an echo, since any process can be an end of one.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{End, Links, Port, Rule};

const ECHO: End = End::Node(0);
const ME: End = End::Node(1);
/// Long enough for a loopback, short enough to wait for in vain.
const A_WHILE: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

struct Scene {
    links: Links,
    at: std::net::SocketAddr,
}

async fn scene(port: Port) -> Scene {
    let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = echo.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = socket.split();
                tokio::io::copy(&mut reads, &mut writes).await
            });
        }
    });
    let links = Links::new(1);
    // The first of them is found: this process is both ends, and dials.
    links.node_runs(1, std::process::id());
    links.node_runs(0, 0);
    let at = free_port();
    links.add(0, port, at, target);
    Scene { links, at }
}

fn free_port() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

impl Scene {
    /// Waits until the proxy listens.
    async fn connect(&self) -> TcpStream {
        let tried = async {
            loop {
                match TcpStream::connect(self.at).await {
                    Ok(socket) => return socket,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(LONG, tried).await.expect("the proxy listens")
    }

    async fn is_refused(&self) {
        let refused = async {
            while TcpStream::connect(self.at).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, refused).await.expect("nobody listens");
    }
}

async fn echoes(socket: &mut TcpStream, word: &[u8; 4]) -> bool {
    socket.write_all(word).await.is_ok() && hears(socket, word).await
}

async fn hears(socket: &mut TcpStream, word: &[u8; 4]) -> bool {
    let mut heard = [0; 4];
    timeout(LONG, socket.read_exact(&mut heard)).await.is_ok_and(|read| read.is_ok()) && heard == *word
}

async fn is_silent(socket: &TcpStream) -> bool {
    timeout(A_WHILE, socket.peek(&mut [0])).await.is_err()
}

#[tokio::test]
async fn a_good_link_carries_everything_and_its_end() {
    let scene = scene(Port::Peer).await;
    let mut socket = scene.connect().await;
    let (mut reads, mut writes) = socket.split();
    let sent = vec![7; 1_000_000];
    let write = async {
        writes.write_all(&sent).await.expect("written");
        writes.shutdown().await.expect("ended");
    };
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(write, timeout(LONG, reads.read_to_end(&mut heard)));
    read.expect("it ends").expect("in order");
    assert!(heard == sent, "{} of {} bytes came back", heard.len(), sent.len());
}

#[tokio::test]
async fn a_held_direction_keeps_its_bytes_and_the_connection() {
    let scene = scene(Port::Peer).await;
    let mut socket = scene.connect().await;
    assert!(echoes(&mut socket, b"good").await);
    for (from, to) in [(ME, ECHO), (ECHO, ME)] {
        scene.links.set(from, to, Rule::held());
        socket.write_all(b"held").await.expect("the connection stays");
        assert!(is_silent(&socket).await, "{from:?} -> {to:?} is held, and something came through");
        // Whoever comes now is heard by nobody either.
        let mut fresh = scene.connect().await;
        fresh.write_all(b"anew").await.expect("the connection comes up");
        assert!(is_silent(&fresh).await);
        scene.links.clear();
        assert!(hears(&mut socket, b"held").await, "what was held is lost");
        assert!(hears(&mut fresh, b"anew").await);
    }
}

#[tokio::test]
async fn only_the_link_of_the_two_is_held() {
    let peers = scene(Port::Peer).await;
    peers.links.set_both(End::Node(2), ECHO, Rule::held());
    peers.links.set_both(End::Clients, ECHO, Rule::held());
    assert!(echoes(&mut peers.connect().await, b"good").await, "another link was held");

    // Behind a client port everybody is a client.
    let clients = scene(Port::Client).await;
    clients.links.set_both(ME, ECHO, Rule::held());
    assert!(echoes(&mut clients.connect().await, b"good").await, "another link was held");
    clients.links.set(End::Clients, ECHO, Rule::held());
    let mut socket = clients.connect().await;
    socket.write_all(b"held").await.expect("the connection comes up");
    assert!(is_silent(&socket).await);
}

#[tokio::test]
async fn what_is_reset_or_refused_ends_with_an_error() {
    let scene = scene(Port::Peer).await;
    let mut socket = scene.connect().await;
    assert!(echoes(&mut socket, b"good").await);
    scene.links.reset(ECHO, ME);
    let ended = timeout(LONG, socket.read(&mut [0; 4])).await.expect("it ends");
    assert_eq!(ended.expect_err("a reset is no orderly end").kind(), std::io::ErrorKind::ConnectionReset);
    assert!(echoes(&mut scene.connect().await, b"anew").await, "the next connection is a good one");

    scene.links.set(ME, ECHO, Rule::refused());
    assert!(!echoes(&mut scene.connect().await, b"lost").await);
    scene.links.clear();
    assert!(echoes(&mut scene.connect().await, b"back").await);
}

#[tokio::test]
async fn a_slow_direction_takes_its_time() {
    let scene = scene(Port::Peer).await;
    let mut socket = scene.connect().await;
    scene.links.set(ME, ECHO, Rule::delayed(A_WHILE, Duration::ZERO));
    let begun = Instant::now();
    assert!(echoes(&mut socket, b"slow").await);
    assert!(begun.elapsed() >= A_WHILE);
    scene.links.set(ME, ECHO, Rule { bytes_per_s: Some(20), ..Rule::default() });
    let begun = Instant::now();
    assert!(echoes(&mut socket, b"thin").await && echoes(&mut socket, b"thin").await);
    assert!(begun.elapsed() >= Duration::from_millis(400), "8 bytes at 20 a second took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_node_that_is_not_there_refuses() {
    let scene = scene(Port::Client).await;
    assert!(echoes(&mut scene.connect().await, b"here").await);
    scene.links.node_ended(0);
    scene.is_refused().await;
    scene.links.node_runs(0, 0);
    assert!(echoes(&mut scene.connect().await, b"back").await);

    // It says that it runs, and does not listen.
    let nobody = Scene { links: scene.links.clone(), at: free_port() };
    nobody.links.add(0, Port::Client, nobody.at, free_port());
    nobody.is_refused().await;

    let Scene { links, at } = scene;
    drop(links);
    assert!(TcpStream::connect(at).await.is_ok(), "somebody still holds the links");
    let Scene { links, .. } = nobody;
    drop(links);
    Scene { links: Links::new(1), at }.is_refused().await;
}
