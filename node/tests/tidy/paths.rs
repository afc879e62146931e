//! The paths a file names, `use` trees spread out: `use crate::{wal, raft::Node}` names `crate::wal` and
//! `crate::raft::Node`.

use crate::lexer::Token;
use crate::source::Source;

/// A path as written, and the module it was written in.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub segments: Vec<String>,
    /// Counted from 1.
    pub line: usize,
    /// Modules between the file's own module and the place of the path: `mod inner { … }`.
    inline: Vec<String>,
}

impl Named {
    /// The path from the crate's root, when it stays in the crate: `super::super::wal` seen from `raft::log` is
    /// `["wal"]`.
    pub fn inside_crate(&self, file_module: &[String]) -> Option<Vec<String>> {
        let mut module: Vec<String> = file_module.iter().chain(&self.inline).cloned().collect();
        let mut rest = self.segments.as_slice();
        match rest.first()?.as_str() {
            "crate" => return Some(rest[1..].to_vec()),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            _ => return None,
        }
        module.extend_from_slice(rest);
        Some(module)
    }

    pub fn text(&self) -> String {
        self.segments.join("::")
    }

    pub fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    }
}

/// Every path in the code that ships. A lone word is no path, except right after `use`.
pub fn named_paths(source: &Source) -> Vec<Named> {
    let mut reader = Reader { tokens: source.shipped_tokens(), found: Vec::new(), modules: Vec::new(), braces: 0 };
    let mut at = 0;
    while at < reader.tokens.len() {
        at = reader.read(at);
    }
    reader.found
}

struct Reader {
    tokens: Vec<Token>,
    found: Vec<Named>,
    /// Inline modules around the current place, with the depth of braces at which each began.
    modules: Vec<(String, usize)>,
    braces: usize,
}

impl Reader {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn before(&self, at: usize, back: usize) -> &str {
        at.checked_sub(back).map_or("", |at| self.text(at))
    }

    /// Looks at one token, or at a whole path; returns where to go on.
    fn read(&mut self, at: usize) -> usize {
        match self.text(at) {
            "{" => self.braces += 1,
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                while self.modules.last().is_some_and(|(_, depth)| *depth > self.braces) {
                    self.modules.pop();
                }
            }
            "mod" if self.text(at + 2) == "{" => {
                let name = self.text(at + 1).to_string();
                self.modules.push((name, self.braces + 1));
            }
            _ if self.is_head(at) => return self.spread(at, Vec::new()),
            _ => {}
        }
        at + 1
    }

    fn is_head(&self, at: usize) -> bool {
        const NO_NAMES: [&str; 7] = ["use", "as", "in", "return", "dyn", "impl", "mut"];
        if !self.tokens[at].is_word() || NO_NAMES.contains(&self.text(at)) {
            return false;
        }
        let (last, second_last) = (self.before(at, 1), self.before(at, 2));
        let after_use = last == "use" || last == "::" && second_last == "use";
        let after_word = at >= 2 && self.tokens[at - 2].is_word() && !NO_NAMES.contains(&second_last);
        let continues = last == "::" && (after_word || second_last == ">") || last == ".";
        !continues && (self.text(at + 1) == "::" || after_use)
    }

    /// Reads the path whose next segment is at `at`; returns the place after it.
    fn spread(&mut self, mut at: usize, mut segments: Vec<String>) -> usize {
        let line = self.tokens[at.min(self.tokens.len() - 1)].line;
        loop {
            match self.text(at) {
                "{" => return self.spread_group(at + 1, &segments),
                "*" => {
                    segments.push("*".into());
                    at += 1;
                    break;
                }
                _ if at < self.tokens.len() && self.tokens[at].is_word() => {
                    segments.push(self.text(at).to_string());
                    at += 1;
                }
                // A turbofish, or something no rule asks about.
                _ => break,
            }
            if self.text(at) != "::" {
                break;
            }
            at += 1;
        }
        let inline = self.modules.iter().map(|(name, _)| name.clone()).collect();
        self.found.push(Named { segments, line, inline });
        at
    }

    fn spread_group(&mut self, mut at: usize, prefix: &[String]) -> usize {
        while at < self.tokens.len() && self.text(at) != "}" {
            let starts = self.tokens[at].is_word() && self.before(at, 1) != "as" && self.text(at) != "as"
                || self.text(at) == "*";
            at = if starts { self.spread(at, prefix.to_vec()) } else { at + 1 };
        }
        at + 1
    }
}

mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        named_paths(&Source::new("node/src/raft/log.rs", text)).iter().map(Named::text).collect()
    }

    #[test]
    fn use_trees_are_spread_out() {
        assert_eq!(
            texts("use crate::{a::{self, B as C}, d::*}; use e as f; pub(crate) fn x() {}"),
            ["crate::a::self", "crate::a::B", "crate::d::*", "e"]
        );
    }

    #[test]
    fn inline_paths_are_found() {
        assert_eq!(
            texts("fn f(x: tokio::sync::Mutex<::rand::Rng>) { x.y(); A::<B>::c() }"),
            ["tokio::sync::Mutex", "rand::Rng", "A"]
        );
        assert_eq!(texts("#[tokio::main] fn f() { <X as openraft::T>::y() }"), ["tokio::main", "openraft::T"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        let source = Source::new("node/src/raft/log.rs", "use super::super::wal; mod m { use super::x::y; }");
        let inside: Vec<_> =
            named_paths(&source).iter().filter_map(|named| named.inside_crate(&source.module())).collect();
        assert_eq!(inside, [vec!["wal"], vec!["raft", "log", "x", "y"]]);
    }
}
