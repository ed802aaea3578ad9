//! The keyed hash that decides where a digest goes.

use crate::digest::Digest;

/// SipHash-1-3 of the whole digest (Aumasson and Bernstein, 2012; one compression and three finalisation rounds, as in
/// the standard library's hash maps).
pub(crate) fn keyed_hash(key: u64, digest: &Digest) -> u64 {
    // Any second half does: the secret of 64 bits is all that the argument needs.
    let key = [key, key.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15];
    siphash(key, digest.as_bytes())
}

fn siphash(key: [u64; 2], bytes: &[u8; 32]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, _) = bytes.as_chunks::<8>();
    let length = (bytes.len() as u64) << 56;
    for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain([length]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use super::*;

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The standard library's default hasher is SipHash-1-3 with a key of zero, and takes the bytes as they are.
        let bytes = std::array::from_fn(|at| at as u8);
        let mut theirs = std::hash::DefaultHasher::new();
        theirs.write(&bytes);
        assert_eq!(siphash([0, 0], &bytes), theirs.finish());
    }
}
