//! How an answer is shown.
//!
//! ```text
//! simple   etcdctl's lines, byte for byte
//! json     etcdctl's objects: its names, its order, its omissions; bytes in base64
//! table    for people; not every answer has one
//! ```
//!
//! An answer implements [`Simple`], [`ToJson`] and [`Tabular`], each in the file of that name.

pub(crate) mod go;
mod json;
mod said;
mod simple;
mod table;

use std::io::Write;

use clap::ValueEnum;
use holdfast_client::AttachedKeys;
use holdfast_client::proto::etcdserverpb::{
    HashKvResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse, Member, MemberAddResponse, RangeResponse,
    ResponseHeader, StatusResponse,
};

use crate::failure::Failure;
pub(crate) use json::ToJson;
pub(crate) use said::Said;
pub(crate) use simple::Simple;
pub(crate) use table::Tabular;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Simple,
    Json,
    Table,
}

/// How keys and values are written in simple output and in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteStyle {
    Raw,
    Hex,
}

impl ByteStyle {
    pub(crate) fn show(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => bytes.to_vec(),
            Self::Hex => bytes.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()).collect(),
        }
    }
}

/// Writes answers to standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
    bytes: ByteStyle,
}

impl Printer {
    pub(crate) fn new(format: Format, bytes: ByteStyle) -> Self {
        Self { format, bytes }
    }

    pub(crate) fn show<A: Simple + ToJson + Tabular + ?Sized>(&self, answer: &A) -> Result<(), Failure> {
        match self.format {
            Format::Simple => write(&answer.simple(self.bytes)),
            Format::Json => write(&json::text(&answer.json())),
            Format::Table => match answer.table(self.bytes) {
                Some(tables) => write(tables.iter().map(table::Table::text).collect::<Vec<_>>().join("\n").as_bytes()),
                None => Err(Failure::feature("table not supported as output format; use -w simple or -w json")),
            },
        }
    }

    /// What only a program wants to know.
    pub(crate) fn show_if_json(&self, answer: &impl ToJson) -> Result<(), Failure> {
        if self.format == Format::Json { write(&json::text(&answer.json())) } else { Ok(()) }
    }
}

/// A line that is the same in every format.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(|error| Failure::file("cannot write the answer", &error))
}

// ---- answers that need more than the server's message to be shown ----

/// What `get` shows of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueStyle {
    Pairs,
    Values,
    Count,
}

pub(crate) struct Listing {
    pub(crate) answer: RangeResponse,
    pub(crate) style: ValueStyle,
}

/// A watch that can go no further.
pub(crate) struct WatchEnded {
    pub(crate) compact_revision: i64,
}

pub(crate) struct Revoked {
    pub(crate) id: i64,
    pub(crate) answer: LeaseRevokeResponse,
}

pub(crate) struct TimeToLive {
    pub(crate) answer: LeaseTimeToLiveResponse,
    pub(crate) keys: AttachedKeys,
}

pub(crate) struct MemberAdded {
    /// The name it will be started under; the server learns it only then.
    pub(crate) name: String,
    pub(crate) answer: MemberAddResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberChange {
    Removed,
    Updated,
    Promoted,
}

pub(crate) struct MemberChanged {
    pub(crate) id: u64,
    pub(crate) change: MemberChange,
    pub(crate) header: Option<ResponseHeader>,
    pub(crate) members: Vec<Member>,
}

pub(crate) struct EndpointStatus {
    pub(crate) endpoint: String,
    pub(crate) status: StatusResponse,
}

impl EndpointStatus {
    fn member(&self) -> u64 {
        self.status.header.as_ref().map_or(0, |header| header.member_id)
    }

    fn leads(&self) -> bool {
        self.status.leader != 0 && self.status.leader == self.member()
    }
}

pub(crate) struct EndpointHealth {
    pub(crate) endpoint: String,
    pub(crate) took: String,
    pub(crate) error: Option<String>,
}

pub(crate) struct EndpointHash {
    pub(crate) endpoint: String,
    pub(crate) hash: HashKvResponse,
}

/// A member that has never run has not said its name yet.
fn has_started(member: &Member) -> bool {
    !member.name.is_empty()
}
