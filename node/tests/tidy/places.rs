//! Where the code may know that there is a simulator.

use crate::finding::Finding;
use crate::importers::is_inside;
use crate::source::Source;

/// In `node/src`. The list of `storage`'s modules leaves RocksDB out of the simulator's build.
const ALLOWED: [&str; 6] = ["rt/", "node.rs", "io.rs", "lib.rs", "main.rs", "storage/mod.rs"];

const WHY: &str = "the same node runs in both worlds: two variants of the code in between would mean that the \
                   simulator tests something else than what ships";

pub fn check(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.in_node() else { return Vec::new() };
    if ALLOWED.iter().any(|place| is_inside(inside, place)) {
        return Vec::new();
    }
    let tokens = source.shipped_tokens();
    let named = tokens.iter().filter(|token| token.text == "madsim");
    named.map(|token| Finding::new(&source.path, token.line, "`madsim` is named here", WHY)).collect()
}

mod tests {
    use super::*;

    #[test]
    fn the_simulator_is_found_outside_its_places() {
        let text = "#[cfg(not(madsim))]\nfn f() { if cfg!(madsim) {} }";
        assert_eq!(check(&Source::new("node/src/wal/log.rs", text)).len(), 2);
        assert!(check(&Source::new("node/src/rt/mod.rs", text)).is_empty());
        assert!(check(&Source::new("node/src/wal/log.rs", "// cfg(madsim)")).is_empty());
    }
}
