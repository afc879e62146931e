//! A command that ends by itself.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(5);

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ran {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Everything it said, for a message.
    pub fn said(&self) -> String {
        format!("exit code {:?}\nstdout: {}\nstderr: {}", self.code, self.out().trim_end(), self.err().trim_end())
    }
}

/// Runs a command with `stdin` and waits for its end, at most `limit`. Blocks.
///
/// # Panics
/// If it does not start, or does not end in time; it is then killed.
pub fn run(program: &Path, args: &[String], stdin: &str, limit: Duration) -> Ran {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let mut input = child.stdin.take().expect("stdin is piped");
    // A command that does not read its input closes the pipe: no concern of ours.
    let _unread = input.write_all(stdin.as_bytes());
    drop(input);
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What arrived before an error counts.
            let _ended = from.read_to_end(&mut bytes);
            bytes
        })
    };
    let (out, err) = (reader(Box::new(stdout)), reader(Box::new(stderr)));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        if begun.elapsed() > limit {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
            break None;
        }
        std::thread::sleep(PAUSE);
    };
    let stdout = out.join().expect("a reader does not panic");
    let stderr = err.join().expect("a reader does not panic");
    let ran = Ran { code: status.and_then(|status| status.code()), stdout, stderr };
    assert!(status.is_some(), "{} {args:?} did not end within {limit:?}; {}", program.display(), ran.said());
    ran
}
