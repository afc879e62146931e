//! The script: commands as one would type them.
//!
//! ```text
//! # a comment
//! put a 1                     a command, asked at the leader
//! @follower get a             asked at a follower; @all: with all endpoints
//! lease grant 60 => lease     the first id in the answer is {lease} from now on
//! txn <<                      what follows is its input, up to a line with a single dot
//! %watch 3 watch a --rev=1    a command that never ends: until it has said 3 lines, and a moment longer
//! ```

/// Which endpoints a command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Leader,
    Follower,
    All,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Step {
    /// Without endpoints; may hold `{names}`.
    pub words: Vec<String>,
    pub stdin: String,
    pub at: At,
    /// Name for the first id in the answer.
    pub capture: Option<String>,
    /// For a command that never ends: lines to wait for.
    pub lines: Option<usize>,
}

impl Step {
    /// As it was typed, without its input.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Reads a script.
pub fn steps(script: &str) -> Vec<Step> {
    let mut lines = script.lines();
    let mut steps = Vec::new();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (mut step, has_input) = step(line);
        if has_input {
            let input: Vec<&str> = lines.by_ref().take_while(|line| *line != ".").collect();
            step.stdin = format!("{}\n", input.join("\n"));
        }
        steps.push(step);
    }
    steps
}

fn step(line: &str) -> (Step, bool) {
    let mut words = split(line);
    let has_input = words.last().is_some_and(|word| word == "<<");
    words.truncate(words.len() - usize::from(has_input));
    let mut step = Step { words, stdin: String::new(), at: At::Leader, capture: None, lines: None };
    if let Some(arrow) = step.words.iter().position(|word| word == "=>") {
        step.capture = step.words.get(arrow + 1).cloned();
        step.words.truncate(arrow);
    }
    loop {
        match step.words.first().map(String::as_str) {
            Some("@follower") => step.at = At::Follower,
            Some("@all") => step.at = At::All,
            Some("%watch") => {
                step.lines = Some(step.words.remove(1).parse().expect("%watch has a number of lines"));
            }
            _ => return (step, has_input),
        }
        step.words.remove(0);
    }
}

/// Words, with quotes as the shell has them but no escapes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(split("put 'a b' \"\" c"), ["put", "a b", "", "c"]);
    let (step, has_input) = step("@follower %watch 3 watch a --rev=1 => x <<");
    assert!(has_input && step.at == At::Follower && step.lines == Some(3) && step.text() == "watch a --rev=1");
    assert_eq!(step.capture.as_deref(), Some("x"));
}
