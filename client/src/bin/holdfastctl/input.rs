//! What is asked of whoever sits at the keyboard.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

/// One line of standard input, without its end. At a terminal the question is shown first, and what is typed is not.
pub(crate) fn password(question: &str) -> io::Result<String> {
    let mut line = String::new();
    if !io::stdin().is_terminal() {
        io::stdin().lock().read_line(&mut line)?;
    } else {
        eprint!("{question}");
        io::stderr().flush()?;
        let _quiet = Quiet::begin();
        io::stdin().lock().read_line(&mut line)?;
        // The line's end was not shown either.
        eprintln!();
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, for as long as this lives. One that cannot be made quiet shows it.
struct Quiet;

impl Quiet {
    fn begin() -> Self {
        stty("-echo");
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        stty("echo");
    }
}

fn stty(setting: &str) {
    // A system without stty has no terminal to make quiet.
    let _ran = Command::new("stty").arg(setting).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
}
