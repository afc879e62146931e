//! Connections as they come in, and the handshakes of those that come with TLS.
//!
//! ```text
//!   accept --+-- plain --------------------------------------------> Accepted
//!            `-- TLS: a task for each handshake, bounded in time ---> Accepted
//!                     at most HANDSHAKES_MAX of them; one more, and the one that has taken longest is dropped
//! ```
//!
//! Accepting never waits for a handshake. A client that connects and says nothing holds one place for
//! [`HANDSHAKE_MAX`] at most, and less when others need it: those who do speak are through in milliseconds.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};

use super::ClientCertificate;
use super::accepted::Accepted;
use super::tls::{ServerTerms, ServerTls};
use super::wire::Wire;
use crate::rt;

/// Handshakes of one listener at a time.
const HANDSHAKES_MAX: usize = 512;
/// How long one handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections through their handshake that nobody has taken over yet.
const READY_MAX: usize = 16;
/// After the system refused to accept (no more file descriptors), it is left alone this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Refused handshakes are logged this often at most; the others are counted.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// The first byte of every TLS connection: a handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What a client is told that speaks HTTP here; in the words of Go's servers, which people search for.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// How much of what such a client still sends is read, so that it can read the answer before the connection ends.
const NOT_TLS_READ_MAX: u64 = 64 * 1024;
const NOT_TLS_READ_FOR: Duration = Duration::from_millis(500);

/// All connections of a listener.
pub fn incoming(listener: TcpListener, tls: Option<ServerTls>) -> BoxStream<'static, io::Result<Accepted>> {
    let Some(tls) = tls else {
        let plain = TcpListenerStream::new(listener);
        return plain.map(|accepted| accepted.and_then(|stream| Accepted::new(Wire::Plain(stream), None))).boxed();
    };
    let (ready, taken) = mpsc::channel(READY_MAX);
    rt::spawn(accept(listener, tls, ready));
    ReceiverStream::new(taken).boxed()
}

/// A handshake under way; dropped, it ends.
struct Pending(rt::JoinHandle<()>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Accepts until nobody takes connections any more.
async fn accept(listener: TcpListener, tls: ServerTls, ready: mpsc::Sender<io::Result<Accepted>>) {
    let refusals = Arc::new(Refusals { tls, said: Mutex::new(Said::default()) });
    let mut pending: VecDeque<Pending> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                make_room(&mut pending, &refusals);
                pending.push_back(Pending(rt::spawn(receive(stream, from, Arc::clone(&refusals), ready.clone()))));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                rt::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Those that are through go first; if there are none, the oldest.
fn make_room(pending: &mut VecDeque<Pending>, refusals: &Refusals) {
    if pending.len() < HANDSHAKES_MAX {
        return;
    }
    pending.retain(|handshake| !handshake.0.is_finished());
    if pending.len() >= HANDSHAKES_MAX {
        pending.pop_front();
        refusals.refuse(None, &format!("{HANDSHAKES_MAX} handshakes are under way: the oldest is given up"));
    }
}

async fn receive(
    stream: TcpStream,
    from: SocketAddr,
    refusals: Arc<Refusals>,
    ready: mpsc::Sender<io::Result<Accepted>>,
) {
    let terms = refusals.tls.terms();
    match rt::timeout(HANDSHAKE_MAX, shake_hands(stream, &terms)).await {
        Ok(Ok(Some(accepted))) => {
            // Whoever took connections may be gone: then this one goes too.
            let _nobody_takes = ready.send(Ok(accepted)).await;
        }
        // Somebody looked whether the port is open.
        Ok(Ok(None)) => {}
        Ok(Err(error)) => refusals.refuse(Some(from), &describe(&error)),
        Err(_) => refusals.refuse(Some(from), &format!("no handshake within {} s", HANDSHAKE_MAX.as_secs())),
    }
}

/// Our own reasons to refuse a certificate are wrapped in a way that hides their words.
fn describe(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(own))) => own.0.to_string(),
        _ => error.to_string(),
    }
}

/// `None` if the client went away without a word.
async fn shake_hands(mut stream: TcpStream, terms: &ServerTerms) -> io::Result<Option<Accepted>> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => return Ok(None),
        _ if first[0] == TLS_HANDSHAKE => {}
        _ => {
            tell_not_tls(&mut stream).await;
            return Err(io::Error::other("the client does not speak TLS: this URL is https"));
        }
    }
    let stream = TlsAcceptor::from(Arc::clone(&terms.config)).accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = match (terms.common_name_of, shown) {
        (Some(common_name_of), Some(shown)) => Some(ClientCertificate { common_name: common_name_of(shown) }),
        _ => None,
    };
    Accepted::new(Wire::Tls(Box::new(stream)), certificate).map(Some)
}

/// Whatever fails here, the connection is at its end.
async fn tell_not_tls(stream: &mut TcpStream) {
    let told = async {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        // Bytes that nobody read would turn the end into a reset, which overtakes the answer.
        tokio::io::copy(&mut stream.take(NOT_TLS_READ_MAX), &mut tokio::io::sink()).await
    };
    let _at_its_end = rt::timeout(NOT_TLS_READ_FOR, told).await;
}

/// What is said of connections that were turned away.
struct Refusals {
    tls: ServerTls,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    last: Option<rt::Instant>,
    /// How many were counted, and not said, since.
    unsaid: u64,
}

impl Refusals {
    fn refuse(&self, from: Option<SocketAddr>, why: &str) {
        self.tls.count_failed();
        let unsaid = {
            let mut said = self.said.lock();
            if said.last.is_some_and(|last| rt::since(last) < SAY_EVERY) {
                said.unsaid += 1;
                return;
            }
            said.last = Some(rt::now());
            std::mem::take(&mut said.unsaid)
        };
        let from = from.map_or_else(|| "?".to_owned(), |from| from.to_string());
        tracing::warn!(remote_addr = from, error = why, others_unsaid = unsaid, "rejected connection");
    }
}
