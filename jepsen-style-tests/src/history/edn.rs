//! A reader of EDN, the notation of Clojure's data, as far as histories use it: <https://github.com/edn-format/edn>.

use super::HistoryError;

/// Nesting beyond this is no history.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Edn {
    Nil,
    Bool(bool),
    Integer(i64),
    Text(String),
    /// Without its colon.
    Keyword(String),
    /// Symbols and what has no use in a history (floats, characters), as they are spelled.
    Other(String),
    /// Vectors, lists and sets.
    Sequence(Vec<Edn>),
    Map {
        entries: Vec<(Edn, Edn)>,
        line: usize,
    },
}

impl Edn {
    pub fn keyword(&self) -> Option<&str> {
        if let Self::Keyword(name) = self { Some(name) } else { None }
    }
}

/// All values of a text, one after another.
pub fn read_all(text: &str) -> Result<Vec<Edn>, HistoryError> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut values = Vec::new();
    while let Some(next) = reader.peek()? {
        if matches!(next, ')' | ']' | '}') {
            return Err(reader.wrong(format!("`{next}` closes nothing")));
        }
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: impl Into<String>) -> HistoryError {
        HistoryError::malformed(self.line, what)
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    /// The first character of the next value; blanks, comments and discarded values are behind us.
    fn peek(&mut self) -> Result<Option<char>, HistoryError> {
        loop {
            match self.rest.chars().next() {
                Some(next) if next.is_whitespace() || next == ',' => {
                    self.take();
                }
                Some(';') => while self.take().is_some_and(|next| next != '\n') {},
                Some('#') if self.rest.starts_with("#_") => {
                    self.rest = &self.rest[2..];
                    self.value(0)?;
                }
                other => return Ok(other),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("nested deeper than {DEPTH_MAX}")));
        }
        let Some(first) = self.peek()? else { return Err(self.wrong("the text ends where a value should stand")) };
        match first {
            '[' | '(' => {
                self.take();
                Ok(Edn::Sequence(self.until(if first == '[' { ']' } else { ')' }, depth)?))
            }
            '{' => self.map(depth),
            '"' => self.string(),
            '#' if self.rest.starts_with("#{") => {
                self.rest = &self.rest[2..];
                Ok(Edn::Sequence(self.until('}', depth)?))
            }
            // A tag, such as `#jepsen.history.Op{...}`: what it is put on says enough.
            '#' => {
                self.word();
                self.value(depth + 1)
            }
            ']' | ')' | '}' => Err(self.wrong(format!("`{first}` where a value should stand"))),
            _ => self.atom(),
        }
    }

    fn until(&mut self, close: char, depth: usize) -> Result<Vec<Edn>, HistoryError> {
        let opened = self.line;
        let mut values = Vec::new();
        loop {
            match self.peek()? {
                Some(next) if next == close => {
                    self.take();
                    return Ok(values);
                }
                Some(_) => values.push(self.value(depth + 1)?),
                None => return Err(HistoryError::malformed(opened, format!("opened here, and no `{close}` follows"))),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        let line = self.line;
        self.take();
        let flat = self.until('}', depth)?;
        if flat.len() % 2 == 1 {
            return Err(HistoryError::malformed(line, "a map with a key that has no value"));
        }
        let mut entries = Vec::new();
        let mut flat = flat.into_iter();
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            entries.push((key, value));
        }
        Ok(Edn::Map { entries, line })
    }

    fn string(&mut self) -> Result<Edn, HistoryError> {
        let opened = self.line;
        let unclosed = || HistoryError::malformed(opened, "a string that is not closed");
        self.take();
        let mut text = String::new();
        loop {
            match self.take().ok_or_else(unclosed)? {
                '"' => return Ok(Edn::Text(text)),
                '\\' => match self.take().ok_or_else(unclosed)? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    same @ ('"' | '\\') => text.push(same),
                    other => return Err(self.wrong(format!("`\\{other}` means nothing in a string"))),
                },
                other => text.push(other),
            }
        }
    }

    fn word(&mut self) -> String {
        let ends =
            |next: char| next.is_whitespace() || matches!(next, ',' | ';' | '"' | '(' | ')' | '[' | ']' | '{' | '}');
        let length = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word.to_owned()
    }

    fn atom(&mut self) -> Result<Edn, HistoryError> {
        let word = self.word();
        Ok(match word.as_str() {
            "nil" => Edn::Nil,
            "true" => Edn::Bool(true),
            "false" => Edn::Bool(false),
            _ if word.starts_with(':') => Edn::Keyword(word[1..].to_owned()),
            _ => match word.trim_end_matches('N').parse() {
                Ok(number) => Edn::Integer(number),
                Err(_) => Edn::Other(word),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_histories_use_is_read() {
        let values = read_all("; note\n({:a 1, :b [nil -2 \"x\\\"y\"]} #_ {:c 3} #tag true)").expect("it is EDN");
        let inner = vec![Edn::Nil, Edn::Integer(-2), Edn::Text("x\"y".to_owned())];
        let map = Edn::Map {
            entries: vec![
                (Edn::Keyword("a".to_owned()), Edn::Integer(1)),
                (Edn::Keyword("b".to_owned()), Edn::Sequence(inner)),
            ],
            line: 2,
        };
        assert_eq!(values, [Edn::Sequence(vec![map, Edn::Bool(true)])]);
    }

    #[test]
    fn what_is_broken_is_named_with_its_line() {
        let line = |text: &str| match read_all(text) {
            Err(HistoryError::Malformed { line, .. }) => line,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(line("\n[1\n2"), 2);
        assert_eq!(line("[1]\n]"), 2);
        assert_eq!(line("{:a}"), 1);
        assert_eq!(line("\n\n\"abc"), 3);
        assert_eq!(line(&"[".repeat(40)), 1);
    }
}
