//! One line for each file, and an exit code for all of them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast_jepsen::checker::linearizable::{self, CONFIGURATIONS_MAX, Explanation, Verdict};
use holdfast_jepsen::history::register::Register;
use holdfast_jepsen::history::text::{Keyed, Text};
use holdfast_jepsen::history::{HistoryError, Operation, picture, register_edn, register_log, text_by_key};
use thiserror::Error;

const NOT_LINEARIZABLE: u8 = 1;
const UNDECIDED: u8 = 2;

/// Says of each history whether it is linearizable: one line `FILE linearizable | not-linearizable | undecided`
#[derive(clap::Args)]
#[command(after_help = "Shapes, by the name's ending:
  .log  Jepsen's log lines: one register with read, write and cas that starts at nil
  .txt  a map a line, {:process 0, :type :invoke, :f :append, :key \"k\", :value \"v\"}: get, put, append by key
  .edn  maps in EDN: one register with read, write and cas that starts at 0

Exit code:
  0  every history is linearizable
  1  at least one is not
  2  none is known not to be, but one is undecided or cannot be read (stderr says which line); also wrong arguments")]
pub struct Check {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Draws the history, with what has no place in any order marked: an .svg or .html file; for one FILE
    #[arg(long, value_name = "FILE.svg|html", value_parser = picture_path)]
    picture: Option<PathBuf>,
    /// Says on stderr why a history is not linearizable
    #[arg(long)]
    explain: bool,
    /// Configurations tried for one object before it is undecided; 4 million need about 1 GB
    #[arg(long, value_name = "N", default_value_t = CONFIGURATIONS_MAX as u64,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    configurations_max: u64,
}

#[derive(Debug, Error)]
enum CheckError {
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    #[error("{0}")]
    History(#[from] HistoryError),
    #[error("its name must end in .log, .txt or .edn, which says what shape it has")]
    Shape,
    #[error("cannot write the picture {path}: {source}", path = .path.display())]
    Picture { path: PathBuf, source: io::Error },
}

fn picture_path(given: &str) -> Result<PathBuf, String> {
    match Path::new(given).extension().and_then(|ending| ending.to_str()) {
        Some("svg" | "html") => Ok(PathBuf::from(given)),
        _ => Err("a picture's name ends in .svg or .html".to_owned()),
    }
}

impl Check {
    pub fn run(&self) -> ExitCode {
        if self.picture.is_some() && self.files.len() > 1 {
            eprintln!("jepsen check: --picture draws one history, and {} files were given", self.files.len());
            return ExitCode::from(UNDECIDED);
        }
        let (mut violated, mut unclear) = (false, false);
        for file in &self.files {
            let verdict = self.judge(file);
            let word = verdict.as_ref().map_or_else(|_| "undecided".to_owned(), ToString::to_string);
            match verdict {
                Ok(Verdict::Linearizable) => {}
                Ok(Verdict::NotLinearizable(_)) => violated = true,
                Ok(Verdict::Undecided { configurations }) => {
                    unclear = true;
                    let file = file.display();
                    eprintln!("jepsen check: {file}: no verdict after {configurations} configurations of one object");
                }
                Err(error) => {
                    unclear = true;
                    eprintln!("jepsen check: {}: {error}", file.display());
                }
            }
            // A reader that went away wants no more lines; the exit code still tells.
            let _ = writeln!(io::stdout(), "{} {word}", file.display());
        }
        match (violated, unclear) {
            (true, _) => ExitCode::from(NOT_LINEARIZABLE),
            (false, true) => ExitCode::from(UNDECIDED),
            (false, false) => ExitCode::SUCCESS,
        }
    }

    fn judge(&self, file: &Path) -> Result<Verdict, CheckError> {
        let text = fs::read_to_string(file).map_err(CheckError::Read)?;
        let budget = usize::try_from(self.configurations_max).unwrap_or(usize::MAX);
        let register = |initial, operations: Vec<_>| {
            let verdict = linearizable::check(&Register { initial }, &operations, budget);
            self.show(file, &operations, verdict)
        };
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("log") => register(None, register_log(&text)?),
            Some("edn") => register(Some(0), register_edn(&text)?),
            Some("txt") => {
                let operations = text_by_key(&text)?;
                let split = |keyed: &Keyed| (keyed.key.clone(), keyed.action.clone());
                let verdict = linearizable::check_by_key(&Text, &operations, split, budget);
                self.show(file, &operations, verdict)
            }
            _ => Err(CheckError::Shape),
        }
    }

    fn show<A: std::fmt::Display>(
        &self,
        file: &Path,
        operations: &[Operation<A>],
        verdict: Verdict,
    ) -> Result<Verdict, CheckError> {
        if let (true, Verdict::NotLinearizable(explanation)) = (self.explain, &verdict) {
            explain(file, operations, explanation);
        }
        if let Some(path) = &self.picture {
            let name = file.display().to_string();
            let page = path.extension().is_some_and(|ending| ending == "html");
            let drawn = if page { picture::html } else { picture::svg }(&name, operations, &verdict);
            fs::write(path, drawn).map_err(|source| CheckError::Picture { path: path.clone(), source })?;
        }
        Ok(verdict)
    }
}

fn explain<A: std::fmt::Display>(file: &Path, operations: &[Operation<A>], explanation: &Explanation) {
    let stuck = &operations[explanation.stuck];
    let (process, action, line) = (stuck.process.0, &stuck.action, stuck.line);
    eprintln!("{}: process {process}'s `{action}`, called in line {line}, has no place in any order", file.display());
    for partial in &explanation.partial {
        let last = partial.order.last().map(|&index| &operations[index]);
        let last = last.map_or_else(String::new, |last| format!(" (line {}: {})", last.line, last.action));
        eprintln!("  an order of {} operations{last} leaves {}", partial.order.len(), partial.state);
    }
}
