//! Just enough of Rust's lexical grammar to tell code from comments and strings, with the line of each token.
//!
//! A rule that searched the raw text would be fooled by a doc link, a string or a commented-out line. This is no
//! parser: it knows words, punctuation, literals and comments, and that is what the rules need.

/// A word, a punctuation mark (`::` is one), or a literal (whose content is dropped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Token {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// One line of a comment; a block comment gives one of these for each of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

#[derive(Debug, Default)]
pub struct Lexed {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
}

/// What a literal becomes in the token stream.
pub const LITERAL: &str = "\"\"";

pub fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, out: Lexed::default() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.out
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Lexed,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.line += usize::from(c == '\n');
        self.at += 1;
        c
    }

    fn emit(&mut self, text: impl Into<String>, line: usize) {
        self.out.tokens.push(Token { text: text.into(), line });
    }

    fn step(&mut self) {
        let line = self.line;
        match self.peek(0) {
            '/' if self.peek(1) == '/' => self.line_comment(),
            '/' if self.peek(1) == '*' => self.block_comment(),
            '"' => self.quoted(),
            '\'' => self.quote_or_lifetime(),
            'r' | 'b' | 'c' if self.raw_string_ahead() => self.raw_string(),
            'b' | 'c' if self.peek(1) == '"' => {
                self.bump();
                self.quoted();
            }
            'b' if self.peek(1) == '\'' => {
                self.bump();
                self.quote_or_lifetime();
            }
            c if c.is_alphabetic() || c == '_' => {
                let word = self.word();
                self.emit(word, line);
            }
            c if c.is_ascii_digit() => {
                self.word();
                self.emit(LITERAL, line);
            }
            ':' if self.peek(1) == ':' => {
                self.at += 2;
                self.emit("::", line);
            }
            c if c.is_whitespace() => {
                self.bump();
            }
            c => {
                self.bump();
                self.emit(c, line);
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn line_comment(&mut self) {
        let (start, line) = (self.at, self.line);
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.at += 1;
        }
        self.out.comments.push(Comment { text: self.chars[start..self.at].iter().collect(), line });
    }

    fn block_comment(&mut self) {
        let (start, first_line) = (self.at, self.line);
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => {
                    depth += 1;
                    self.at += 2;
                }
                ('*', '/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {
                    self.bump();
                }
            }
        }
        let text: String = self.chars[start..self.at.min(self.chars.len())].iter().collect();
        for (offset, part) in text.lines().enumerate() {
            self.out.comments.push(Comment { text: part.to_string(), line: first_line + offset });
        }
    }

    /// The opening quote is next.
    fn quoted(&mut self) {
        let line = self.line;
        self.bump();
        while self.at < self.chars.len() {
            match self.bump() {
                '\\' => {
                    self.bump();
                }
                '"' => break,
                _ => {}
            }
        }
        self.emit(LITERAL, line);
    }

    /// `'a'` and `'\n'` are characters; `'a` without a closing quote is a lifetime, which no rule cares about.
    fn quote_or_lifetime(&mut self) {
        let line = self.line;
        self.bump();
        if self.peek(0) == '\\' {
            self.at += 2;
            while self.at < self.chars.len() && self.bump() != '\'' {}
            self.emit(LITERAL, line);
        } else if self.peek(1) == '\'' {
            self.bump();
            self.bump();
            self.emit(LITERAL, line);
        } else {
            self.word();
        }
    }

    /// `r"`, `r#"`, `br"`, `cr##"`: a raw string, and not the raw identifier `r#type`.
    fn raw_string_ahead(&self) -> bool {
        let mut ahead = usize::from(self.peek(0) != 'r');
        if self.peek(ahead) != 'r' {
            return false;
        }
        ahead += 1;
        while self.peek(ahead) == '#' {
            ahead += 1;
        }
        self.peek(ahead) == '"'
    }

    fn raw_string(&mut self) {
        let line = self.line;
        while self.peek(0) != '#' && self.peek(0) != '"' {
            self.bump();
        }
        let mut hashes = 0;
        while self.peek(0) == '#' {
            hashes += 1;
            self.bump();
        }
        self.bump();
        while self.at < self.chars.len() {
            if self.bump() == '"' && (0..hashes).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes;
                break;
            }
        }
        self.emit(LITERAL, line);
    }
}

mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        lex(text).tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn strings_and_comments_are_not_code() {
        assert_eq!(words("a \"b { c\" // d\n/* e /* f */ g */ h"), ["a", LITERAL, "h"]);
        assert_eq!(words("r#\"a \" { b\"# c br\"{\" d"), [LITERAL, "c", LITERAL, "d"]);
        assert_eq!(words("'{' 'a '\\'' b'{' x"), [LITERAL, LITERAL, LITERAL, "x"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let lexed = lex("a\n\"b\nb\"\n/* c\nc */ d");
        assert_eq!(lexed.tokens.last(), Some(&Token { text: "d".into(), line: 5 }));
        assert_eq!(lexed.comments.iter().map(|comment| comment.line).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn numbers_with_methods_and_raw_identifiers_survive() {
        assert_eq!(words("1.max(2)"), [LITERAL, ".", "max", "(", LITERAL, ")"]);
        assert_eq!(words("r#type::x"), ["r", "#", "type", "::", "x"]);
    }
}
