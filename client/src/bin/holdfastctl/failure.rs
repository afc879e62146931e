//! What went wrong, what to do about it, and the exit code that says so to a script. The codes are etcdctl's.

use std::process::ExitCode;

use holdfast_client::{Code, Error};

/// The request failed.
const ERROR: u8 = 1;
/// No server could be reached.
const BAD_CONNECTION: u8 = 2;
/// What came on standard input makes no sense.
const INVALID_INPUT: u8 = 3;
/// A flag's value, or a combination of flags, is not supported.
const BAD_FEATURE: u8 = 4;
/// The server ended what should have gone on.
const INTERRUPTED: u8 = 5;
/// Reading or writing a file or a stream failed.
const IO: u8 = 6;
/// The command line makes no sense.
const BAD_ARGS: u8 = 128;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    /// What to do; a line of its own.
    hint: Option<&'static str>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(ERROR, message)
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(INVALID_INPUT, message)
    }

    pub(crate) fn feature(message: impl Into<String>) -> Self {
        Self::new(BAD_FEATURE, message)
    }

    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(INTERRUPTED, message)
    }

    pub(crate) fn args(message: impl Into<String>) -> Self {
        Self::new(BAD_ARGS, message)
    }

    pub(crate) fn file(doing: &str, error: &std::io::Error) -> Self {
        Self::new(IO, format!("{doing}: {error}"))
    }

    /// A command that was run and failed: its code is ours.
    pub(crate) fn of_command(status: std::process::ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(ERROR);
        Self::new(code, format!("{status}"))
    }

    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("Error: {}", self.message);
        if let Some(hint) = self.hint {
            eprintln!("Hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Unavailable { .. } => BAD_CONNECTION,
            Error::WatchCanceled { .. } | Error::Compacted { .. } => INTERRUPTED,
            Error::Usage(_) => BAD_ARGS,
            Error::Write(_) | Error::Snapshot(_) => IO,
            _ => ERROR,
        };
        Self { code, message: error.to_string(), hint: hint(&error) }
    }
}

/// What an operator does about the refusals that need an operator.
fn hint(error: &Error) -> Option<&'static str> {
    let message = error.message();
    let known = [
        (
            "database space exceeded",
            "compact old revisions (compaction), give the space back (defrag), then take the alarm down (alarm disarm)",
        ),
        ("required revision has been compacted", "ask for a newer revision; `endpoint status` shows the present one"),
        ("corrupt cluster", "a member's data differs: find it with `endpoint hashkv --cluster` and replace it"),
        ("not enough started members", "start the member added last, or remove it, before the next change"),
        ("unhealthy cluster", "bring all members up before changing the membership"),
        ("too many requests", "the server is overloaded: send less, or later"),
        ("no leader", "a quorum of voters must be up: see `endpoint status --cluster`"),
    ];
    let found = known.iter().find(|(words, _)| message.contains(words)).map(|(_, hint)| *hint);
    let unimplemented = error.code() == Some(Code::Unimplemented);
    found.or(unimplemented.then_some("this server does not have this command; it is Holdfast's, or too new"))
}

/// Reports a command line that could not be understood. Asking for help is not a failure.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    // Nothing can be done about a closed terminal.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => ExitCode::from(ERROR),
        _ => ExitCode::from(BAD_ARGS),
    }
}
