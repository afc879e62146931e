//! From what an operator wrote to what a node starts with.
//!
//! ```text
//!   --election-timeout 500          flag          \
//!   HOLDFAST_ELECTION_TIMEOUT=500   environment    \   sources.rs          settle.rs
//!   ETCD_ELECTION_TIMEOUT=500       environment     >  Given: text and  -> Config: checked, typed
//!   election-timeout: 500           --config-file  /   where it is from
//!   (400)                           default       /
//! ```
//!
//! - One table (`catalogue.rs`) names every setting. Flags, environment names, file keys, help and the list of known
//!   names all come from it.
//! - A source further up in the picture wins, setting by setting. (etcd ignores flags and environment as soon as there
//!   is a file; here a file holds what is common, and a flag can still override it.)
//! - Names and meanings are etcd's where etcd has the setting.
//! - A program that was started as `etcd` ([`Manner::Etcd`]) takes etcd's other settings too (`strangers.rs`), has
//!   etcd's defaults (`manner.rs`), and reads a file as etcd does: then nothing else counts.
//! - Whatever is wrong is said with the setting's name, where it came from, what was given and what is expected.

mod auth;
mod catalogue;
mod file;
mod initial_cluster;
mod manner;
mod settle;
mod sources;
mod strangers;
mod tls;
mod urls;
mod values;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use catalogue::{SETTINGS, Setting, Shape, is_without_effect};
pub use manner::Manner;
pub use settle::settle;
pub use sources::{Given, Source, Sources, config_file_of};
pub use strangers::{Fate, Meaning, STRANGERS, Stranger, meaning};
pub use values::{Switch, switch};

use crate::settings::Settings;

/// The members of a cluster to be, by name, of which `name` at `advertised` is one. Or what is wrong with them.
pub fn peer_urls_by_name(
    initial_cluster: &str,
    name: &str,
    advertised: &str,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let wrong = |expected: values::Expected| format!("expected {}", expected.0);
    let members = initial_cluster::parse(initial_cluster).map_err(wrong)?;
    initial_cluster::check_own(&members, name, &urls::advertise(advertised).map_err(wrong)?)?;
    Ok(members)
}

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: Settings,
    pub log: LogConfig,
    /// What was given and has no effect, in words for the log.
    pub remarks: Vec<String>,
}

/// What is logged, how and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or a list of `module=level` as tracing-subscriber reads it.
    pub filter: String,
    pub format: LogFormat,
    pub outputs: Vec<LogOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line, with the keys that etcd's have: level, ts, caller, msg.
    Json,
    /// For people.
    Console,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    Stderr,
    Stdout,
    /// Added to at its end.
    File(PathBuf),
}

/// Why there is no configuration. The process ends with code 2.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{setting} is {given:?}: expected {expected}")]
    Invalid {
        setting: String,
        /// None for a default.
        from: Option<Source>,
        given: String,
        expected: String,
    },
    /// Settings that are fine one by one.
    #[error("{0}")]
    Conflict(String),
    #[error("{path}: unknown key {key:?}{hint}")]
    UnknownKey { path: PathBuf, key: String, hint: String },
    #[error("{path}: {detail}")]
    File { path: PathBuf, detail: String },
}

#[cfg(test)]
mod tests;
