//! Where values come from, and which one counts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::catalogue::{SETTINGS, setting};
use super::manner::Manner;
use super::strangers::{EXPERIMENT, Meaning, STRANGERS, meaning};
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
#[derive(Clone, Debug)]
pub struct Sources {
    manner: Manner,
    given: BTreeMap<&'static str, Given>,
    remarks: Vec<String>,
}

impl Sources {
    /// Lays the sources over one another. `flags` and `environment` are names and values as they stand there; the file
    /// is its path and its contents.
    pub fn gather<N: AsRef<str>>(
        manner: Manner,
        flags: &[(N, String)],
        environment: &BTreeMap<String, String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Self { manner, given: BTreeMap::new(), remarks: Vec::new() };
        if manner == Manner::Etcd
            && let Some((path, contents)) = file
        {
            // As in etcd: where there is a file, it alone counts.
            sources.offer_file(path, contents)?;
            sources.remark_beside_file(flags, environment, path);
            return Ok(sources);
        }
        for (name, text) in flags {
            sources.offer(name.as_ref(), Given { text: text.clone(), source: Source::Flag })?;
        }
        for prefix in PREFIXES {
            for name in manner.names() {
                let variable = variable(prefix, name);
                if let Some(text) = environment.get(&variable) {
                    sources.offer(name, Given { text: text.clone(), source: Source::Environment(variable) })?;
                }
            }
        }
        if manner == Manner::Etcd {
            sources.offer_experiments(environment)?;
        }
        if let Some((path, contents)) = file {
            sources.offer_file(path, contents)?;
        }
        sources.remark_unknown_variables(environment);
        Ok(sources)
    }

    /// etcd's experiments in the environment, known or not.
    fn offer_experiments(&mut self, environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for (variable, text) in environment {
            let name = variable.strip_prefix("ETCD_").unwrap_or_default().to_ascii_lowercase().replace('_', "-");
            if name.starts_with(EXPERIMENT) && !self.manner.names().any(|known| known == name) {
                self.offer(&name, Given { text: text.clone(), source: Source::Environment(variable.clone()) })?;
            }
        }
        Ok(())
    }

    fn offer_file(&mut self, path: &Path, contents: &str) -> Result<(), ConfigError> {
        let read = file::read(self.manner, path, contents)?;
        self.remarks.extend(read.remarks);
        for (name, text) in read.given {
            self.offer(&name, Given { text, source: Source::File(path.to_owned()) })?;
        }
        Ok(())
    }

    /// Counts unless a source before it had the setting. Whoever asks for nothing (an empty variable) gives nothing.
    fn offer(&mut self, name: &str, given: Given) -> Result<(), ConfigError> {
        let is_nothing = given.text.is_empty() && (given.source != Source::Flag || self.manner == Manner::Etcd);
        if is_nothing {
            return Ok(());
        }
        match meaning(self.manner, name) {
            Meaning::Setting(setting) => {
                self.given.entry(setting.name).or_insert(given);
                Ok(())
            }
            Meaning::Stranger(stranger) => {
                self.remarks.extend(stranger.take(&given)?);
                Ok(())
            }
            Meaning::Experiment => {
                let described = given.describe(name);
                self.remarks.push(format!("{described} is passed over: there is no such experiment here"));
                Ok(())
            }
            Meaning::Nothing => Err(ConfigError::Conflict(format!("{} names no setting", given.describe(name)))),
        }
    }

    /// Only said, never refused: an orchestrator puts variables of its own into the environment.
    fn remark_unknown_variables(&mut self, environment: &BTreeMap<String, String>) {
        let is_known = |name: &str| {
            PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix)).any(|rest| {
                let kebab = rest.to_ascii_lowercase().replace('_', "-");
                let is_experiment = self.manner == Manner::Etcd && kebab.starts_with(EXPERIMENT);
                kebab == "config-file" || is_experiment || self.manner.names().any(|known| known == kebab)
            })
        };
        let unknown: Vec<&String> = ours(environment).filter(|name| !is_known(name)).collect();
        for name in unknown {
            self.remarks.push(format!("the environment variable {name} names no setting and is passed over"));
        }
    }

    fn remark_beside_file<N: AsRef<str>>(
        &mut self,
        flags: &[(N, String)],
        environment: &BTreeMap<String, String>,
        path: &Path,
    ) {
        let flags = flags.iter().map(|(name, _)| format!("--{}", name.as_ref()));
        let variables = ours(environment).filter(|name| !name.ends_with("_CONFIG_FILE")).cloned();
        for name in flags.chain(variables) {
            self.remarks.push(format!("{name} is passed over: with a file ({}) nothing else counts", path.display()));
        }
    }

    pub fn manner(&self) -> Manner {
        self.manner
    }

    pub fn get(&self, name: &str) -> Option<&Given> {
        assert!(setting(name).is_some(), "{name} is not in the catalogue");
        self.given.get(name)
    }

    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

/// The variables of the environment that could be meant for this program.
fn ours(environment: &BTreeMap<String, String>) -> impl Iterator<Item = &String> {
    environment.keys().filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

impl Manner {
    /// All names that mean something in this manner of speaking.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let strangers = match self {
            Manner::Holdfast => &[],
            Manner::Etcd => STRANGERS,
        };
        SETTINGS.iter().map(|setting| setting.name).chain(strangers.iter().map(|stranger| stranger.name))
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
