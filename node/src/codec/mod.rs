//! Bytes that outlive a process: how keys keep their order inside longer keys, and how a small record proves that it
//! is whole.
//!
//! - [`key_order`]: a key as the prefix of a row, so that byte order stays key order and no key's rows run into those
//!   of a longer one.
//! - [`record`]: magic, version, length, payload, checksum. A bad record is told from a newer one.
//!
//! Plain integers need nothing from here: `bytes::{Buf, BufMut}` reads and writes them.

pub mod key_order;
pub mod record;
