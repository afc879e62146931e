//! Where values come from, and which one counts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::catalogue::{SETTINGS, setting};
use super::{ConfigError, file};

/// The environment's names start with one of these; the first wins.
const PREFIXES: [&str; 2] = ["HOLDFAST_", "ETCD_"];

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    /// The variable's name.
    Environment(String),
    File(PathBuf),
}

/// A value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub text: String,
    pub source: Source,
}

/// The values that count, by setting. What was not given is not in it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    given: BTreeMap<&'static str, Given>,
    remarks: Vec<String>,
}

impl Sources {
    /// Lays the sources over one another. `flags` and `environment` are names and values as they stand there; the file
    /// is its path and its contents.
    pub fn gather(
        flags: &[(&'static str, String)],
        environment: &BTreeMap<String, String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Self::default();
        for (name, text) in flags {
            sources.offer(name, Given { text: text.clone(), source: Source::Flag });
        }
        for prefix in PREFIXES {
            for setting in SETTINGS {
                let variable = variable(prefix, setting.name);
                if let Some(text) = environment.get(&variable) {
                    sources.offer(setting.name, Given { text: text.clone(), source: Source::Environment(variable) });
                }
            }
        }
        if let Some((path, contents)) = file {
            for (name, text) in file::read(path, contents)? {
                sources.offer(name, Given { text, source: Source::File(path.to_owned()) });
            }
        }
        sources.remark_unknown_variables(environment);
        Ok(sources)
    }

    /// Counts unless a source before it had the setting. Whoever asks for nothing (an empty variable) gives nothing.
    fn offer(&mut self, name: &'static str, given: Given) {
        if given.source == Source::Flag || !given.text.is_empty() {
            self.given.entry(name).or_insert(given);
        }
    }

    /// Only said, never refused: an orchestrator puts variables of its own into the environment.
    fn remark_unknown_variables(&mut self, environment: &BTreeMap<String, String>) {
        let is_known = |name: &str| {
            PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix)).any(|rest| {
                let kebab = rest.to_ascii_lowercase().replace('_', "-");
                setting(&kebab).is_some() || kebab == "config-file"
            })
        };
        let ours = environment.keys().filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
        for name in ours.filter(|name| !is_known(name)) {
            self.remarks.push(format!("the environment variable {name} names no setting and is passed over"));
        }
    }

    pub fn get(&self, name: &str) -> Option<&Given> {
        assert!(setting(name).is_some(), "{name} is not in the catalogue");
        self.given.get(name)
    }

    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The file that the environment names, if no flag does.
pub fn config_file_of(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    PREFIXES.iter().find_map(|prefix| environment.get(&variable(prefix, "config-file"))).map(PathBuf::from)
}

impl Given {
    /// The setting's name as its writer knows it.
    pub fn describe(&self, name: &str) -> String {
        format!("--{name}{}", self.source)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => Ok(()),
            Source::Environment(variable) => write!(f, " (from {variable})"),
            Source::File(path) => write!(f, " (from {})", path.display()),
        }
    }
}
