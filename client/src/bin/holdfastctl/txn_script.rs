//! The language of `txn`: comparisons such as `mod("key") > "0"`, and `get`, `put` and `del` as on a command line.

use clap::{Parser, Subcommand};
use holdfast_client::{Compare, Op};

use crate::args::{DelArgs, GetArgs, PutArgs};
use crate::failure::Failure;
use crate::kv;

/// One comparison: `target("key") operator "operand"`.
pub(crate) fn parse_compare(line: &str) -> Result<Compare, String> {
    let malformed = || format!(r#"malformed comparison: {line}; write it like mod("key") > "0""#);
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = quoted(rest).ok_or_else(malformed)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(malformed)?.trim_start();
    let (operator, rest) = rest.split_at(rest.find('"').ok_or_else(malformed)?);
    let (operand, rest) = quoted(rest).ok_or_else(malformed)?;
    if !rest.trim().is_empty() {
        return Err(malformed());
    }
    let operator = operator.trim();
    if target.trim() == "value" || target.trim() == "val" {
        let subject = Compare::value(key);
        return match operator {
            "=" => Ok(subject.equal(operand)),
            "!=" => Ok(subject.not_equal(operand)),
            ">" => Ok(subject.greater(operand)),
            "<" => Ok(subject.less(operand)),
            _ => Err(unknown_operator(line, operator)),
        };
    }
    let (subject, radix) = match target.trim() {
        "ver" | "version" => (Compare::version(key), 10),
        "c" | "create" => (Compare::create_revision(key), 10),
        "m" | "mod" => (Compare::mod_revision(key), 10),
        "lease" => (Compare::lease(key), 16),
        other => return Err(format!("malformed comparison: {line} (unknown target {other})")),
    };
    let number = String::from_utf8_lossy(&operand);
    let number = i64::from_str_radix(&number, radix)
        .map_err(|_| format!("malformed comparison: {line} ({number:?} is not a number in base {radix})"))?;
    match operator {
        "=" => Ok(subject.equal(number)),
        "!=" => Ok(subject.not_equal(number)),
        ">" => Ok(subject.greater(number)),
        "<" => Ok(subject.less(number)),
        _ => Err(unknown_operator(line, operator)),
    }
}

fn unknown_operator(line: &str, operator: &str) -> String {
    format!("malformed comparison: {line} (unknown operator {operator:?}; use =, !=, < or >)")
}

/// A line of a block of operations, parsed as the command of that name is.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct OperationLine {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    Get(GetArgs),
    Put(PutArgs),
    Del(DelArgs),
}

/// One operation: `put key "a value"`, `get key --prefix`, `del key`.
pub(crate) fn parse_operation(line: &str) -> Result<Op, Failure> {
    let words = words(line).map_err(Failure::input)?;
    let words = words.into_iter().map(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec);
    let parsed = OperationLine::try_parse_from(words).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::input(format!("invalid txn request: {line} ({reason})"))
    })?;
    Ok(match parsed.operation {
        Operation::Get(args) => kv::get_of(args)?.into(),
        Operation::Put(args) => kv::put_of(args)?.into(),
        Operation::Del(args) => kv::del_of(args)?.into(),
    })
}

/// Splits a line at blanks. Double quotes keep blanks and know escapes; single quotes keep everything.
fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = if rest.starts_with('"') {
            quoted(rest).ok_or_else(|| format!("a quotation is not closed: {rest}"))?
        } else if let Some(raw) = rest.strip_prefix('\'') {
            let (word, after) = raw.split_once('\'').ok_or_else(|| format!("a quotation is not closed: {rest}"))?;
            (word.as_bytes().to_vec(), after)
        } else {
            let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            (word.as_bytes().to_vec(), after)
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// A double-quoted string with Go's escapes at the beginning of `text`, and what follows it.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let text = text.trim_start().strip_prefix('"')?;
    let mut word = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((word, &text[at + 1..])),
            b'\\' => {
                let (_, escaped) = bytes.next()?;
                match escaped {
                    b'n' => word.push(b'\n'),
                    b't' => word.push(b'\t'),
                    b'r' => word.push(b'\r'),
                    b'\\' | b'"' | b'\'' => word.push(escaped),
                    b'x' => {
                        let digits = [bytes.next()?.1, bytes.next()?.1];
                        word.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                    }
                    _ => return None,
                }
            }
            _ => word.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use holdfast_client::{Delete, Get, Put};

    use super::*;

    #[test]
    fn comparisons_as_etcdctl_takes_them() {
        let cases = [
            (r#"mod("k") > "0""#, Compare::mod_revision("k").greater(0)),
            (r#"m("k")="7""#, Compare::mod_revision("k").equal(7)),
            (r#"ver("k") < "3""#, Compare::version("k").less(3)),
            (r#"create("k") != "0""#, Compare::create_revision("k").not_equal(0)),
            (r#"lease("k") = "1f""#, Compare::lease("k").equal(31)),
            (r#"value("a b") = "x\n\x00\"""#, Compare::value("a b").equal(&b"x\n\0\""[..])),
        ];
        for (line, compare) in cases {
            assert_eq!(parse_compare(line).as_ref(), Ok(&compare), "{line}");
        }
    }

    #[test]
    fn malformed_comparisons_name_what_is_wrong() {
        for (line, words) in [
            (r#"bogus("k") > "0""#, "unknown target bogus"),
            (r#"mod("k") ! "0""#, "unknown operator"),
            (r#"mod("k") > "many""#, "is not a number"),
            (r#"mod("k") > 0"#, "write it like"),
            (r#"mod "k" > "0""#, "write it like"),
            (r#"mod("k") > "0" and more"#, "write it like"),
        ] {
            let error = parse_compare(line).expect_err(line);
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn operations_as_on_the_command_line() {
        let cases: [(&str, Op); 4] = [
            (r#"put k "a value""#, Put::new("k", "a value").into()),
            ("put 'k 1' v --prev-kv", Put::new("k 1", "v").prev_kv().into()),
            ("get k --prefix", Get::new("k").prefix().into()),
            ("del a z", Delete::new("a").range("z").into()),
        ];
        for (line, op) in cases {
            assert_eq!(parse_operation(line).expect(line), op, "{line}");
        }
        for line in ["bogus", "put k", r#"put k "v"#, "get"] {
            assert!(parse_operation(line).is_err(), "{line}");
        }
    }
}
