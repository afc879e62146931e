//! The checksum that travels with a value from the request that wrote it to every read of it.

/// crc32 (IEEE, as in zlib) over the key's length as a little-endian `u32`, the key, and the value.
///
/// The length keeps `("ab", "c")` apart from `("a", "bc")`. The key is covered so that a good value under the wrong
/// key is caught too.
pub fn value_checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::value_checksum;

    #[test]
    fn the_boundary_between_key_and_value_counts() {
        assert_ne!(value_checksum(b"ab", b"c"), value_checksum(b"a", b"bc"));
    }
}
