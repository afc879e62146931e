//! The configuration file: YAML, one key for each setting, with etcd's keys.

use std::path::Path;

use serde_yaml_ng::{Mapping, Value};

use super::ConfigError;
use super::catalogue::{Shape, nearest};
use super::manner::Manner;
use super::strangers::{Meaning, meaning};

/// etcd's files have the TLS settings in two sections of their own. Section, key there, and the setting.
const IN_SECTIONS: [(&str, &str, &str); 17] = [
    ("client-transport-security", "cert-file", "cert-file"),
    ("client-transport-security", "key-file", "key-file"),
    ("client-transport-security", "client-cert-auth", "client-cert-auth"),
    ("client-transport-security", "trusted-ca-file", "trusted-ca-file"),
    ("client-transport-security", "client-crl-file", "client-crl-file"),
    ("client-transport-security", "allowed-hostname", "client-cert-allowed-hostname"),
    ("client-transport-security", "allowed-hostnames", "client-cert-allowed-hostname"),
    ("client-transport-security", "auto-tls", "auto-tls"),
    ("peer-transport-security", "cert-file", "peer-cert-file"),
    ("peer-transport-security", "key-file", "peer-key-file"),
    ("peer-transport-security", "client-cert-auth", "peer-client-cert-auth"),
    ("peer-transport-security", "trusted-ca-file", "peer-trusted-ca-file"),
    ("peer-transport-security", "client-crl-file", "peer-crl-file"),
    ("peer-transport-security", "allowed-cn", "peer-cert-allowed-cn"),
    ("peer-transport-security", "allowed-hostname", "peer-cert-allowed-hostname"),
    ("peer-transport-security", "allowed-hostnames", "peer-cert-allowed-hostname"),
    ("peer-transport-security", "auto-tls", "peer-auto-tls"),
];

/// Keys that etcd writes with lists where the flag has commas.
const LISTS: [&str; 5] = [
    "log-outputs",
    "cipher-suites",
    "discovery-endpoints",
    "client-cert-allowed-hostname",
    "peer-cert-allowed-hostname",
];

/// What a file gives.
#[derive(Debug, Default)]
pub struct Read {
    /// Names and values as a flag would have them.
    pub given: Vec<(String, String)>,
    pub remarks: Vec<String>,
}

/// Reads the settings of a file, as text.
pub fn read(manner: Manner, path: &Path, contents: &str) -> Result<Read, ConfigError> {
    let reader = Reader { manner, path };
    let document: Value = serde_yaml_ng::from_str(contents).map_err(|error| reader.broken(error.to_string()))?;
    let mapping = match document {
        Value::Null => return Ok(Read::default()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(reader.broken("expected keys and values, one a line, like `name: n1`".to_owned())),
    };
    let mut read = Read::default();
    for (key, value) in mapping {
        let Value::String(key) = key else {
            return Err(reader.broken(format!("expected a setting's name, found {key:?}")));
        };
        match value {
            Value::Mapping(section) if IN_SECTIONS.iter().any(|(name, ..)| *name == key) => {
                reader.section(&key, section, &mut read)?;
            }
            value => reader.entry(&key, &key, value, &mut read)?,
        }
    }
    Ok(read)
}

struct Reader<'f> {
    manner: Manner,
    path: &'f Path,
}

impl Reader<'_> {
    fn broken(&self, detail: String) -> ConfigError {
        ConfigError::File { path: self.path.to_owned(), detail }
    }

    fn section(&self, section: &str, entries: Mapping, read: &mut Read) -> Result<(), ConfigError> {
        for (key, value) in entries {
            let Value::String(key) = key else {
                return Err(self.broken(format!("{section}: expected a setting's name, found {key:?}")));
            };
            let written = format!("{section}.{key}");
            let row = IN_SECTIONS.iter().find(|(name, inside, _)| *name == section && *inside == key);
            match row {
                Some((_, _, setting)) => self.entry(setting, &written, value, read)?,
                None => self.unknown(written, read)?,
            }
        }
        Ok(())
    }

    /// `name` is the setting that is meant, `written` what stands in the file.
    fn entry(&self, name: &str, written: &str, value: Value, read: &mut Read) -> Result<(), ConfigError> {
        let shape = match meaning(self.manner, name) {
            Meaning::Setting(setting) => setting.shape,
            Meaning::Stranger(stranger) => stranger.shape,
            Meaning::Experiment => Shape::Value,
            Meaning::Nothing => return self.unknown(written.to_owned(), read),
        };
        let text = match value {
            // A key without a value asks for nothing.
            Value::Null => return Ok(()),
            Value::String(text) => text,
            Value::Bool(switch) => switch.to_string(),
            Value::Number(number) if shape == Shape::Duration => format!("{number}ns"),
            Value::Number(number) => number.to_string(),
            Value::Sequence(parts) if LISTS.contains(&name) => {
                let texts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| self.broken(format!("{written}: expected a list of words")))?.join(",")
            }
            Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                return Err(self.broken(format!("{written}: expected one value; several are separated by commas")));
            }
        };
        read.given.push((name.to_owned(), text));
        Ok(())
    }

    /// etcd passes over what it does not know; in its manner we do the same, but say so.
    fn unknown(&self, key: String, read: &mut Read) -> Result<(), ConfigError> {
        match self.manner {
            Manner::Etcd => {
                read.remarks.push(format!("{}: the key {key:?} is unknown and is passed over", self.path.display()));
                Ok(())
            }
            Manner::Holdfast => {
                let hint = nearest(&key).map_or(String::new(), |known| format!(": did you mean {known:?}?"));
                Err(ConfigError::UnknownKey { path: self.path.to_owned(), key, hint })
            }
        }
    }
}
