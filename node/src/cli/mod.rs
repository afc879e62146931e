//! The command line: `serve`, `dev`, `snapshot`, `version`; and etcd's, for a program that is called `etcd`.
//!
//! Exit codes:
//!
//! ```text
//!    0   stopped as asked
//!    1   could not start: port taken, data directory unusable, not a member, ...
//!    2   the command line, the environment or the configuration file is wrong
//!   70   the node ended itself: a failed fsync, a rotten state, ... (docs/OPERATIONS.md)
//! ```
//!
//! A supervisor should start the program again after 70 and after a signal, and not after 2: it would fail the same
//! way.

mod dev;
mod etcd;
mod logging;
mod notify;
mod serve;
mod signals;
mod snapshot;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use holdfast_node::api::{ETCD_VERSION, HOLDFAST_VERSION};
use holdfast_node::config::{SETTINGS, Setting, Shape};

/// The process did what it was asked to.
pub const DONE: u8 = 0;
/// The node could not start.
pub const NOT_STARTED: u8 = 1;
/// What was asked for makes no sense. clap ends with the same.
pub const MISUSED: u8 = 2;

pub fn run() -> ExitCode {
    let mut words = std::env::args_os();
    if etcd::is_meant(words.next().as_deref()) {
        let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        return ExitCode::from(etcd::run(&words));
    }
    let matches = command().get_matches();
    let code = match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches),
        Some(("dev", matches)) => dev::run(matches),
        Some(("snapshot", matches)) => snapshot::run(matches),
        _ => {
            print!("{}", version_text());
            DONE
        }
    };
    ExitCode::from(code)
}

fn command() -> Command {
    Command::new("holdfast")
        .about("A replicated key-value store with automatic failover, which speaks the etcd v3 API")
        .version(HOLDFAST_VERSION)
        .disable_version_flag(true)
        .arg(Arg::new("version").long("version").short('V').action(ArgAction::SetTrue).help("Print the versions"))
        .args_conflicts_with_subcommands(true)
        .arg_required_else_help(true)
        .subcommand(serve_command())
        .subcommand(dev::command())
        .subcommand(snapshot::command())
        .subcommand(Command::new("version").about("Print the versions"))
}

fn serve_command() -> Command {
    Command::new("serve")
        .about("Run one member of a cluster")
        .long_about(
            "Run one member of a cluster.\n\n\
             Every flag can also be given as an environment variable, HOLDFAST_<NAME> or ETCD_<NAME> (upper case, with \
             underscores), or as a key of the --config-file. A flag beats the environment, the environment the file; \
             HOLDFAST_ beats ETCD_.",
        )
        .args_override_self(true)
        .arg(Arg::new("config-file").long("config-file").value_name("FILE").help("YAML, with the flags' names as keys"))
        .arg(
            Arg::new(serve::STOP_WITH_PARENT)
                .long(serve::STOP_WITH_PARENT)
                .action(ArgAction::SetTrue)
                .hide(true)
                .help("Stop when standard input ends"),
        )
        .args(SETTINGS.iter().map(argument))
}

fn argument(setting: &'static Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.placeholder)
        .help(setting.help)
        .help_heading(setting.group)
        .allow_hyphen_values(true);
    match setting.shape {
        Shape::Value | Shape::Duration => argument,
        // `--flag` and `--flag=false`, but not `--flag false`: so Go's programs have it.
        Shape::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

/// The settings that were given as flags.
fn flags_of(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let given = |setting: &'static Setting| Some((setting.name, matches.get_one::<String>(setting.name)?.clone()));
    SETTINGS.iter().filter_map(given).collect()
}

/// The first line is what tools look for that ask an etcd for its version.
fn version_text() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    // Go's word for what Rust calls x86_64 and aarch64.
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: Not provided\nGo Version: none\nGo OS/Arch: {os}/{arch}\n\
         Holdfast Version: {HOLDFAST_VERSION}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Result<Vec<(&'static str, String)>, clap::Error> {
        let all = ["holdfast", "serve"].iter().chain(arguments);
        let matches = command().try_get_matches_from(all)?;
        let (_, matches) = matches.subcommand().expect("serve was given");
        Ok(flags_of(matches))
    }

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
        serve_command().debug_assert();
    }

    #[test]
    fn flags_are_taken_in_gos_ways() {
        let given = flags(&["--name", "n1", "--zone=a", "--strict-reconfig-check", "--pre-vote=false"]).unwrap();
        let given: Vec<(&str, &str)> = given.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(given, [("name", "n1"), ("zone", "a"), ("strict-reconfig-check", "true"), ("pre-vote", "false")]);
        let twice = flags(&["--name", "n1", "--name", "n2"]).unwrap();
        assert_eq!(twice, [("name", "n2".to_owned())], "the last one counts");
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_nearest_known() {
        let refused = flags(&["--election-timout", "500"]).unwrap_err();
        assert_eq!(refused.exit_code(), i32::from(MISUSED));
        assert!(refused.to_string().contains("--election-timeout"), "{refused}");
    }

    #[test]
    fn the_version_reads_as_etcds() {
        assert!(version_text().starts_with("etcd Version: 3."));
    }
}
