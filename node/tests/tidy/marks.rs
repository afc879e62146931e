//! Marks in the node for whoever tries it out: planted bugs (`env/museum.rs`) and rare paths (`env/probe.rs`).

use std::collections::BTreeSet;
use std::path::Path;

use crate::finding::Finding;
use crate::lexer::{LITERAL, Token};
use crate::source::Source;

/// A kind of mark: where its names are listed, and the macro that places one.
struct Kind {
    catalogue: &'static str,
    list: &'static str,
    place: &'static str,
    why: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        catalogue: "node/src/env/museum.rs",
        list: "exhibits",
        place: "planted",
        why: "a bug is planted in one form only, planted!(Name), so that a search finds every one, and each name on \
              the list stands somewhere",
    },
    Kind {
        catalogue: "node/src/env/probe.rs",
        list: "probes",
        place: "sometimes",
        why: "a rare path is marked in one form only, sometimes!(Name), and each name on the list stands somewhere: \
              else the report of paths never reached is wrong",
    },
];

const FEATURE_WHY: &str = "the museum is the only build feature, and env/museum.rs the only place that asks for it: \
                           what ships must not depend on how it was built";

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = sources.iter().flat_map(features).collect();
    for kind in &KINDS {
        let Some(catalogue) = sources.iter().find(|source| source.path == kind.catalogue) else {
            findings.push(Finding::new(kind.catalogue, 1, "is gone", kind.why));
            continue;
        };
        let mut placed = BTreeSet::new();
        let others = sources.iter().filter(|source| source.in_node().is_some() && source.path != kind.catalogue);
        for source in others {
            findings.extend(places(source, kind, &mut placed));
        }
        for (name, line) in listed(&catalogue.tokens, kind.list).into_iter().filter(|(name, _)| !placed.contains(name))
        {
            findings.push(Finding::new(kind.catalogue, line, format!("`{name}` stands nowhere"), kind.why));
        }
    }
    findings
}

/// The names in `exhibits! { Name "..." ... }`.
fn listed(tokens: &[Token], list: &str) -> Vec<(String, usize)> {
    let starts = tokens.windows(3).position(|three| [list, "!", "{"] == [0, 1, 2].map(|at| three[at].text.as_str()));
    let inside = starts.map_or(&[][..], |at| &tokens[at + 3..]);
    let inside = inside.split(|token| token.text == "}").next().unwrap_or(&[]);
    let names = inside.windows(2).filter(|two| two[0].is_word() && two[1].text == LITERAL);
    names.map(|two| (two[0].text.clone(), two[0].line)).collect()
}

fn places(source: &Source, kind: &Kind, placed: &mut BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tokens = &source.tokens;
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == kind.place) {
        let after: Vec<&str> = tokens[at + 1..].iter().take(4).map(|token| token.text.as_str()).collect();
        match after.as_slice() {
            ["!", "(", name, ")"] => {
                placed.insert((*name).to_owned());
            }
            // Its name in an import.
            ["}" | "," | ";", ..] => {}
            _ => findings.push(Finding::new(
                &source.path,
                token.line,
                format!("`{}` in another form", kind.place),
                kind.why,
            )),
        }
    }
    findings
}

/// `cfg(feature = ...)` in the node.
fn features(source: &Source) -> Vec<Finding> {
    if source.in_node().is_none() || source.path == KINDS[0].catalogue {
        return Vec::new();
    }
    let asked = source
        .tokens
        .windows(3)
        .filter(|three| three[0].text == "feature" && three[1].text == "=" && three[2].text == LITERAL);
    asked.map(|three| Finding::new(&source.path, three[0].line, "a build feature is asked for", FEATURE_WHY)).collect()
}

/// A feature that is on by default ships.
pub fn default_features(root: &Path) -> Vec<Finding> {
    let path = "node/Cargo.toml";
    let manifest = std::fs::read_to_string(root.join(path)).expect("the node has a manifest");
    let lines = manifest.lines().enumerate().filter(|(_, line)| line.starts_with("default"));
    lines.map(|(at, _)| Finding::new(path, at + 1, "features by default", FEATURE_WHY)).collect()
}

mod tests {
    use super::*;

    fn found(site: &str) -> Vec<String> {
        let sources = [
            Source::new(KINDS[0].catalogue, "exhibits! { A \"a\" \"b\" \"c\" B \"\" \"\" \"\" }"),
            Source::new(KINDS[1].catalogue, "probes! { P \"p\" }"),
            Source::new("node/src/wal/log.rs", site),
        ];
        check(&sources)
            .into_iter()
            .map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.what))
            .collect()
    }

    #[test]
    fn marks_without_a_place_and_other_forms_are_found() {
        let good = "use crate::env::{planted, sometimes};\nif planted!(A) || planted!(B) { sometimes!(P); }";
        assert_eq!(found(good), [""; 0]);
        assert_eq!(found("planted!(A); sometimes!(P)"), ["node/src/env/museum.rs:1 `B` stands nowhere"]);
        let other = "planted!(A); planted!(B); sometimes!(P);\nlet f = planted(Exhibit::A);";
        assert_eq!(found(other), ["node/src/wal/log.rs:2 `planted` in another form"]);
    }

    #[test]
    fn a_build_feature_is_found() {
        let asked = "#[cfg(feature = \"fast\")]\nplanted!(A); planted!(B); sometimes!(P);";
        assert_eq!(found(asked), ["node/src/wal/log.rs:1 a build feature is asked for"]);
    }
}
