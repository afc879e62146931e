//! Guards on writes, as they come over the wire: in a message of `holdfast.v1`, or in the metadata of an etcd request.
//!
//! ```text
//!   holdfast-guard-key: jobs/694d...      or -name: jobs      the same with -bin, for what is no plain text
//!   holdfast-guard-token: 12
//! ```
//!
//! Half a guard is an error: a write that was meant to be guarded must not pass without.

use bytes::Bytes;
use holdfast_proto::log::Guard;
use holdfast_proto::log::guard::Held;
use holdfast_proto::v1;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status;

const KEY: &str = "holdfast-guard-key";
const KEY_BIN: &str = "holdfast-guard-key-bin";
const NAME: &str = "holdfast-guard-name";
const NAME_BIN: &str = "holdfast-guard-name-bin";
const TOKEN: &str = "holdfast-guard-token";

/// The guard in the metadata of a request, if there is one.
pub fn of_metadata(metadata: &MetadataMap) -> Result<Option<Guard>, Status> {
    let held = [
        plain(metadata, KEY).map(Held::Key),
        binary(metadata, KEY_BIN)?.map(Held::Key),
        plain(metadata, NAME).map(Held::Name),
        binary(metadata, NAME_BIN)?.map(Held::Name),
    ];
    let mut held = held.into_iter().flatten();
    let token = metadata.get(TOKEN);
    match (held.next(), held.next(), token) {
        (None, _, None) => Ok(None),
        (Some(held), None, Some(token)) => {
            let token = token.to_str().ok().and_then(|token| token.parse().ok()).ok_or_else(status::bad_guard)?;
            checked(Guard { held: Some(held), token }).map(Some)
        }
        _ => Err(status::bad_guard()),
    }
}

/// The guard of a request that must have one.
pub fn of_message(guard: Option<v1::Guard>) -> Result<Option<Guard>, Status> {
    let v1::Guard { held, token } = guard.ok_or_else(status::bad_guard)?;
    let held = held.map(|held| match held {
        v1::guard::Held::Key(key) => Held::Key(key),
        v1::guard::Held::Name(name) => Held::Name(name),
    });
    checked(Guard { held, token }).map(Some)
}

fn checked(guard: Guard) -> Result<Guard, Status> {
    let is_key_missing = match &guard.held {
        Some(Held::Key(key)) => key.is_empty(),
        Some(Held::Name(_)) => false,
        None => true,
    };
    if is_key_missing || guard.token <= 0 { Err(status::bad_guard()) } else { Ok(guard) }
}

fn plain(metadata: &MetadataMap, name: &'static str) -> Option<Bytes> {
    metadata.get(name).map(|value| Bytes::copy_from_slice(value.as_encoded_bytes()))
}

fn binary(metadata: &MetadataMap, name: &'static str) -> Result<Option<Bytes>, Status> {
    metadata.get_bin(name).map(|value| value.to_bytes().map_err(|_| status::bad_guard())).transpose()
}

#[cfg(test)]
mod tests {
    use tonic::metadata::{MetadataKey, MetadataValue};

    use super::*;

    fn with(plain: &[(&'static str, &'static str)], binary: &[(&'static str, &[u8])]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (name, value) in plain {
            metadata.append(*name, value.parse().unwrap());
        }
        for (name, value) in binary {
            metadata.append_bin(MetadataKey::from_static(name), MetadataValue::from_bytes(value));
        }
        metadata
    }

    fn key(key: &'static [u8], token: i64) -> Option<Guard> {
        Some(Guard { held: Some(Held::Key(Bytes::from_static(key))), token })
    }

    #[test]
    fn a_whole_guard_is_read_and_no_guard_is_none() {
        assert_eq!(of_metadata(&with(&[("token", "x")], &[])).unwrap(), None);
        assert_eq!(of_metadata(&with(&[(KEY, "jobs/7a"), (TOKEN, "12")], &[])).unwrap(), key(b"jobs/7a", 12));
        assert_eq!(of_metadata(&with(&[(TOKEN, "12")], &[(KEY_BIN, b"\xff/7a")])).unwrap(), key(b"\xff/7a", 12));
        let by_name = of_metadata(&with(&[(NAME, "jobs"), (TOKEN, "12")], &[])).unwrap();
        assert_eq!(by_name, Some(Guard { held: Some(Held::Name(Bytes::from_static(b"jobs"))), token: 12 }));
    }

    #[test]
    fn half_a_guard_is_refused() {
        let halves: [&[(&str, &str)]; 7] = [
            &[(TOKEN, "12")],
            &[(KEY, "jobs/7a")],
            &[(KEY, "jobs/7a"), (TOKEN, "")],
            &[(KEY, "jobs/7a"), (TOKEN, "twelve")],
            &[(KEY, "jobs/7a"), (TOKEN, "0")],
            &[(KEY, ""), (TOKEN, "12")],
            &[(KEY, "jobs/7a"), (NAME, "jobs"), (TOKEN, "12")],
        ];
        for half in halves {
            let refused = of_metadata(&with(half, &[])).expect_err("refused");
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{half:?}");
        }
        assert!(of_message(None).is_err());
        assert!(of_message(Some(v1::Guard { held: None, token: 1 })).is_err());
    }
}
