//! Who is at the other end of a connection that this machine made to itself: the kernel's own tables say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::End;
use crate::world::NodeIndex;

/// The end whose socket is connected from `from` to `at`. `None` if there is no such socket any more: whoever had it is
/// gone, or closed it. Blocks for as long as the kernel needs to list its sockets.
pub(super) fn of(from: SocketAddr, at: SocketAddr, pids: &BTreeMap<NodeIndex, u32>) -> Option<End> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let inode = inode(&table, from, at)?;
    let owner = pids.iter().find(|(_, pid)| has_socket(**pid, inode));
    Some(owner.map_or(End::Clients, |(node, _)| End::Node(*node)))
}

/// The inode of the socket between those two addresses. A socket that its process has closed has inode 0.
fn inode(table: &str, from: SocketAddr, at: SocketAddr) -> Option<u64> {
    let (from, at) = (as_in_table(from)?, as_in_table(at)?);
    table.lines().find_map(|line| {
        // sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == from && fields.next()? == at;
        let inode = fields.nth(6)?.parse().ok()?;
        (is_it && inode != 0).then_some(inode)
    })
}

/// `127.0.0.1:8080` is `0100007F:1F90`: the address as a number in the machine's own order of bytes.
fn as_in_table(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_read() {
        let row = |from: &str, rest: &str| format!("   1: {from} 02017F7F:0050 {rest}\n");
        let queues = "00000000:00000000 00:00000000 00000000";
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                .to_owned(),
            row("0100007F:1F90", &format!("01 {queues} 1000 0 4242 1 0 20")),
            row("0100007F:1F91", &format!("06 {queues} 0 0 0 1 0 20")),
        ]
        .concat();
        let at: SocketAddr = "127.127.1.2:80".parse().expect("an address");
        let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(inode(&table, from(8080), at), Some(4242));
        assert_eq!(inode(&table, from(8081), at), None, "its process has closed it");
        assert_eq!(inode(&table, at, from(8080)), None, "the other direction is another socket");
    }

    #[test]
    fn this_process_is_known_by_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let socket = std::net::TcpStream::connect(at).expect("somebody listens");
        let from = socket.local_addr().expect("an address");
        let me = BTreeMap::from([(3, std::process::id())]);
        assert_eq!(of(from, at, &me), Some(End::Node(3)));
        assert_eq!(of(from, at, &BTreeMap::new()), Some(End::Clients));
        drop(socket);
        assert_eq!(of(from, at, &me), None);
    }
}
