//! Every time limit and size limit of a client. All are finite.

use std::time::Duration;

use crate::{Error, Login, Tls};

/// Servers of etcd's kind close the connection of a client that pings more often than this.
pub const KEEP_ALIVE_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// How a [`Client`](crate::Client) behaves. `Options::default()` suits a cluster within one region.
#[derive(Clone, Debug)]
pub struct Options {
    /// For setting up one connection.
    pub connect_timeout: Duration,
    /// For one request, over all its attempts. It travels with the request, so that a server drops work nobody
    /// waits for any more.
    pub request_timeout: Duration,
    /// For one attempt of a read, before another endpoint is asked. A write gets all of what is left of
    /// `request_timeout`, because it could not be repeated anyway.
    pub read_attempt_timeout: Duration,
    /// Between two HTTP/2 pings on a silent connection. At least [`KEEP_ALIVE_INTERVAL_MIN`].
    pub keep_alive_interval: Duration,
    /// How long a ping may stay unanswered before the connection counts as dead.
    pub keep_alive_timeout: Duration,
    /// How often the list of endpoints is replaced by the client URLs of the cluster's members. `None`: never; the
    /// endpoints stay as given.
    pub sync_members_every: Option<Duration>,
    /// How to speak TLS. `None`: with the authorities of the machine, where an endpoint says `https`.
    pub tls: Option<Tls>,
    /// Who the client is, in a cluster that asks.
    pub login: Option<Login>,
    /// Largest answer accepted, in bytes.
    pub response_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            read_attempt_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            sync_members_every: None,
            tls: None,
            login: None,
            response_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = Duration::ZERO;
        if [self.connect_timeout, self.request_timeout, self.read_attempt_timeout, self.keep_alive_timeout]
            .contains(&zero)
        {
            return Err(Error::Usage("a timeout of zero would refuse every request; give it a real one".into()));
        }
        if self.keep_alive_interval < KEEP_ALIVE_INTERVAL_MIN {
            return Err(Error::Usage(format!(
                "keep_alive_interval is {:?}, but servers cut off clients that ping more often than every {:?}",
                self.keep_alive_interval, KEEP_ALIVE_INTERVAL_MIN
            )));
        }
        if self.sync_members_every == Some(zero) {
            return Err(Error::Usage("sync_members_every is zero; use None to switch it off".into()));
        }
        self.tls.as_ref().map_or(Ok(()), Tls::check)
    }
}
