//! Tells systemd how the service is, where it asks to be told (sd_notify(3)). Debian's unit for etcd is one that asks.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Requests are served.
pub fn ready() {
    say(b"READY=1");
}

pub fn stopping() {
    say(b"STOPPING=1");
}

fn say(state: &[u8]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = || -> io::Result<()> {
        // A name that begins with @ is in the abstract namespace.
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&socket)?,
        };
        let datagram = UnixDatagram::unbound()?;
        datagram.set_nonblocking(true)?;
        datagram.send_to_addr(state, &address)?;
        Ok(())
    };
    if let Err(error) = sent() {
        tracing::error!(%error, socket = ?socket, "systemd could not be told");
    }
}
