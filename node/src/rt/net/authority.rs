//! Putting right what some clients write into `:authority`, before the HTTP/2 library sees it.
//!
//! etcd's own client of the 3.4 line, `etcdctl` included, names the server by its whole URL there
//! (`http://127.0.0.1:2379`) when it talks to one member. Go's servers take that; ours resets the stream, as RFC 9113
//! wants. Nobody reads the authority here, so it is put right on the way in: frame by frame, field by field, as far as
//! the first request of a connection shows that there is something to do at all.
//!
//! ```text
//!   bytes in --> Preface --> Frames ----- first HEADERS has a good authority -----> Through: copied from here on
//!                              |
//!                              `--- HEADERS with a bad one: rewritten; the next HEADERS are looked at too
//! ```
//!
//! The new value is never longer than the old one. So the decoder's table holds at least what the client thinks it
//! holds (an entry counts with its length, RFC 7541 §4.1), and the client's indices keep their meaning.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::hpack;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// The kind of a frame that opens a request, and two of its flags.
const HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;
/// The largest frame a server takes that did not ask for larger ones.
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// What stands in for an authority that means nothing.
const ANY: &[u8] = b"x";

/// What a client sends, on its way to the HTTP/2 library.
#[derive(Debug, Default)]
pub struct Inbound {
    phase: Phase,
    /// Taken in, not complete enough to be passed on.
    held: BytesMut,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Preface,
    Frames,
    /// The rest of a frame that is not looked at, in bytes.
    Body(usize),
    Through,
}

impl Inbound {
    /// Nothing needs to be looked at any more, and nothing is held.
    pub fn is_through(&self) -> bool {
        self.phase == Phase::Through && self.held.is_empty()
    }

    /// Takes bytes in, and adds those that can be passed on to `out`.
    pub fn pass(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.held.extend_from_slice(bytes);
        while self.step(out) {}
    }

    /// False when there is nothing to do until more has arrived.
    fn step(&mut self, out: &mut BytesMut) -> bool {
        match self.phase {
            Phase::Through => {
                out.put(self.held.split());
                false
            }
            Phase::Preface => {
                let known = self.held.len().min(PREFACE.len());
                if self.held[..known] != PREFACE[..known] {
                    // HTTP/1, which has no frames.
                    self.phase = Phase::Through;
                    return true;
                }
                if known < PREFACE.len() {
                    return false;
                }
                out.put(self.held.split_to(known));
                self.phase = Phase::Frames;
                true
            }
            Phase::Body(left) => {
                let here = left.min(self.held.len());
                out.put(self.held.split_to(here));
                self.phase = if here == left { Phase::Frames } else { Phase::Body(left - here) };
                here == left
            }
            Phase::Frames => self.frame(out),
        }
    }

    fn frame(&mut self, out: &mut BytesMut) -> bool {
        let Some(head) = self.held.first_chunk::<FRAME_HEAD_BYTES>() else { return false };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        if kind != HEADERS || length > FRAME_BYTES_MAX {
            self.phase = Phase::Body(FRAME_HEAD_BYTES + length);
            return true;
        }
        if self.held.len() < FRAME_HEAD_BYTES + length {
            return false;
        }
        let mut frame = self.held.split_to(FRAME_HEAD_BYTES + length);
        let payload = frame.split_off(FRAME_HEAD_BYTES).freeze();
        match put_right(&payload, flags) {
            Some(payload) => {
                let length = u32::try_from(payload.len()).expect("not longer than the frame was");
                frame[..3].copy_from_slice(&length.to_be_bytes()[1..]);
                out.put(frame);
                out.put(payload);
            }
            None => {
                out.put(frame);
                out.put(payload);
                self.phase = Phase::Through;
            }
        }
        true
    }
}

/// The payload of a HEADERS frame with a good authority in place of a bad one. `None` if there is none, or if the
/// payload does not parse: then it is the HTTP/2 library's to judge.
fn put_right(payload: &Bytes, flags: u8) -> Option<Bytes> {
    let before = usize::from(flags & FLAG_PADDED != 0) + if flags & FLAG_PRIORITY != 0 { 5 } else { 0 };
    let value = hpack::find_authority(payload.get(before..)?)?;
    let value = before + value.start..before + value.end;
    let given = hpack::decode_string(&payload[value.clone()]);
    let better = match given.as_deref() {
        Some(given) if is_authority(given) => return None,
        Some(given) => authority_in(given).unwrap_or(ANY),
        None => ANY,
    };
    let mut rewritten = BytesMut::with_capacity(payload.len() + 8);
    rewritten.put_slice(&payload[..value.start]);
    hpack::put_plain_string(better, &mut rewritten);
    rewritten.put_slice(&payload[value.end..]);
    // Plain letters may take more room than Huffman's: a frame of full length has none.
    (rewritten.len() <= FRAME_BYTES_MAX).then(|| rewritten.freeze())
}

fn is_authority(value: &[u8]) -> bool {
    http::uri::Authority::try_from(value).is_ok()
}

/// The host and port inside a URL.
fn authority_in(url: &[u8]) -> Option<&[u8]> {
    let mut rest = url;
    let scheme = url.windows(3).position(|three| three == b"://")?;
    rest.advance(scheme + 3);
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    Some(&rest[..end]).filter(|authority| is_authority(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A HEADERS frame: `:method: POST`, `:scheme: http`, `:path: /`, `:authority`, and a header behind it.
    fn headers(authority: &[u8]) -> Vec<u8> {
        let mut block = BytesMut::from(&[0x83, 0x86, 0x84, 0x41][..]);
        block.put_slice(authority);
        // te: trailers, as a literal with indexing under a new name.
        block.put_slice(b"\x40\x02te\x08trailers");
        let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), HEADERS, 0x4, 0, 0, 0, 1];
        frame.extend_from_slice(&block);
        frame
    }

    fn plain(text: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        hpack::put_plain_string(text, &mut out);
        out.to_vec()
    }

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// A DATA frame of three bytes, which look like the start of another frame.
    const DATA: [u8; 12] = [0, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 9];

    fn connection(frames: &[&[u8]]) -> Vec<u8> {
        [&[PREFACE, &SETTINGS[..]], frames].concat().concat()
    }

    /// What comes out, fed in pieces of every size up to the whole.
    fn passed(bytes: &[u8]) -> Vec<u8> {
        let mut results = (1..=bytes.len()).map(|piece| {
            let (mut inbound, mut out) = (Inbound::default(), BytesMut::new());
            bytes.chunks(piece).for_each(|chunk| inbound.pass(chunk, &mut out));
            out.to_vec()
        });
        let first = results.next().unwrap();
        assert!(results.all(|result| result == first), "the result depends on how the bytes arrive");
        first
    }

    #[test]
    fn a_url_becomes_its_host_and_port() {
        let given = connection(&[&headers(&plain(b"http://127.0.0.1:2379")), &DATA]);
        let expected = connection(&[&headers(&plain(b"127.0.0.1:2379")), &DATA]);
        assert_eq!(passed(&given), expected);
    }

    #[test]
    fn a_url_in_huffmans_code_does_too() {
        // As Go's client sends it.
        let huffman = hpack::tests::encode_huffman(b"http://127.0.0.1:2379");
        let expected = connection(&[&headers(&plain(b"127.0.0.1:2379"))]);
        assert_eq!(passed(&connection(&[&headers(&huffman)])), expected);
    }

    #[test]
    fn what_is_no_url_either_becomes_something_that_parses() {
        let given = connection(&[&headers(&plain(b"#initially=[http://127.0.0.1:2379]"))]);
        let found = passed(&given);
        assert!(found == connection(&[&headers(&plain(b"x"))]), "{}", found.escape_ascii());
    }

    #[test]
    fn later_requests_of_such_a_connection_are_put_right_too() {
        let bad = headers(&plain(b"http://a:1"));
        let good = headers(&plain(b"a:1"));
        assert_eq!(passed(&connection(&[&bad, &DATA, &bad])), connection(&[&good, &DATA, &good]));
    }

    #[test]
    fn a_good_connection_is_not_looked_at_for_long() {
        let bytes = connection(&[&headers(&plain(b"127.0.0.1:2379")), &DATA]);
        assert_eq!(passed(&bytes), bytes);
        let (mut inbound, mut out) = (Inbound::default(), BytesMut::new());
        inbound.pass(&bytes, &mut out);
        assert!(inbound.is_through());
    }

    #[test]
    fn http_1_passes_as_it_is() {
        let bytes = b"GET /health HTTP/1.1\r\nHost: http://a:1\r\n\r\n";
        assert_eq!(passed(bytes), bytes);
    }

    #[test]
    fn what_does_not_parse_is_left_to_the_library() {
        let mut broken = headers(&plain(b"http://a:1"));
        // The authority's length now points behind the end.
        broken[FRAME_HEAD_BYTES + 4] = 0x7e;
        let bytes = connection(&[&broken]);
        assert_eq!(passed(&bytes), bytes);
    }
}
