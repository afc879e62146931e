//! JSON to messages and back, by protobuf's JSON mapping (`prost-reflect`) with the choices that etcd made:
//!
//! - out: names as in the `.proto` file, 64-bit numbers as strings, enums by name, bytes in base64, zeros left out;
//! - in: names as in the file or in camel case, numbers as numbers or strings, enums by name or number; what is not
//!   known is passed over, and so is what follows the first value.
//!
//! The library can pass over unknown fields, but passes over unknown names of enums with them: `"sort_order": "DOWN"`
//! would be taken as none. So unknown fields are taken out first, and the library is told to mind the rest.

use prost_reflect::{DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// What is wrong with the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{0}")]
    NotJson(String),
    #[error("{message}: {detail}")]
    NotThatMessage { message: String, detail: String },
}

/// Reads the first value of a text. Nothing at all, or null, is a message with nothing set.
pub fn read(text: &[u8], kind: &MessageDescriptor) -> Result<DynamicMessage, Malformed> {
    match serde_json::Deserializer::from_slice(text).into_iter::<Value>().next() {
        None => Ok(DynamicMessage::new(kind.clone())),
        Some(Ok(value)) => message(value, kind),
        Some(Err(error)) => Err(Malformed::NotJson(error.to_string())),
    }
}

/// The first value of a text that may not have arrived in whole, and how many bytes it takes. `None`: read more.
pub fn first_value(text: &[u8]) -> Option<Result<(Value, usize), Malformed>> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    match values.next()? {
        Ok(value) => Some(Ok((value, values.byte_offset()))),
        Err(error) if error.is_eof() => None,
        Err(error) => Some(Err(Malformed::NotJson(error.to_string()))),
    }
}

pub fn message(mut value: Value, kind: &MessageDescriptor) -> Result<DynamicMessage, Malformed> {
    if value.is_null() {
        return Ok(DynamicMessage::new(kind.clone()));
    }
    drop_unknown(&mut value, kind);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(kind.clone(), value, &options)
        .map_err(|error| Malformed::NotThatMessage { message: kind.full_name().to_owned(), detail: error.to_string() })
}

fn drop_unknown(value: &mut Value, kind: &MessageDescriptor) {
    let Value::Object(fields) = value else { return };
    fields.retain(|name, value| {
        let Some(field) = kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name)) else {
            return false;
        };
        if let Kind::Message(inner) = field.kind() {
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| drop_unknown(item, &inner)),
                other => drop_unknown(other, &inner),
            }
        }
        true
    });
}

/// Adds a message to a text.
pub fn write(message: &DynamicMessage, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(true)
        .use_enum_numbers(false)
        .skip_default_fields(true);
    message.serialize_with_options(&mut serde_json::Serializer::new(text), &options)
}

#[cfg(test)]
mod tests {
    use holdfast_proto::etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, MemberAddRequest, RangeRequest, RangeResponse,
        ResponseHeader, StatusResponse, TxnRequest, WatchRequest, request_op, watch_request,
    };
    use holdfast_proto::mvccpb::{Event, KeyValue, event::EventType};
    use holdfast_proto::{CLIENT_DESCRIPTORS, etcdserverpb as pb};
    use prost::Message;
    use prost_reflect::DescriptorPool;

    use super::*;

    fn kind(name: &str) -> MessageDescriptor {
        DescriptorPool::decode(CLIENT_DESCRIPTORS).unwrap().get_message_by_name(name).unwrap()
    }

    fn parse<M: Message + Default>(name: &str, text: &str) -> Result<M, Malformed> {
        let dynamic = read(text.as_bytes(), &kind(&format!("etcdserverpb.{name}")))?;
        Ok(M::decode(dynamic.encode_to_vec().as_slice()).unwrap())
    }

    fn show(name: &str, message: &impl Message) -> String {
        let dynamic = DynamicMessage::decode(kind(name), message.encode_to_vec().as_slice()).unwrap();
        let mut text = Vec::new();
        write(&dynamic, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn names_are_taken_in_both_spellings() {
        let expected = RangeRequest { key: "foo".into(), range_end: "fop".into(), sort_order: 1, ..Default::default() };
        for text in [
            r#"{"key":"Zm9v","range_end":"Zm9w","sort_order":"ASCEND"}"#,
            r#"{"key":"Zm9v","rangeEnd":"Zm9w","sortOrder":1}"#,
        ] {
            assert_eq!(parse::<RangeRequest>("RangeRequest", text), Ok(expected.clone()), "{text}");
        }
        let member = parse::<MemberAddRequest>("MemberAddRequest", r#"{"peerURLs":["http://a:1"],"isLearner":true}"#);
        assert_eq!(member, Ok(MemberAddRequest { peer_ur_ls: vec!["http://a:1".to_owned()], is_learner: true }));
        let grant = parse::<LeaseGrantRequest>("LeaseGrantRequest", r#"{"TTL":5,"ID":"77"}"#);
        assert_eq!(grant, Ok(LeaseGrantRequest { ttl: 5, id: 77 }));
    }

    #[test]
    fn numbers_are_taken_as_numbers_and_as_strings() {
        for text in [r#"{"revision":9007199254740993}"#, r#"{"revision":"9007199254740993"}"#] {
            let expected = CompactionRequest { revision: 9_007_199_254_740_993, physical: false };
            assert_eq!(parse::<CompactionRequest>("CompactionRequest", text), Ok(expected), "{text}");
        }
        for text in [r#"{"revision":1.5}"#, r#"{"revision":"abc"}"#, r#"{"revision":"99999999999999999999"}"#] {
            assert!(parse::<CompactionRequest>("CompactionRequest", text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over_at_every_depth_but_not_a_wrong_word() {
        let text = r#"{"bogus":[1],"success":[{"request_delete_range":{"key":"YQ==","x":{"y":1}},"z":null}]}"#;
        let txn = parse::<TxnRequest>("TxnRequest", text).unwrap();
        let delete = DeleteRangeRequest { key: "a".into(), ..Default::default() };
        assert_eq!(txn.success[0].request, Some(request_op::Request::RequestDeleteRange(delete)));
        let wrong = parse::<RangeRequest>("RangeRequest", r#"{"key":"YQ==","sort_order":"DOWN"}"#).unwrap_err();
        assert!(wrong.to_string().contains("'DOWN'"), "{wrong}");
        let wrong = parse::<WatchRequest>("WatchRequest", r#"{"create_request":{"filters":["NOPUTS"]}}"#);
        assert!(wrong.is_err(), "{wrong:?}");
    }

    #[test]
    fn more_is_taken_than_etcd_takes() {
        let expected = RangeRequest { key: vec![0xfb, 0xff].into(), limit: 100, ..Default::default() };
        for text in [r#"{"key":"+/8","limit":1e2}"#, r#"{"key":"-_8=","limit":100.0}"#] {
            assert_eq!(parse::<RangeRequest>("RangeRequest", text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn two_members_of_one_choice_are_refused() {
        let text = r#"{"compare":[{"key":"YQ==","version":"1","value":"YQ=="}]}"#;
        let refused = parse::<TxnRequest>("TxnRequest", text).unwrap_err().to_string();
        assert!(refused.contains("target_union"), "{refused}");
    }

    #[test]
    fn nothing_and_null_are_empty_messages() {
        for text in ["", "  ", "null", "{}", r#"{"key":null}"#, r#"{} and what follows"#] {
            assert_eq!(parse::<RangeRequest>("RangeRequest", text), Ok(RangeRequest::default()), "{text:?}");
        }
        let watch = parse::<WatchRequest>("WatchRequest", r#"{"create_request":{"filters":[]}}"#).unwrap();
        assert!(matches!(watch.request_union, Some(watch_request::RequestUnion::CreateRequest(_))));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in ["not json", "[]", "7", r#"{"key":7}"#, r#"{"key":"?"}"#, r#"{"key":"#, r#"{"limit":"#] {
            assert!(parse::<RangeRequest>("RangeRequest", text).is_err(), "{text}");
        }
        let deep = format!("{}{}", r#"{"success":[{"request_txn":"#.repeat(1000), "}]}".repeat(1000));
        assert!(parse::<TxnRequest>("TxnRequest", &deep).is_err(), "a stack is finite");
    }

    #[test]
    fn answers_are_written_as_etcd_writes_them() {
        let header = ResponseHeader { cluster_id: u64::MAX, member_id: 2, revision: 3, raft_term: 4 };
        let key_value = KeyValue {
            key: "foo".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 1,
            value: "b?>".into(),
            lease: 0,
        };
        let range = RangeResponse { header: Some(header), kvs: vec![key_value.clone()], more: false, count: 1 };
        assert_eq!(
            show("etcdserverpb.RangeResponse", &range),
            concat!(
                r#"{"header":{"cluster_id":"18446744073709551615","member_id":"2","revision":"3","raft_term":"4"},"#,
                r#""kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"1","value":"Yj8+"}],"#,
                r#""count":"1"}"#
            )
        );
        let status = StatusResponse { db_size: 5, raft_index: 6, is_learner: true, ..Default::default() };
        assert_eq!(show("etcdserverpb.StatusResponse", &status), r#"{"dbSize":"5","raftIndex":"6","isLearner":true}"#);
        let event = Event { r#type: EventType::Delete.into(), kv: None, prev_kv: Some(key_value) };
        assert!(show("mvccpb.Event", &event).starts_with(r#"{"type":"DELETE","prev_kv":{"key":"#));
        let hash = pb::HashKvResponse { hash: 4_000_000_000, compact_revision: -1, ..Default::default() };
        assert_eq!(show("etcdserverpb.HashKVResponse", &hash), r#"{"hash":4000000000,"compact_revision":"-1"}"#);
        // What is there, and empty, is shown.
        let nested = pb::TxnResponse { header: Some(ResponseHeader::default()), ..Default::default() };
        assert_eq!(show("etcdserverpb.TxnResponse", &nested), r#"{"header":{}}"#);
    }

    #[test]
    fn the_first_value_of_a_stream_is_found_when_it_is_complete() {
        assert!(first_value(b"").is_none());
        assert!(first_value(b" {\"ID\":").is_none());
        let (value, length) = first_value(b" {\"ID\":1} {\"ID\":2}").unwrap().unwrap();
        assert_eq!((value["ID"].as_i64(), length), (Some(1), 9));
        assert!(first_value(b"bad").unwrap().is_err());
    }
}
