//! What is asked of whoever sits at the keyboard.

use std::io::{self, BufRead, IsTerminal, Write};

/// One line of standard input, without its end. At a terminal the question is shown first; what is typed shows too:
/// `--password` or `HOLDFASTCTL_PASSWORD` keep it off the screen.
pub(crate) fn password(question: &str) -> io::Result<String> {
    if io::stdin().is_terminal() {
        eprint!("{question}");
        io::stderr().flush()?;
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
