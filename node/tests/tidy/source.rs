//! A file of the workspace, cut into what the rules look at: its lines, tokens and comments, and which of them are
//! test code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lexer::{Comment, Token, lex};

/// One `.rs` file.
#[derive(Debug)]
pub struct Source {
    /// From the root of the workspace, with `/`.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
    test_lines: TestLines,
}

/// Which lines are compiled for tests only.
#[derive(Debug)]
enum TestLines {
    All,
    Some(BTreeSet<usize>),
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let lexed = lex(text);
        let test_lines = if is_test_path(path) || gates_whole_file(&lexed.tokens) {
            TestLines::All
        } else {
            TestLines::Some(test_items(&lexed.tokens))
        };
        Self { path: path.into(), text: text.into(), tokens: lexed.tokens, comments: lexed.comments, test_lines }
    }

    pub fn is_test_line(&self, line: usize) -> bool {
        match &self.test_lines {
            TestLines::All => true,
            TestLines::Some(lines) => lines.contains(&line),
        }
    }

    pub fn is_test_file(&self) -> bool {
        matches!(self.test_lines, TestLines::All)
    }

    /// The tokens of the code that ships.
    pub fn shipped_tokens(&self) -> Vec<Token> {
        self.tokens.iter().filter(|token| !self.is_test_line(token.line)).cloned().collect()
    }

    pub fn shipped_lines(&self) -> usize {
        (1..=self.text.lines().count()).filter(|line| !self.is_test_line(*line)).count()
    }

    /// The path inside `node/src`, when the file is there.
    pub fn in_node(&self) -> Option<&str> {
        self.path.strip_prefix("node/src/")
    }

    /// The module path: `["raft", "log_store"]` for `node/src/raft/log_store.rs`, empty for the crate's root.
    pub fn module(&self) -> Vec<String> {
        let inside = self.path.split_once("/src/").map_or(self.path.as_str(), |(_, inside)| inside);
        let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(String::from).collect();
        if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// Modules this file declares for tests only: `#[cfg(test)] mod suite;`.
    fn test_modules(&self) -> Vec<String> {
        self.tokens
            .windows(3)
            .filter(|three| three[0].text == "mod" && three[2].text == ";" && self.is_test_line(three[0].line))
            .map(|three| three[1].text.clone())
            .collect()
    }

    /// The folder in which the modules declared here have their files.
    fn child_folder(&self) -> String {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.into(),
            _ => format!("{folder}/{}", file.trim_end_matches(".rs")),
        }
    }
}

/// Names that say "tests", wherever the file is declared.
fn is_test_path(path: &str) -> bool {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| matches!(folder, "tests" | "benches"))
        || file == "tests.rs"
        || file == "suite.rs"
        || file.ends_with("_tests.rs")
}

/// `#![cfg(test)]`.
fn gates_whole_file(tokens: &[Token]) -> bool {
    let start: Vec<&str> = tokens.iter().take(6).map(|token| token.text.as_str()).collect();
    start == ["#", "!", "[", "cfg", "(", "test"]
}

/// The lines of every item under `#[cfg(test)]`, attribute included.
fn test_items(tokens: &[Token]) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        match test_attribute_end(&tokens[at..]) {
            Some(length) => {
                let end = item_end(tokens, at + length);
                lines.extend(tokens[at].line..=tokens[end].line);
                at = end + 1;
            }
            None => at += 1,
        }
    }
    lines
}

/// The number of tokens of a `#[cfg(.. test ..)]` that starts here; `not(test)` is no test code.
fn test_attribute_end(tokens: &[Token]) -> Option<usize> {
    let opening: Vec<&str> = tokens.iter().take(3).map(|token| token.text.as_str()).collect();
    if opening != ["#", "[", "cfg"] {
        return None;
    }
    let close = tokens.iter().position(|token| token.text == "]")?;
    let inside = &tokens[..close];
    let test = inside.iter().position(|token| token.text == "test")?;
    let negated = test >= 2 && inside[test - 2].text == "not";
    (!negated).then_some(close + 1)
}

/// The last token of the item that starts at `from`: its `;`, or the brace that closes its body, or, for a field or
/// a variant, the comma.
fn item_end(tokens: &[Token], from: usize) -> usize {
    const ITEMS: [&str; 15] = [
        "fn", "mod", "impl", "struct", "enum", "use", "pub", "const", "static", "type", "trait", "async", "unsafe",
        "let", "extern",
    ];
    let first_word = tokens[from..].iter().find(|token| token.text != "#" && token.is_word());
    let is_item = first_word.is_some_and(|token| ITEMS.contains(&token.text.as_str()));
    let (mut braces, mut others) = (0i32, 0i32);
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces <= 0 && others <= 0 {
                    return at;
                }
            }
            "(" | "[" => others += 1,
            ")" | "]" => others -= 1,
            ";" if braces == 0 && others == 0 => return at,
            "," if braces == 0 && others == 0 && !is_item => return at,
            _ => {}
        }
    }
    tokens.len() - 1
}

/// The root of the workspace. `HOLDFAST_WORKSPACE` points the rules at another tree.
pub fn workspace_root() -> PathBuf {
    let from_variable = std::env::var_os("HOLDFAST_WORKSPACE").map(PathBuf::from);
    from_variable.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

/// Every file under the root that is ours, as paths from the root, sorted. Build output and hidden folders other than
/// the ones that hold configuration are not ours.
pub fn workspace_files(root: &Path) -> Vec<String> {
    const HIDDEN_OF_OURS: [&str; 4] = [".cargo", ".ci", ".config", ".github"];
    let mut found = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(folder) = waiting.pop() {
        let listing = fs::read_dir(root.join(&folder)).expect("the workspace can be listed");
        for entry in listing {
            let entry = entry.expect("the workspace can be listed");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_folder = entry.file_type().expect("a file has a type").is_dir();
            let hidden = name.starts_with('.') && !HIDDEN_OF_OURS.contains(&name.as_str());
            match is_folder {
                true if hidden || name == "target" => {}
                true => waiting.push(path),
                // A further work tree has a file where the first one has the folder.
                false if path == ".git" => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// All Rust files, with what other files say about them (a module declared for tests only) taken in.
pub fn load(root: &Path) -> Vec<Source> {
    let rust = workspace_files(root).into_iter().filter(|path| path.ends_with(".rs"));
    let texts = rust.filter_map(|path| fs::read_to_string(root.join(&path)).ok().map(|text| (path, text)));
    let mut sources: Vec<Source> = texts.map(|(path, text)| Source::new(&path, &text)).collect();
    mark_test_modules(&mut sources);
    sources
}

fn mark_test_modules(sources: &mut [Source]) {
    let mut test_paths = Vec::new();
    for source in sources.iter() {
        let folder = source.child_folder();
        test_paths.extend(source.test_modules().into_iter().map(|module| format!("{folder}/{module}")));
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        if test_paths.iter().any(|path| stem == path || stem.starts_with(&format!("{path}/"))) {
            source.test_lines = TestLines::All;
        }
    }
}

mod tests {
    use super::*;

    fn shipped(text: &str) -> Vec<String> {
        Source::new("node/src/a.rs", text).shipped_tokens().into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn items_for_tests_are_left_out() {
        assert_eq!(shipped("a\n#[cfg(test)]\nmod tests {\n fn f() { { } }\n}\nb"), ["a", "b"]);
        assert_eq!(shipped("a\n#[cfg(test)]\nuse x::{y, z};\nb"), ["a", "b"]);
        assert_eq!(shipped("a\n#[cfg(all(test, unix))]\n#[allow(x)]\nfn f<A, B>() -> [u8; 2] { }\nb"), ["a", "b"]);
        assert_eq!(shipped("a {\n#[cfg(test)]\nfield: T,\nb }"), ["a", "{", "b", "}"]);
        assert_eq!(shipped("#[cfg(not(test))]\nb").last().map(String::as_str), Some("b"));
    }

    #[test]
    fn a_module_declared_for_tests_is_test_code_in_its_own_file() {
        let mut sources = [
            Source::new("node/src/wal/mod.rs", "#[cfg(test)]\nmod golden;\nmod log;"),
            Source::new("node/src/wal/golden.rs", "x"),
            Source::new("node/src/wal/golden/runner.rs", "x"),
            Source::new("node/src/wal/log.rs", "x"),
        ];
        mark_test_modules(&mut sources);
        assert_eq!(sources.map(|source| source.is_test_file()), [false, true, true, false]);
    }

    #[test]
    fn module_paths() {
        assert_eq!(Source::new("node/src/raft/log_store.rs", "").module(), ["raft", "log_store"]);
        assert_eq!(Source::new("node/src/raft/mod.rs", "").module(), ["raft"]);
        assert!(Source::new("node/src/lib.rs", "").module().is_empty());
    }
}
