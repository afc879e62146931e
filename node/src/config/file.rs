//! The configuration file: YAML, one key for each setting, with etcd's keys.

use std::path::Path;

use serde_yaml_ng::Value;

use super::ConfigError;
use super::catalogue::{Shape, nearest, setting};

/// The settings that a file gives, as text.
pub fn read(path: &Path, contents: &str) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let broken = |detail: String| ConfigError::File { path: path.to_owned(), detail };
    let document: Value = serde_yaml_ng::from_str(contents).map_err(|error| broken(error.to_string()))?;
    let mapping = match document {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(broken("expected keys and values, one a line, like `name: n1`".to_owned())),
    };
    let mut given = Vec::new();
    for (key, value) in mapping {
        let Value::String(key) = key else {
            return Err(broken(format!("expected a setting's name, found {key:?}")));
        };
        let Some(setting) = setting(&key) else {
            let hint = nearest(&key).map_or(String::new(), |known| format!(": did you mean {known:?}?"));
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key, hint });
        };
        let text = match value {
            // A key without a value asks for nothing.
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(switch) => switch.to_string(),
            Value::Number(number) if setting.shape == Shape::Duration => format!("{number}ns"),
            Value::Number(number) => number.to_string(),
            Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                return Err(broken(format!("{key}: expected one value; several are separated by commas")));
            }
        };
        given.push((setting.name, text));
    }
    Ok(given)
}
