//! A difference, for people: the request, and where the two answers part.

use std::fmt::{self, Debug};

use super::{Difference, Outcome};

/// Longer answers are shown around the first line that differs.
const LINES_MAX: usize = 60;
const LINES_AROUND: usize = 12;
const COLUMNS_MAX: usize = 200;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} asks: {}", self.who, lines_of(&self.step).join("\n"))?;
        let (etcd, holdfast) = (lines_of_outcome(&self.etcd), lines_of_outcome(&self.holdfast));
        let first = etcd.iter().zip(&holdfast).take_while(|(one, other)| one == other).count();
        for (name, lines) in [("etcd", etcd), ("holdfast", holdfast)] {
            writeln!(f, "---- {name}, from line {first} on differently")?;
            let from = if lines.len() > LINES_MAX { first.saturating_sub(LINES_AROUND) } else { 0 };
            for (at, line) in lines.iter().enumerate().skip(from).take(LINES_MAX) {
                writeln!(f, "{}{line}", if at == first { "> " } else { "  " })?;
            }
        }
        Ok(())
    }
}

fn lines_of(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    fold(&text.lines().map(cut).collect::<Vec<_>>())
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(COLUMNS_MAX) {
        Some((at, _)) => format!("{} ...,", &line[..at]),
        None => line.to_owned(),
    }
}

/// Puts back on one line what fits there: Rust gives every field and every bracket one of its own.
fn fold(lines: &[String]) -> Vec<String> {
    let mut folded = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let end = end_of_group(lines, at);
        let inside = &lines[at + 1..end.max(at + 1)];
        let words: Vec<&str> = inside.iter().map(|line| line.trim()).collect();
        let line = match end {
            end if end == at => lines[at].clone(),
            end => tight(&format!("{}{}{}", lines[at], words.join(" ").trim_end_matches(','), lines[end].trim())),
        };
        if end == at || line.len() <= COLUMNS_MAX / 2 {
            folded.push(line);
        } else {
            folded.push(lines[at].clone());
            folded.extend(fold(inside));
            folded.push(lines[end].clone());
        }
        at = end + 1;
    }
    folded
}

/// Without the blanks and commas that only separate lines.
fn tight(line: &str) -> String {
    let mut line = line.replace("( ", "(").replace("[ ", "[");
    for close in [")", "]", "}"] {
        line = line.replace(&format!(", {close}"), close);
    }
    line
}

/// The line that closes the bracket that the line at `at` opens; the line itself if it opens none.
fn end_of_group(lines: &[String], at: usize) -> usize {
    let indent = |line: &String| line.len() - line.trim_start().len();
    if !lines[at].ends_with(['(', '[', '{']) {
        return at;
    }
    let after = lines.iter().skip(at + 1).position(|line| indent(line) <= indent(&lines[at]));
    after.map_or(at, |after| at + 1 + after)
}

fn lines_of_outcome(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Answer(answer) => lines_of(answer),
        Outcome::WatchReply(reply) => lines_of(reply),
        Outcome::Told(told) => lines_of(told),
        Outcome::Ended(ended) => lines_of(ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stands_on_one_line() {
        assert_eq!(lines_of(&Some(vec![1, 2])), ["Some([1, 2])"]);
        let long = lines_of(&(vec!["x".repeat(60)], vec!["y".repeat(60)]));
        assert_eq!(long.len(), 4, "{long:#?}");
        assert_eq!((long[0].as_str(), long[3].as_str()), ("(", ")"));
    }
}
