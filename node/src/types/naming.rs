//! How members and clusters get their ids: from what their founders all know, so that they agree without talking.

use sha2::{Digest, Sha256};

use super::{ClusterId, MemberId};

fn first_u64(hasher: Sha256) -> u64 {
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    // 0 means "no member" on the wire.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

/// A member's id: from its peer URLs, the cluster's token, and for one that joins later the time, so that a member
/// removed and added again at the same address is another one.
pub fn member_id_of(peer_urls: &[String], token: &str, joined_unix_ms: Option<u64>) -> MemberId {
    let mut sorted: Vec<&String> = peer_urls.iter().collect();
    sorted.sort();
    let mut hasher = Sha256::new();
    for url in sorted {
        hasher.update(url.as_bytes());
        hasher.update([0]);
    }
    hasher.update(token.as_bytes());
    if let Some(joined) = joined_unix_ms {
        hasher.update(joined.to_le_bytes());
    }
    MemberId(first_u64(hasher))
}

/// A new cluster's id, the same on all its first members.
pub fn cluster_id_of(members: &[MemberId], token: &str) -> ClusterId {
    let mut sorted: Vec<u64> = members.iter().map(|member| member.0).collect();
    sorted.sort_unstable();
    let mut hasher = Sha256::new();
    for id in sorted {
        hasher.update(id.to_be_bytes());
    }
    hasher.update(token.as_bytes());
    ClusterId(first_u64(hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_depend_on_the_order_of_urls_or_members() {
        let (a, b) = ("http://a".to_owned(), "http://b".to_owned());
        let id_of = |url: &String, token| member_id_of(std::slice::from_ref(url), token, None);
        assert_eq!(member_id_of(&[a.clone(), b.clone()], "t", None), member_id_of(&[b.clone(), a.clone()], "t", None));
        assert_ne!(id_of(&a, "t"), id_of(&b, "t"));
        assert_ne!(id_of(&a, "t"), id_of(&a, "u"));
        let ids = [MemberId(1), MemberId(2)];
        assert_eq!(cluster_id_of(&ids, "t"), cluster_id_of(&[MemberId(2), MemberId(1)], "t"));
    }
}
