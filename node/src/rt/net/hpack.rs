//! As much of HPACK (RFC 7541) as it takes to find one field in a header block and to read its value.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

/// `:authority` in the static table.
const AUTHORITY: usize = 1;

/// Where the value of a literal `:authority` stands in a header block, its length included. `None` if there is no such
/// field, or if the block does not parse.
pub fn find_authority(block: &[u8]) -> Option<Range<usize>> {
    let mut reader = Reader { block, at: 0 };
    while let Some(first) = block.get(reader.at).copied() {
        let name = match first {
            // A field out of a table.
            0x80.. => {
                reader.integer(7)?;
                continue;
            }
            // A new size for the dynamic table.
            0x20..=0x3f => {
                reader.integer(5)?;
                continue;
            }
            // Literals: to be indexed, and not.
            0x40..=0x7f => reader.integer(6)?,
            0x00..=0x1f => reader.integer(4)?,
        };
        if name == 0 {
            reader.string()?;
        }
        let value = reader.string()?;
        if name == AUTHORITY {
            return Some(value);
        }
    }
    None
}

struct Reader<'b> {
    block: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    /// An integer whose first byte has this many bits of it (§5.1).
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let most = (1 << bits) - 1;
        let mut value = usize::from(*self.block.get(self.at)?) & most;
        self.at += 1;
        if value < most {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = *self.block.get(self.at)?;
            self.at += 1;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        // Longer than any header block.
        None
    }

    /// A string with its length in front (§5.2).
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let length = self.integer(7)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.block.len())?;
        self.at = end;
        Some(start..end)
    }
}

/// Reads a string with its length in front. `None` if it holds what no authority can.
pub fn decode_string(string: &[u8]) -> Option<Vec<u8>> {
    let is_huffman = string.first()? & 0x80 != 0;
    let mut reader = Reader { block: string, at: 0 };
    reader.integer(7)?;
    let bytes = &string[reader.at..];
    if is_huffman { decode_huffman(bytes) } else { Some(bytes.to_vec()) }
}

/// Writes a string as it is, with its length in front.
pub fn put_plain_string(text: &[u8], out: &mut BytesMut) {
    const MOST: usize = 0x7f;
    let length = text.len();
    match u8::try_from(length) {
        Ok(length) if usize::from(length) < MOST => out.put_u8(length),
        _ => {
            out.put_u8(0x7f);
            let mut rest = length - MOST;
            while rest >= 0x80 {
                out.put_u8((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            out.put_u8(rest as u8);
        }
    }
    out.put_slice(text);
}

/// Huffman's code of RFC 7541, Appendix B: the symbols by the length of their codes in bits. The code is canonical, so
/// the lengths are all there is to it. Symbols with longer codes are in no authority.
const SYMBOLS: [(u32, &[u8]); 8] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
];

/// For each length there is: the first code, and the symbols in their order.
fn codes() -> impl Iterator<Item = (u32, u32, &'static [u8])> {
    let (mut next, mut last_length) = (0, 0);
    SYMBOLS.iter().map(move |(length, symbols)| {
        let first = next << (length - last_length);
        next = first + symbols.len() as u32;
        last_length = *length;
        (*length, first, *symbols)
    })
}

fn decode_huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0_u32);
    for bit in bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift & 1))) {
        code = code << 1 | bit;
        length += 1;
        if length > 13 {
            return None;
        }
        let symbol = codes().find(|(bits, ..)| *bits == length).and_then(|(_, first, symbols)| {
            let nth = usize::try_from(code.checked_sub(first)?).ok()?;
            symbols.get(nth)
        });
        if let Some(symbol) = symbol {
            text.push(*symbol);
            (code, length) = (0, 0);
        }
    }
    // What is left is padding: less than a byte, all ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A string in Huffman's code, with its length in front.
    pub fn encode_huffman(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in text {
            let (length, code) = codes()
                .find_map(|(length, first, symbols)| {
                    let nth = symbols.iter().position(|symbol| symbol == byte)?;
                    Some((length as usize, first + nth as u32))
                })
                .unwrap();
            bits.push_str(&format!("{code:0length$b}"));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes: Vec<u8> = bits
            .as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect();
        let mut string = vec![0x80 | u8::try_from(bytes.len()).unwrap()];
        string.extend(bytes);
        string
    }

    /// RFC 7541, C.4.1 and C.6.1.
    #[test]
    fn the_rfcs_own_examples_are_read() {
        let www = [0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode_string(&www).unwrap(), b"www.example.com");
        assert_eq!(encode_huffman(b"www.example.com"), www);
        let date = [
            0x96, 0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0,
            0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(decode_string(&date).unwrap(), b"Mon, 21 Oct 2013 20:13:21 GMT");
    }

    #[test]
    fn codes_are_where_the_rfc_has_them() {
        let first: Vec<u32> = codes().map(|(_, first, _)| first).collect();
        assert_eq!(first, [0x0, 0x14, 0x5c, 0xf8, 0x3f8, 0x7fa, 0xffa, 0x1ff8]);
    }

    #[test]
    fn a_request_is_walked_to_its_authority() {
        // RFC 7541, C.4.1: method, scheme, path, authority.
        let block =
            [0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(find_authority(&block), Some(4..17));
        // C.4.2: from the dynamic table now.
        let block = [0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        assert_eq!(find_authority(&block), None);
    }

    #[test]
    fn what_is_cut_short_is_not_walked_past() {
        let block = b"\x40\x02te\x08trailers\x41\x03a:1";
        assert_eq!(find_authority(block), Some(14..18));
        for length in 0..block.len() {
            assert_eq!(find_authority(&block[..length]), None, "{length}");
        }
    }

    #[test]
    fn long_strings_have_long_lengths() {
        for length in [0, 1, 126, 127, 128, 300, 20_000] {
            let mut out = BytesMut::new();
            put_plain_string(&vec![b'a'; length], &mut out);
            assert_eq!(decode_string(&out).unwrap().len(), length);
        }
    }
}
