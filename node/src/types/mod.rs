//! The words that every layer speaks: identifiers, key ranges, log positions, limits, the value checksum.
//!
//! Nothing here does anything. A newtype exists wherever two numbers could be swapped by mistake: a [`Revision`] is
//! not a log index, a [`LeaseId`] is not a [`MemberId`].

mod checksum;
mod ids;
mod limits;
mod moment;
mod naming;
pub mod queue;
mod range;
mod tls;

pub use checksum::value_checksum;
pub use ids::{ClusterId, LeaseId, LogId, MemberId, Revision, Vote};
pub use limits::Limits;
pub use moment::Rfc3339;
pub use naming::{cluster_id_of, member_id_of};
pub use range::{KeyRange, RangeEnd};
pub use tls::{AllowedNames, ClientCertificates, KeyPairFiles, OwnCertificate, PortTls, TlsSettings, TlsVersion};
