//! The words of a script, as requests.

use bytes::Bytes;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::log::AuthEnable;
use holdfast_proto::log::auth_change::Change;
use holdfast_proto::{authpb, etcdserverpb as pb};

use crate::auth::{Caller, Identity};
use holdfast_proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use holdfast_proto::log::Guard;
use holdfast_proto::log::guard::Held;

/// Words without options, and options: `limit=2` or a lone `prev`.
pub struct Words<'a> {
    pub plain: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

const FLAGS: &[&str] = &[
    "prev",
    "ignore_value",
    "ignore_lease",
    "keys",
    "count",
    "asc",
    "desc",
    "bad_checksum",
    "no_checksum",
    "serializable",
    "itself",
];

impl<'a> Words<'a> {
    pub fn of(text: &'a str) -> Self {
        let mut words = Self { plain: Vec::new(), options: Vec::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) if !name.is_empty() => words.options.push((name, value)),
                _ if FLAGS.contains(&word) => words.options.push((word, "")),
                _ => words.plain.push(word),
            }
        }
        words
    }

    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|option| option.0 == name)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|option| option.0 == name).map(|option| option.1)
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: not a number")))
    }

    pub fn plain_number(&self, position: usize) -> Option<i64> {
        self.plain.get(position).map(|word| word.parse().unwrap_or_else(|_| panic!("{word}: not a number")))
    }
}

/// `\0` is a zero byte, `""` the empty text.
pub fn bytes_of(word: &str) -> Bytes {
    Bytes::from(word.replace("\\0", "\0").replace("\"\"", ""))
}

/// `as ann`, `as ann rev=3`, `as nobody`, `as member`.
pub fn caller_of(words: &Words<'_>) -> Caller {
    match words.plain[1] {
        "nobody" => Caller::Nobody,
        "member" => Caller::Member,
        user => {
            let auth_revision = words.number("rev").unwrap_or(0) as u64;
            Caller::User(Identity { user: user.into(), auth_revision })
        }
    }
}

/// `auth enable`, `user add ann`, `role grant r read a..c`; `None` for `auth show`.
pub fn auth_change_of(words: &Words<'_>) -> Option<Change> {
    let word = |at: usize| words.plain.get(at).copied().unwrap_or_default().replace("\"\"", "");
    Some(match (words.plain[0], words.plain[1]) {
        ("auth", "show") => return None,
        ("auth", "enable") => Change::Enable(AuthEnable { token_secret: Bytes::from_static(b"secret") }),
        ("auth", "disable") => Change::Disable(pb::AuthDisableRequest {}),
        ("user", "add") => Change::UserAdd(pb::AuthUserAddRequest {
            name: word(2),
            hashed_password: format!("hash of {}", word(3)),
            ..pb::AuthUserAddRequest::default()
        }),
        ("user", "del") => Change::UserDelete(pb::AuthUserDeleteRequest { name: word(2) }),
        ("user", "passwd") => Change::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name: word(2),
            hashed_password: format!("hash of {}", word(3)),
            ..pb::AuthUserChangePasswordRequest::default()
        }),
        ("user", "grant") => Change::UserGrantRole(pb::AuthUserGrantRoleRequest { user: word(2), role: word(3) }),
        ("user", "revoke") => Change::UserRevokeRole(pb::AuthUserRevokeRoleRequest { name: word(2), role: word(3) }),
        ("role", "add") => Change::RoleAdd(pb::AuthRoleAddRequest { name: word(2) }),
        ("role", "del") => Change::RoleDelete(pb::AuthRoleDeleteRequest { role: word(2) }),
        ("role", "grant") => {
            let (key, range_end) = range_of(words.plain[4]);
            let kind = match words.plain[3] {
                "read" => authpb::permission::Type::Read,
                "write" => authpb::permission::Type::Write,
                _ => authpb::permission::Type::Readwrite,
            };
            let perm = Some(authpb::Permission { perm_type: kind as i32, key, range_end });
            Change::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest { name: word(2), perm })
        }
        ("role", "revoke") => {
            let (key, range_end) = range_of(words.plain[3]);
            Change::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest { role: word(2), key, range_end })
        }
        other => panic!("{other:?}: no change of users or roles"),
    })
}

/// `a`, `a..c`, `a..` or `..`, as key and range end.
pub fn range_of(word: &str) -> (Bytes, Bytes) {
    match word.split_once("..") {
        None => (bytes_of(word), Bytes::new()),
        Some(("", "")) => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        Some((from, "")) => (bytes_of(from), Bytes::from_static(b"\0")),
        Some((from, to)) => (bytes_of(from), bytes_of(to)),
    }
}

pub fn put_of(words: &Words<'_>) -> PutRequest {
    PutRequest {
        key: bytes_of(words.plain[1]),
        value: words.plain.get(2).copied().map(bytes_of).unwrap_or_default(),
        lease: words.number("lease").unwrap_or(0),
        prev_kv: words.has("prev"),
        ignore_value: words.has("ignore_value"),
        ignore_lease: words.has("ignore_lease"),
    }
}

pub fn delete_of(words: &Words<'_>) -> DeleteRangeRequest {
    let (key, range_end) = range_of(words.plain[1]);
    DeleteRangeRequest { key, range_end, prev_kv: words.has("prev") }
}

pub fn get_of(words: &Words<'_>) -> RangeRequest {
    let (key, range_end) = range_of(words.plain[1]);
    let order = match (words.has("asc"), words.has("desc")) {
        (true, _) => SortOrder::Ascend,
        (_, true) => SortOrder::Descend,
        _ => SortOrder::None,
    };
    let target = match words.text("sort") {
        None | Some("key") => SortTarget::Key as i32,
        Some("version") => SortTarget::Version as i32,
        Some("create") => SortTarget::Create as i32,
        Some("mod") => SortTarget::Mod as i32,
        Some("value") => SortTarget::Value as i32,
        Some(number) => number.parse().unwrap(),
    };
    let number = |name| words.number(name).unwrap_or(0);
    RangeRequest {
        key,
        range_end,
        limit: number("limit"),
        revision: number("rev"),
        sort_order: order as i32,
        sort_target: target,
        serializable: words.has("serializable"),
        keys_only: words.has("keys"),
        count_only: words.has("count"),
        min_mod_revision: number("min_mod"),
        max_mod_revision: number("max_mod"),
        min_create_revision: number("min_create"),
        max_create_revision: number("max_create"),
    }
}

/// `guard=jobs/7@5` is a key and a token, `guard_name=jobs@5` the name of a lock and a token.
pub fn guard_of(words: &Words<'_>) -> Option<Guard> {
    let parse = |text: &str, held: fn(Bytes) -> Held| {
        let (what, token) = text.rsplit_once('@').unwrap_or_else(|| panic!("{text}: a guard has a token"));
        Guard { held: Some(held(bytes_of(what))), token: token.parse().unwrap() }
    };
    let by_key = words.text("guard").map(|text| parse(text, Held::Key));
    by_key.or_else(|| words.text("guard_name").map(|text| parse(text, Held::Name)))
}

/// `txn if value(a)=1 and version(b..d)>0 then put a 2; get a else { if ... then del a }`.
pub fn txn_of(text: &str) -> TxnRequest {
    let text = text.replace('{', " { ").replace('}', " } ").replace(';', " ; ");
    let words: Vec<&str> = text.split_whitespace().skip(1).collect();
    let mut words = words.as_slice();
    let txn = take_txn(&mut words);
    assert!(words.is_empty(), "left over: {words:?}");
    txn
}

fn take_txn(words: &mut &[&str]) -> TxnRequest {
    let mut txn = TxnRequest::default();
    while let Some((&word, rest)) = words.split_first() {
        match word {
            "if" | "and" => {
                txn.compare.push(compare_of(rest[0]));
                *words = &rest[1..];
            }
            "then" | ";" if txn.failure.is_empty() && word == "then" || word == ";" && txn.failure.is_empty() => {
                *words = rest;
                txn.success.push(take_op(words));
            }
            "else" | ";" => {
                *words = rest;
                txn.failure.push(take_op(words));
            }
            _ => break,
        }
    }
    txn
}

fn take_op(words: &mut &[&str]) -> RequestOp {
    if words.first() == Some(&"{") {
        *words = &words[1..];
        let txn = take_txn(words);
        assert_eq!(words.first(), Some(&"}"), "a nested txn ends with a brace");
        *words = &words[1..];
        return RequestOp { request: Some(Op::RequestTxn(txn)) };
    }
    let end = words.iter().position(|word| [";", "else", "}"].contains(word)).unwrap_or(words.len());
    let text = words[..end].join(" ");
    *words = &words[end..];
    let op = Words::of(&text);
    let request = match op.plain[0] {
        "get" => Some(Op::RequestRange(get_of(&op))),
        "put" => Some(Op::RequestPut(put_of(&op))),
        "del" => Some(Op::RequestDeleteRange(delete_of(&op))),
        "nothing" => None,
        other => panic!("{other}: no operation"),
    };
    RequestOp { request }
}

/// `value(a)=1`, `version(a..c)>0`, `create(a)!=0`, `mod(a)<3`, `lease(a)=7`.
fn compare_of(word: &str) -> Compare {
    let (target, rest) = word.split_once('(').unwrap_or_else(|| panic!("{word}: not a condition"));
    let (range, rest) = rest.split_once(')').unwrap_or_else(|| panic!("{word}: not a condition"));
    let (key, range_end) = range_of(range);
    let results = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        (">", CompareResult::Greater),
        ("<", CompareResult::Less),
    ];
    let (result, wanted) = results
        .iter()
        .find_map(|(sign, result)| rest.strip_prefix(sign).map(|wanted| (*result, wanted)))
        .unwrap_or_else(|| panic!("{word}: = != < or >"));
    let number = || wanted.parse().unwrap_or_else(|_| panic!("{word}: not a number"));
    let (target, union) = match target {
        "value" => (CompareTarget::Value, TargetUnion::Value(bytes_of(wanted))),
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        other => panic!("{other}: nothing to compare"),
    };
    Compare { result: result as i32, target: target as i32, key, range_end, target_union: Some(union) }
}
