//! How members and clusters get their ids: from what their founders all know, so that they agree without talking.
//!
//! The ids are those that etcd gives to the same members (`computeMemberId` and `genID` of its `membership` package):
//! the first eight bytes of a SHA-1. A cluster founded with the command line of an etcd has the ids that scripts and
//! dashboards know. Nothing here needs the hash to be a strong one: who may join is decided by certificates.

use sha1::{Digest, Sha1};

use super::{ClusterId, MemberId};

fn first_u64(hasher: Sha1) -> u64 {
    let digest: [u8; 20] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    // 0 means "no member" on the wire.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

/// A member's id: from its peer URLs, the cluster's token, and for one that joins later the time, so that a member
/// removed and added again at the same address is another one. (etcd takes seconds there.)
pub fn member_id_of(peer_urls: &[String], token: &str, joined_unix_ms: Option<u64>) -> MemberId {
    let mut sorted: Vec<&String> = peer_urls.iter().collect();
    sorted.sort();
    let mut hasher = Sha1::new();
    for url in sorted {
        hasher.update(url.as_bytes());
    }
    hasher.update(token.as_bytes());
    if let Some(joined) = joined_unix_ms {
        hasher.update(joined.to_string().as_bytes());
    }
    MemberId(first_u64(hasher))
}

/// A new cluster's id, the same on all its first members. The token is in their ids.
pub fn cluster_id_of(members: &[MemberId]) -> ClusterId {
    let mut sorted: Vec<u64> = members.iter().map(|member| member.0).collect();
    sorted.sort_unstable();
    let mut hasher = Sha1::new();
    for id in sorted {
        hasher.update(id.to_be_bytes());
    }
    ClusterId(first_u64(hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(url: &str, token: &str) -> MemberId {
        member_id_of(&[url.to_owned()], token, None)
    }

    #[test]
    fn ids_do_not_depend_on_the_order_of_urls_or_members() {
        let (a, b) = ("http://a".to_owned(), "http://b".to_owned());
        assert_eq!(member_id_of(&[a.clone(), b.clone()], "t", None), member_id_of(&[b.clone(), a.clone()], "t", None));
        assert_ne!(id_of(&a, "t"), id_of(&b, "t"));
        assert_ne!(id_of(&a, "t"), id_of(&a, "u"));
        assert_ne!(member_id_of(std::slice::from_ref(&a), "t", Some(7)), member_id_of(&[a], "t", Some(8)));
        assert_eq!(cluster_id_of(&[MemberId(1), MemberId(2)]), cluster_id_of(&[MemberId(2), MemberId(1)]));
    }

    /// What etcd 3.5 says of itself when it is started without flags, and with the flags below.
    #[test]
    fn ids_are_those_of_an_etcd_with_the_same_flags() {
        let alone = id_of("http://localhost:2380", "etcd-cluster");
        assert_eq!(
            (alone, cluster_id_of(&[alone])),
            (MemberId(0x8e9e_05c5_2164_694d), ClusterId(0xcdf8_1819_4e3a_8c32))
        );
        let ids = [12001, 12002, 12003].map(|port| id_of(&format!("http://127.0.0.1:{port}"), "a-token"));
        let known = [0x34bd_a0bf_6af2_f867, 0x6831_eb00_ce94_93e2, 0x39b9_7ef2_ffdf_4446];
        assert_eq!(ids, known.map(MemberId));
        assert_eq!(cluster_id_of(&ids), ClusterId(17_125_339_563_995_108_615));
    }
}
