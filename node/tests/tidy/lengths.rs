//! How much a reader has to hold at once.

use crate::finding::Finding;
use crate::lexer::Token;
use crate::source::Source;

/// Test code not counted.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 120;

pub fn files(source: &Source) -> Vec<Finding> {
    let lines = source.shipped_lines();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("{lines} lines, without tests; at most {FILE_LINES_MAX}");
    vec![Finding::new(&source.path, 1, what, "a file is one subject: cut it by subject, not by size")]
}

pub fn functions(source: &Source) -> Vec<Finding> {
    let tokens = source.shipped_tokens();
    let mut findings = Vec::new();
    for at in 0..tokens.len() {
        let Some(last) = body_end(&tokens, at) else { continue };
        let lines = tokens[last].line - tokens[at].line + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("`{}` has {lines} lines; at most {FUNCTION_LINES_MAX}", tokens[at + 1].text);
            let why = "a function that does not fit on a screen cannot be checked by reading it";
            findings.push(Finding::new(&source.path, tokens[at].line, what, why));
        }
    }
    findings
}

/// The closing brace of the function that starts at `at`, if one does and it has a body.
fn body_end(tokens: &[Token], at: usize) -> Option<usize> {
    let starts = tokens[at].text == "fn" && tokens.get(at + 1).is_some_and(Token::is_word);
    if !starts {
        return None;
    }
    let (mut braces, mut others) = (0i32, 0i32);
    for (here, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" => others += 1,
            ")" | "]" => others -= 1,
            ";" if braces == 0 && others == 0 => return None,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 && others == 0 {
                    return Some(here);
                }
            }
            _ => {}
        }
    }
    None
}

pub fn lines(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("{columns} columns; at most {LINE_COLUMNS_MAX}");
            let why = "two files fit beside each other; rustfmt leaves comments and strings to us";
            findings.push(Finding::new(&source.path, at + 1, what, why));
        }
    }
    findings
}

mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_not_counted() {
        let long = "x\n".repeat(FILE_LINES_MAX);
        assert!(files(&source("node/src/a.rs", &long)).is_empty());
        assert_eq!(files(&source("node/src/a.rs", &format!("{long}x\n"))).len(), 1);
        let tests = format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert!(files(&source("node/src/a.rs", &tests)).is_empty());
        assert!(files(&source("node/src/a/tests/b.rs", &long.repeat(2))).is_empty());
    }

    #[test]
    fn a_long_function_is_found() {
        let body = |lines: usize| format!("fn f(a: [u8; 2])\nwhere X: Y {{\n{}}}\nfn g();\n", "{}\n".repeat(lines));
        assert!(functions(&source("node/src/a.rs", &body(FUNCTION_LINES_MAX - 3))).is_empty());
        let found = functions(&source("node/src/a.rs", &body(FUNCTION_LINES_MAX - 2)));
        let whats: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(whats, ["`f` has 71 lines; at most 70"]);
    }

    #[test]
    fn a_wide_line_is_found() {
        assert!(lines(&source("node/src/a.rs", &"ä".repeat(120))).is_empty());
        assert_eq!(lines(&source("node/src/a.rs", &format!("\n{}", "x".repeat(121))))[0].line, 2);
    }
}
