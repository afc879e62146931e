//! The program under the name `etcd`: a link or a copy that was put in the place of one.
//!
//! ```text
//!   etcd --name n1 --data-dir d ...       flags.rs: as Go reads them
//!   ETCD_NAME=n1                          config/: what they mean, what is passed over, what is refused
//!   etcd --config-file etcd.yml           serve.rs: the same member as under the other name
//! ```
//!
//! Exit codes are etcd's: 2 for a command line that is not understood, 1 for settings that cannot be, 0 when it was
//! told to stop.

mod flags;
mod help;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use holdfast_node::config::{Config, ConfigError, Manner, Source, config_file_of};

use self::flags::{Asked, FlagError};
use super::{DONE, MISUSED, NOT_STARTED, logging, serve, version_text};

/// Whether the program was called by this name.
pub fn is_meant(program: Option<&OsStr>) -> bool {
    program.map(Path::new).and_then(Path::file_name).is_some_and(|name| name == "etcd")
}

pub fn run(words: &[String]) -> u8 {
    let (flags, config_file) = match flags::parse(words) {
        Ok(Asked::Help) => {
            print!("{}", help::text());
            return DONE;
        }
        Ok(Asked::Version) => {
            print!("{}", version_text());
            return DONE;
        }
        Ok(Asked::Serve { flags, config_file }) => (flags, config_file),
        // etcd has read its flags then, and ends as with any setting that cannot be.
        Err(stray @ FlagError::Stray(_)) => return refused(words, &stray.to_string()),
        Err(error) => {
            eprint!("{error}\n{}", help::USAGE);
            return MISUSED;
        }
    };
    let environment = serve::environment();
    let file = config_file.map(PathBuf::from).or_else(|| config_file_of(&environment));
    match serve::configure(Manner::Etcd, &flags, &environment, file.as_deref()) {
        Ok(config) => start(config, words),
        Err(ConfigError::Invalid { from: Some(Source::Flag), setting, given, expected }) => {
            let name = setting.trim_start_matches('-');
            eprint!("invalid value {given:?} for flag -{name}: expected {expected}\n{}", help::USAGE);
            MISUSED
        }
        Err(error) => refused(words, &error.to_string()),
    }
}

fn start(config: Config, words: &[String]) -> u8 {
    if let Err(error) = logging::install(&config.log) {
        return refused(words, &format!("logging could not be set up: {error}"));
    }
    tracing::info!(args = ?words, "Running: ");
    serve::run_member(config, serve::StopsWith::Signals)
}

/// Said as etcd says it, before there is a log.
fn refused(words: &[String], error: &str) -> u8 {
    logging::to_stderr(|| {
        tracing::info!(args = ?words, "Running: ");
        tracing::warn!(error, "failed to verify flags");
    });
    NOT_STARTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        for name in ["etcd", "/usr/local/bin/etcd", "./etcd"] {
            assert!(is_meant(Some(OsStr::new(name))), "{name}");
        }
        for name in ["holdfast", "/opt/etcd/holdfast", "etcdctl", ""] {
            assert!(!is_meant(Some(OsStr::new(name))), "{name}");
        }
        assert!(!is_meant(None));
    }
}
