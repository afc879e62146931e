//! What `etcd --help` shows here.

use std::fmt::Write;

use holdfast_node::config::{Fate, SETTINGS, STRANGERS, Shape, is_without_effect};

/// Said when a command line is not understood, as etcd does.
pub const USAGE: &str = "\
Usage:

  etcd [flags]
    Start a member. This etcd is Holdfast, and takes etcd's flags.

  etcd --version
    Show the version.

  etcd -h | --help
    Show all flags.

  etcd --config-file
    Path to a file of settings. With a file, other flags and environment variables are passed over.
";

/// All of it.
pub fn text() -> String {
    let mut text = USAGE.to_owned();
    let mut group = "";
    // Writing to a string cannot fail.
    for setting in SETTINGS.iter().filter(|setting| !is_without_effect(setting)) {
        if setting.group != group {
            group = setting.group;
            let _infallible = write!(text, "\n{group}:\n");
        }
        let _infallible = writeln!(text, "  --{} {}\n    {}.", setting.name, setting.placeholder, setting.help);
    }
    let _infallible = write!(text, "\nAccepted, named in the log, without effect:\n");
    for setting in SETTINGS.iter().filter(|setting| is_without_effect(setting)) {
        let _infallible = writeln!(text, "  --{} {}\n    {}.", setting.name, setting.placeholder, setting.help);
    }
    for stranger in STRANGERS {
        if let Fate::Passed(why) = stranger.fate {
            let _infallible = writeln!(text, "  --{}{}\n    {why}.", stranger.name, placeholder(stranger.shape));
        }
    }
    let _infallible = writeln!(text, "  --experimental-...\n    whatever is not listed above.");
    let _infallible = write!(text, "\nRefused:\n");
    for stranger in STRANGERS {
        let line = match stranger.fate {
            Fate::Passed(_) => continue,
            Fate::Only(value, instead) => format!("Anything but {value}: {instead}"),
            Fate::Refused(instead) => instead.to_owned(),
        };
        let _infallible = writeln!(text, "  --{}{}\n    {line}.", stranger.name, placeholder(stranger.shape));
    }
    text
}

fn placeholder(shape: Shape) -> &'static str {
    match shape {
        Shape::Switch => " true|false",
        Shape::Duration => " DURATION",
        Shape::Value => " ...",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_shown() {
        let text = text();
        let names = SETTINGS.iter().map(|setting| setting.name).chain(STRANGERS.iter().map(|stranger| stranger.name));
        for name in names {
            assert!(text.contains(&format!("\n  --{name} ")), "{name}");
        }
    }
}
