//! Loopback addresses and ports that nobody else uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// Where one node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub client: SocketAddr,
    pub peer: SocketAddr,
}

/// One of the 127.a.b.0 nets, at random; a cluster's nodes live in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net {
    a: u8,
    b: u8,
}

impl Net {
    pub(super) fn draw() -> Self {
        // 127.0.x.x is left to everybody else.
        Self { a: rand::random_range(1..=254), b: rand::random_range(1..=254) }
    }

    /// Free addresses for the node of that number. The system chooses the ports; they are released again, and that
    /// nobody takes them before the node does is likely, not certain: whoever starts a cluster tries again.
    pub(super) fn take(self, number: usize) -> Addresses {
        let host = u8::try_from(number + 1).expect("fewer than 255 nodes");
        let own = IpAddr::V4(Ipv4Addr::new(127, self.a, self.b, host));
        // Systems other than Linux have 127.0.0.1 alone.
        let bind = || TcpListener::bind((own, 0)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let (client, peer) = (bind().expect("a free port"), bind().expect("a free port"));
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
        Addresses { client: address(&client), peer: address(&peer) }
    }
}
