//! The `holdfast` program. What it can do is in `cli/`; what it is made of is told in the library.

#[cfg(not(madsim))]
mod cli;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    cli::run()
}

/// The simulator starts nodes itself, in one process.
#[cfg(madsim)]
fn main() {}
