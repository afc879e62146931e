//! Which outside crate may be named where in the node. What is not listed may be named anywhere.

use crate::finding::Finding;
use crate::paths::named_paths;
use crate::source::Source;

struct Rule {
    /// Paths, matched from their first segment on.
    paths: &'static [&'static str],
    /// Folders (ending in `/`) and files of `node/src`.
    allowed: &'static [&'static str],
    why: &'static str,
}

const RULES: [Rule; 15] = [
    Rule {
        paths: &["openraft", "openraft_rt", "openraft_rt_tokio"],
        allowed: &["raft/", "rt/"],
        why: "the library is pinned and its interface moves: an upgrade must end inside raft/ and rt/",
    },
    Rule {
        paths: &["rocksdb", "librocksdb_sys"],
        allowed: &["storage/rocks.rs", "storage/rocks/"],
        why: "the engine is a trait with two implementations; the simulator runs without this one",
    },
    Rule {
        paths: &["tonic", "tonic_prost", "tonic_reflection"],
        // ops/ hands work to the leader: it is the client end of the members' own wire.
        allowed: &["api/", "raft/", "ops/", "gateway/", "admin/", "rt/", "node.rs", "node/"],
        why: "only the ends of a wire speak gRPC; what is between them must serve any wire",
    },
    Rule {
        paths: &["prost_reflect"],
        allowed: &["api/reflection.rs", "gateway/"],
        why: "messages known by their description alone are for JSON; inside the node a message has a type",
    },
    Rule {
        paths: &["axum", "hyper", "hyper_util", "tower", "tower_service"],
        allowed: &["api/", "raft/", "gateway/", "admin/", "rt/", "node.rs", "node/"],
        why: "only the ends of a wire speak HTTP",
    },
    Rule {
        paths: &["tokio", "tokio_stream", "tokio_util", "futures", "futures_util", "async_stream"],
        allowed: &[
            "rt/",
            "raft/",
            "ops/",
            "integrity/",
            "backup/",
            "api/",
            "gateway/",
            "admin/",
            "node.rs",
            "node/",
            "cli/",
            "main.rs",
        ],
        why: "layers 1 to 4 are plain synchronous code that is given its time: it replays the same everywhere",
    },
    Rule {
        paths: &["rustls", "rustls_native_certs", "tokio_rustls", "rcgen", "x509_parser"],
        // rt/ makes the connections, tls/ what they are made with.
        allowed: &["tls/", "rt/"],
        why: "who is trusted is decided in one place; elsewhere a connection is a connection",
    },
    Rule { paths: &["madsim"], allowed: &["rt/"], why: "rt is the one module that knows which world it runs in" },
    Rule {
        paths: &["rand", "rand_core"],
        allowed: &["rt/"],
        why: "chance comes from crate::rt, where a seed can decide it",
    },
    Rule {
        paths: &["std::fs", "rustix::fs"],
        // metrics/process.rs reads /proc, which is no disk.
        allowed: &["env/real.rs", "storage/rocks.rs", "storage/rocks/", "metrics/process.rs"],
        why: "every file but RocksDB's own passes the Disk trait, or the faulty disk could not make it fail",
    },
    Rule {
        paths: &["std::time::Instant", "std::time::SystemTime"],
        allowed: &["rt/"],
        why: "clocks come from crate::rt, where the simulator can skew them",
    },
    Rule {
        paths: &["std::thread", "std::net::TcpStream", "std::net::TcpListener"],
        allowed: &["rt/"],
        why: "threads and sockets are the runtime's; the simulator has neither",
    },
    Rule {
        paths: &["prometheus"],
        allowed: &["metrics/"],
        why: "the catalogue of metrics is one place, and names in it are promises to dashboards",
    },
    Rule {
        // ring has other uses too: as the provider of TLS it is named by rustls.
        paths: &["bcrypt", "hmac", "jsonwebtoken", "ring::rand", "ring::rsa", "ring::signature"],
        allowed: &["auth/"],
        why: "what proves who somebody is stands in one place, where it can be read at one sitting",
    },
    Rule {
        paths: &["clap", "serde_yaml_ng"],
        allowed: &["config.rs", "config/", "cli/", "main.rs"],
        why: "how a setting is spelled is the top's business; below it is a typed value",
    },
];

pub fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.in_node() else { return Vec::new() };
    let mut findings = Vec::new();
    for named in named_paths(source) {
        for rule in &RULES {
            let banned = rule.paths.iter().any(|path| named.starts_with(path));
            if banned && !rule.allowed.iter().any(|place| is_inside(inside, place)) {
                let what = format!("`{}` is named outside {}", named.text(), rule.allowed.join(", "));
                findings.push(Finding::new(&source.path, named.line, what, rule.why));
            }
        }
    }
    findings
}

/// A place is a folder (`raft/`) or a file.
pub fn is_inside(path: &str, place: &str) -> bool {
    path == place || place.ends_with('/') && path.starts_with(place)
}

mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn strangers_are_found_in_every_spelling() {
        assert_eq!(lines("node/src/mvcc/range.rs", "use tokio::sync::Mutex;\nfn f() -> tonic::Status {}"), [1, 2]);
        assert_eq!(lines("node/src/ops/read.rs", "use std::{\n    fs::File,\n    io,\n};"), [2]);
        assert_eq!(lines("node/src/ops/read.rs", "#[rocksdb::x]\nuse ::openraft::Raft;\nuse rand as dice;"), [1, 2, 3]);
        assert_eq!(lines("node/src/state/apply.rs", "let now = std::time::Instant::now();"), [1]);
    }

    #[test]
    fn the_right_places_are_free() {
        assert!(lines("node/src/storage/rocks.rs", "use rocksdb::DB;").is_empty());
        assert!(lines("node/src/raft/network.rs", "use openraft::Raft; use tonic::Status;").is_empty());
        assert!(lines("node/src/env/real.rs", "use std::fs::File;").is_empty());
        assert!(lines("node/src/wal/log.rs", "use std::io; use std::time::Duration; // tokio::spawn").is_empty());
        assert!(lines("node/src/wal/log.rs", "#[cfg(test)]\nmod tests { use rand::Rng; }").is_empty());
        assert!(lines("client/src/kv.rs", "use tonic::Status;").is_empty());
    }

    #[test]
    fn a_name_that_only_begins_alike_is_free() {
        assert!(lines("node/src/wal/log.rs", "use tokiola::x; use self::rand::y;").is_empty());
        assert!(!is_inside("rafter/x.rs", "raft/") && !is_inside("node.rs.rs", "node.rs"));
    }
}
