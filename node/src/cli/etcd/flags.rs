//! A command line as Go's programs read it: one dash or two, a value behind `=` or as the next word, switches bare.

use holdfast_node::config::{Manner, Meaning, Shape, Switch, meaning, switch};

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Help,
    Version,
    /// Names without their dashes, and values.
    Serve {
        flags: Vec<(String, String)>,
        config_file: Option<String>,
    },
}

/// Why a command line is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("invalid boolean value {given:?} for -{name}: parse error")]
    NoSwitch { name: String, given: String },
    /// A word that belongs to no flag.
    #[error("'{0}' is not a valid flag")]
    Stray(String),
}

/// How a flag takes its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Value,
    Switch,
    /// Nobody here knows: the next word is its value unless it is a flag itself.
    Unsure,
}

fn takes(name: &str) -> Option<Takes> {
    let of_shape = |shape| match shape {
        Shape::Switch => Takes::Switch,
        Shape::Value | Shape::Duration => Takes::Value,
    };
    match name {
        "config-file" => Some(Takes::Value),
        "version" | "help" | "h" => Some(Takes::Switch),
        _ => match meaning(Manner::Etcd, name) {
            Meaning::Setting(setting) => Some(of_shape(setting.shape)),
            Meaning::Stranger(stranger) => Some(of_shape(stranger.shape)),
            Meaning::Experiment => Some(Takes::Unsure),
            Meaning::Nothing => None,
        },
    }
}

/// Reads the words behind the program's name. A flag that stands twice counts as it stands last.
pub fn parse(words: &[String]) -> Result<Asked, FlagError> {
    let mut flags: Vec<(String, String)> = Vec::new();
    let mut config_file = None;
    let mut asks_version = false;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return match word.as_str() {
                "help" => Ok(Asked::Help),
                "version" => Ok(Asked::Version),
                _ => Err(FlagError::Stray(word.clone())),
            };
        };
        let (name, written) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::Syntax(word.clone()));
        }
        let takes = takes(name).ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        let next_is_switch = words.peek().is_some_and(|next| matches!(next.as_str(), "true" | "false"));
        let next_is_flag = words.peek().is_none_or(|next| next.starts_with('-'));
        let value = match (takes, written) {
            (_, Some(value)) => value,
            (Takes::Value, None) => words.next().ok_or_else(|| FlagError::NoValue(name.to_owned()))?.clone(),
            // Go would take the word for a stray one, and etcd end: nothing else can be meant by it.
            (Takes::Switch, None) if next_is_switch => words.next().cloned().unwrap_or_default(),
            (Takes::Unsure, None) if !next_is_flag => words.next().cloned().unwrap_or_default(),
            (Takes::Switch | Takes::Unsure, None) => "true".to_owned(),
        };
        if takes == Takes::Switch && switch(&value).is_err() {
            return Err(FlagError::NoSwitch { name: name.to_owned(), given: value });
        }
        match name {
            // etcd looks no further.
            "help" | "h" => return Ok(Asked::Help),
            "version" => asks_version = switch(&value) == Ok(Switch::On),
            "config-file" => config_file = Some(value),
            _ => {
                flags.retain(|(known, _)| known != name);
                flags.push((name.to_owned(), value));
            }
        }
    }
    if asks_version { Ok(Asked::Version) } else { Ok(Asked::Serve { flags, config_file }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, FlagError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn flags(line: &str) -> Vec<(String, String)> {
        match parsed(line) {
            Ok(Asked::Serve { flags, .. }) => flags,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn values_stand_behind_an_equals_sign_or_a_space() {
        let all = [pair("name", "n1"), pair("data-dir", "/d")];
        for line in ["--name n1 --data-dir /d", "-name=n1 -data-dir=/d", "--name=n1 -data-dir /d"] {
            assert_eq!(flags(line), all, "{line}");
        }
        assert_eq!(flags("--name a --name b"), [pair("name", "b")], "the last one counts");
        assert_eq!(flags("--name= --wal-dir -x"), [pair("name", ""), pair("wal-dir", "-x")]);
    }

    #[test]
    fn switches_are_bare_or_have_a_word() {
        assert_eq!(flags("--enable-v2 --name n1"), [pair("enable-v2", "true"), pair("name", "n1")]);
        assert_eq!(flags("--enable-v2 true --pre-vote false"), [pair("enable-v2", "true"), pair("pre-vote", "false")]);
        assert_eq!(flags("--enable-v2=T"), [pair("enable-v2", "T")]);
        let refused = parsed("--enable-v2=maybe").unwrap_err().to_string();
        assert_eq!(refused, "invalid boolean value \"maybe\" for -enable-v2: parse error");
    }

    #[test]
    fn experiments_are_taken_in_any_way_they_are_written() {
        let line = "--experimental-a --experimental-b=1 --experimental-c 2 --name n1 --experimental-d";
        let names: Vec<String> = flags(line).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected =
            ["experimental-a=true", "experimental-b=1", "experimental-c=2", "name=n1", "experimental-d=true"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_not_understood_is_said_in_gos_words() {
        let said = |line: &str| parsed(line).unwrap_err().to_string();
        assert_eq!(said("--nope"), "flag provided but not defined: -nope");
        assert_eq!(said("-nope=1"), "flag provided but not defined: -nope");
        assert_eq!(said("--name"), "flag needs an argument: -name");
        assert_eq!(said("--=x"), "bad flag syntax: --=x");
        assert_eq!(said("---name"), "bad flag syntax: ---name");
        assert_eq!(said("--name n1 extra"), "'extra' is not a valid flag");
    }

    #[test]
    fn help_and_version_beat_the_rest() {
        assert_eq!(parsed("--version"), Ok(Asked::Version));
        assert_eq!(parsed("-version --name n1"), Ok(Asked::Version));
        assert_eq!(parsed("-h --nope"), Ok(Asked::Help));
        assert_eq!(parsed("--name n1 --help"), Ok(Asked::Help));
    }
}
