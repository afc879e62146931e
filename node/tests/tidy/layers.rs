//! The layer table of the node. A module imports lower layers; inside its own layer only itself and the few
//! neighbours named below.

use crate::finding::Finding;
use crate::paths::named_paths;
use crate::source::Source;

struct Layer {
    modules: &'static [&'static str],
    /// What sets the layer apart, and so why the ones above must not be reached from it.
    why: &'static str,
}

/// From the bottom up.
const LAYERS: [Layer; 9] = [
    Layer {
        modules: &["types", "codec", "env", "rt", "metrics", "tls"],
        why: "layer 1 is words and the outside world: it must make sense without a store",
    },
    Layer {
        modules: &["storage", "wal", "admission"],
        why: "layer 2 keeps bytes and counts: it must not know what the bytes mean",
    },
    Layer {
        modules: &["mvcc", "lease", "auth"],
        why: "layer 3 gives rows a meaning: plain functions of a view, testable without a node",
    },
    Layer {
        modules: &["state", "watch"],
        why: "layer 4 decides what an entry does and who hears of it: the same on every replica and in a restore",
    },
    Layer { modules: &["raft"], why: "layer 5 replicates commands: it must not know which client asked, or how" },
    Layer {
        modules: &["ops", "integrity", "backup"],
        why: "layer 6 is what a node does for a caller, whatever wire the caller came by",
    },
    Layer { modules: &["api"], why: "layer 7 is the gRPC wire: one choke point which everything above passes too" },
    Layer { modules: &["gateway", "admin"], why: "layer 8 is HTTP over what the layers below already do" },
    Layer {
        modules: &["node", "config", "settings", "cli", "io", "main", "lib"],
        why: "the top wires the layers together; nothing imports it",
    },
];

/// Neighbours in a layer: who, whom, and why the arrow may stand. Never both ways.
const NEIGHBOURS: [(&str, &str, &str); 9] = [
    ("codec", "types", "records and keys are made of ids and revisions"),
    ("env", "types", "the words of every layer"),
    ("rt", "types", "the words of every layer"),
    ("metrics", "types", "the words of every layer"),
    ("tls", "types", "the words of every layer"),
    ("tls", "env", "certificates are files"),
    ("tls", "metrics", "when certificates end is shown"),
    ("tls", "rt", "it fills the slots that connections look into, and looks at its files from time to time"),
    ("auth", "lease", "whoever attaches a lease, or ends one, must be allowed to write the keys it holds"),
];

/// The top is one thing in several files.
const TOP: usize = LAYERS.len() - 1;

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.modules.contains(&module))
}

pub fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.in_node() else { return Vec::new() };
    let own = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
    let Some(own_layer) = layer_of(own) else {
        let what = format!("`{own}` stands in no layer");
        return vec![Finding::new(&source.path, 1, what, "every module has one place in the table of tidy/layers.rs")];
    };
    let module = source.module();
    let mut findings = Vec::new();
    for named in named_paths(source) {
        let Some(inside_crate) = named.inside_crate(&module) else { continue };
        let Some(target) = inside_crate.first() else { continue };
        if let Some(why) = refusal(own, own_layer, target) {
            let what = format!("`{own}` names `crate::{}`", inside_crate.join("::"));
            findings.push(Finding::new(&source.path, named.line, what, why));
        }
    }
    findings
}

fn refusal(own: &str, own_layer: usize, target: &str) -> Option<String> {
    if own == target || own_layer == TOP {
        return None;
    }
    let Some(target_layer) = layer_of(target) else {
        return Some(format!("`{target}` stands in no layer: name things by the module they live in"));
    };
    let why = LAYERS[own_layer].why;
    let neighbours = NEIGHBOURS.iter().any(|(who, whom, _)| *who == own && *whom == target);
    match own_layer.cmp(&target_layer) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal if neighbours => None,
        std::cmp::Ordering::Equal => Some(format!("same layer, and not in the list of neighbours; {why}")),
        std::cmp::Ordering::Less => Some(format!("`{target}` is above `{own}`; {why}")),
    }
}

mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn upwards_is_found_in_every_spelling() {
        let found = ["`wal` names `crate::raft::Node`"];
        assert_eq!(whats("node/src/wal/log.rs", "use crate::raft::Node;"), found);
        assert_eq!(whats("node/src/wal/log.rs", "use crate::{types::LogId, raft::{Node}};"), found);
        assert_eq!(whats("node/src/wal/log.rs", "use super::super::raft::Node;"), found);
        assert_eq!(whats("node/src/wal/log.rs", "fn f(node: &crate::raft::Node) {}"), found);
        assert_eq!(whats("node/src/wal/mod.rs", "use super::raft::Node;"), found);
    }

    #[test]
    fn sideways_needs_the_list() {
        assert_eq!(whats("node/src/wal/log.rs", "use crate::storage::Batch;").len(), 1);
        assert!(whats("node/src/codec/key.rs", "use crate::types::Revision;").is_empty());
    }

    #[test]
    fn downwards_itself_and_tests_are_free() {
        assert!(whats("node/src/raft/log.rs", "use crate::{wal::Log, raft::Node}; use super::Node;").is_empty());
        assert!(whats("node/src/wal/log.rs", "//! [`crate::raft`]\n#[cfg(test)]\nuse crate::raft::Node;").is_empty());
        assert!(whats("node/src/node.rs", "use crate::config::Config;").is_empty());
    }

    #[test]
    fn a_module_without_a_layer_is_found() {
        assert_eq!(whats("node/src/misc/mod.rs", ""), ["`misc` stands in no layer"]);
        assert_eq!(whats("node/src/raft/mod.rs", "use crate::misc::X;").len(), 1);
    }

    #[test]
    fn neighbours_are_no_circle() {
        for (who, whom, _) in NEIGHBOURS {
            assert_eq!(layer_of(who), layer_of(whom), "{who} and {whom} are no neighbours");
            assert!(!NEIGHBOURS.iter().any(|(a, b, _)| (*a, *b) == (whom, who)), "{who} and {whom} know each other");
        }
    }
}
