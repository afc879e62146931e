//! The few query parameters there are.

use std::collections::BTreeSet;

/// What a probe asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Look at this member alone, without asking the quorum.
    pub serializable: bool,
    /// List each check.
    pub verbose: bool,
    /// Alarms, or checks, that are to be passed over.
    pub exclude: BTreeSet<String>,
}

impl Query {
    /// Unknown parameters are passed over, as everywhere on the web.
    pub fn parse(raw: Option<&str>) -> Self {
        let mut query = Self::default();
        for pair in raw.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "serializable" => query.serializable = value == "true",
                "verbose" => query.verbose = value != "false",
                "exclude" => query.exclude.extend(value.split(',').map(str::to_owned)),
                _ => {}
            }
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_probes_write_them() {
        assert_eq!(Query::parse(None), Query::default());
        assert!(Query::parse(Some("verbose")).verbose);
        assert!(Query::parse(Some("verbose=true")).verbose);
        assert!(!Query::parse(Some("verbose=false")).verbose);
        assert!(Query::parse(Some("serializable=true&x=1")).serializable);
        assert!(!Query::parse(Some("serializable")).serializable, "as in etcd: only the word true");
        let query = Query::parse(Some("exclude=NOSPACE&exclude=data_corruption,linearizable_read"));
        assert_eq!(query.exclude.iter().collect::<Vec<_>>(), ["NOSPACE", "data_corruption", "linearizable_read"]);
    }
}
