use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::{CheckError, CheckedChunk};

fn vector(name: &str) -> Bytes {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/blob/");
    std::fs::read(format!("{path}{name}")).unwrap().into()
}

/// Key and IV of the spec's vectors (`vectors/README.md`).
fn key() -> CryptKey {
    CryptKey::new(std::array::from_fn(|i| i as u8))
}

fn iv() -> [u8; IV_BYTES] {
    std::array::from_fn(|i| 0x10 + i as u8)
}

#[test]
fn plain_vectors_decode_and_encode_byte_for_byte() {
    for (name, data) in [("abc.uncompressed.blob", &b"abc"[..]), ("empty.uncompressed.blob", b"")] {
        let blob = Blob::parse(vector(name)).unwrap();
        assert_eq!(blob.kind(), BlobKind::Plain);
        assert_eq!(blob.decode(3).unwrap(), data);
        assert_eq!(Blob::encode(data, Compression::None).unwrap(), blob);
    }
}

#[test]
fn compressed_vector_decodes() {
    let blob = Blob::parse(vector("a1000.zstd.blob")).unwrap();
    assert_eq!(blob.kind(), BlobKind::Zstd);
    assert_eq!(blob.decode(1000).unwrap(), vec![b'A'; 1000]);
    let again = Blob::encode(&[b'A'; 1000], Compression::Zstd).unwrap();
    assert_eq!(again.kind(), BlobKind::Zstd);
    assert_eq!(again.decode(1000).unwrap(), vec![b'A'; 1000]);
}

#[test]
fn encrypted_vectors_decode_and_the_plain_one_encodes_byte_for_byte() {
    let blob = Blob::parse(vector("abc.encrypted.blob")).unwrap();
    assert_eq!((blob.kind(), blob.class()), (BlobKind::Encrypted, ChunkClass::Encrypted));
    assert_eq!(blob.decode_with(&key(), 3).unwrap(), &b"abc"[..]);
    assert_eq!(Blob::encode_with(b"abc", Compression::None, &key(), iv()).unwrap(), blob);
    let blob = Blob::parse(vector("a1000.encrypted-zstd.blob")).unwrap();
    assert_eq!(blob.kind(), BlobKind::EncryptedZstd);
    assert_eq!(blob.decode_with(&key(), 1000).unwrap(), vec![b'A'; 1000]);
}

#[test]
fn key_values_are_the_published_ones() {
    let digest = |text: &str| text.replace(':', "").parse::<Digest>().unwrap();
    assert_eq!(
        key().fingerprint(),
        digest(
            "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"
        )
    );
    assert_eq!(
        key().digest(b"abc"),
        digest("ae52f0812a2f1ac3f368d9295cf6419bdff5fe1fe197e48052dd2f7e6d00a6fd")
    );
    let id_key = digest("7c2c013efd07f3b25717a485263343cd4d292a4b65c200bb3b18ea227abe225c");
    assert_eq!(key().id_key(), id_key.as_bytes());
}

#[test]
fn a_wrong_crc_is_an_error_and_can_be_put_right() {
    let blob = Blob::parse(vector("abc.badcrc.blob")).unwrap();
    assert!(matches!(blob.check_crc(), Err(BlobError::Crc { expected: 0, got: 0x3524_41c2 })));
    assert!(matches!(blob.decode(3), Err(BlobError::Crc { .. })));
    assert_eq!(blob.with_right_crc().as_bytes(), &vector("abc.uncompressed.blob"));
}

#[test]
fn wrong_key_and_no_key_are_errors() {
    let blob = Blob::parse(vector("abc.encrypted.blob")).unwrap();
    assert!(matches!(blob.decode(3), Err(BlobError::KeyNeeded)));
    assert!(matches!(blob.decode_with(&CryptKey::new([7; 32]), 3), Err(BlobError::Decrypt)));
}

#[test]
fn data_beyond_the_limit_is_refused_for_every_kind() {
    let data = vec![b'A'; 1000];
    for compression in [Compression::None, Compression::Zstd] {
        let plain = Blob::encode(&data, compression).unwrap();
        assert!(matches!(plain.decode(999), Err(BlobError::TooLarge { max: 999 })));
        let encrypted = Blob::encode_with(&data, compression, &key(), iv()).unwrap();
        assert!(matches!(encrypted.decode_with(&key(), 999), Err(BlobError::TooLarge { max: 999 })));
    }
}

#[test]
fn several_frames_decode_as_one() {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend(::zstd::bulk::compress(b"abc", 1).unwrap());
    bytes.extend(::zstd::bulk::compress(b"def", 1).unwrap());
    seal(&mut bytes, BlobKind::Zstd);
    assert_eq!(Blob::parse(bytes.into()).unwrap().decode(6).unwrap(), &b"abcdef"[..]);
}

#[test]
fn a_compressed_blob_without_frames_is_an_error() {
    let mut bytes = vec![0; HEADER_BYTES];
    seal(&mut bytes, BlobKind::Zstd);
    let blob = Blob::parse(bytes.into()).unwrap();
    assert!(matches!(blob.decode(6), Err(BlobError::Decompress(_))));
}

#[test]
fn frames_that_the_check_of_uploads_refuses_are_not_decoded_either() {
    // One frame that announces 256 bytes, with a stored block of nine and an empty compressed one, which RFC 8878 rules out.
    let frame = *b"\x28\xb5\x2f\xfd\x60\x00\x00\x48\x00\x00\x01\xa9\xff\xef\xa3\xbe\xff\x00\x00\x05\x00\x00";
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend(frame);
    seal(&mut bytes, BlobKind::Zstd);
    let blob = Blob::parse(bytes.into()).unwrap();
    let data = &frame[10..19];
    let checked = CheckedChunk::check(Digest::of(data), data.len() as u64, blob.as_bytes().clone());
    assert!(matches!(checked, Err(CheckError::Blob { source: BlobError::Decompress(_), .. })));
    assert!(matches!(blob.decode(1 << 20), Err(BlobError::Decompress(_))));
}

#[test]
fn uploads_with_a_window_beyond_the_limit_are_refused() {
    const WINDOW: usize = HEADER_BYTES + 5;
    let data = vec![b'A'; 1 << 20];
    let digest = Digest::of(&data);
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend(::zstd::bulk::compress(&data, 1).unwrap());
    for (window, is_taken) in
        [(bytes[WINDOW], true), (15 << 3, true), ((15 << 3) + 1, false), (u8::MAX, false)]
    {
        let mut bytes = bytes.clone();
        bytes[WINDOW] = window;
        seal(&mut bytes, BlobKind::Zstd);
        let checked = CheckedChunk::check(digest, data.len() as u64, bytes.into());
        assert_eq!(checked.is_ok(), is_taken, "{window}");
    }
}

/// Goal: whatever a decoder does, it finds the content that was checked (R2, hazard H37).
/// Method: a frame whose window is made smaller than the distance of a match in it, so that who decodes it all at once finds other data
/// than who decodes it piece by piece; claimed to be the one and the other, with the length of its data declared and not.
#[test]
fn h37_a_chunk_that_can_be_decoded_in_two_ways_is_refused() {
    const KIB: usize = 1 << 10;
    let mut random = (0_u64..).flat_map(|number| *Digest::of(&number.to_le_bytes()).as_bytes());
    let mut data: Vec<u8> = random.by_ref().take(360 * KIB).collect();
    data.extend_from_within(60 * KIB..92 * KIB);
    data.extend(random.take(400 * KIB));
    for is_declared in [true, false] {
        let mut encoder = ::zstd::stream::Encoder::new(vec![0; HEADER_BYTES], 1).unwrap();
        encoder.window_log(19).unwrap();
        if is_declared {
            encoder.set_pledged_src_size(Some(data.len() as u64)).unwrap();
        }
        std::io::Write::write_all(&mut encoder, &data).unwrap();
        let mut bytes = encoder.finish().unwrap();
        let whole = bytes.clone();
        // The window is 128 KiB now, and the match 300 KiB away.
        assert_eq!(bytes[HEADER_BYTES + 5], (19 - 10) << 3, "one segment has no window");
        bytes[HEADER_BYTES + 5] = (17 - 10) << 3;
        let mut in_pieces = Vec::new();
        let mut decoder = ::zstd::stream::Decoder::new(&bytes[HEADER_BYTES..]).unwrap();
        std::io::Read::read_to_end(&mut decoder, &mut in_pieces).unwrap();
        assert!(in_pieces.len() == data.len() && in_pieces != data, "the test needs two contents");
        let check = |data: &[u8], mut bytes: Vec<u8>| {
            seal(&mut bytes, BlobKind::Zstd);
            CheckedChunk::check(Digest::of(data), data.len() as u64, bytes.into())
        };
        check(&data, whole).unwrap();
        for data in [&data, &in_pieces] {
            let refused = check(data, bytes.clone());
            assert!(refused.is_err(), "{is_declared}");
        }
    }
}

#[test]
fn what_is_encoded_here_decodes_in_one_way_only() {
    let line = |number: usize| format!("line {number} of many, which compress well\n");
    for len in [1 << 10, (4 << 20) + 1, CHUNK_BYTES_MAX] {
        let mut data: Vec<u8> = (0..).flat_map(|number| line(number).into_bytes()).take(len).collect();
        data[len / 2..].reverse();
        let blob = Blob::encode(&data, Compression::Zstd).unwrap();
        assert_eq!(blob.kind(), BlobKind::Zstd);
        assert!(super::zstd::is_one_segment(blob.payload()), "{len} bytes");
        assert_eq!(blob.decode(len).unwrap(), data);
    }
}

#[test]
fn data_that_does_not_shrink_is_stored_plain() {
    let digests: Vec<u8> = (0..64_u8).flat_map(|i| *Digest::of(&[i]).as_bytes()).collect();
    let blob = Blob::encode(&digests, Compression::Zstd).unwrap();
    assert_eq!(blob.kind(), BlobKind::Plain);
    assert_eq!(blob.decode(digests.len()).unwrap(), digests);
}

#[test]
fn incomplete_headers_and_unknown_magics_are_refused() {
    let whole = vector("abc.encrypted.blob");
    for len in 0..HEADER_BYTES_ENCRYPTED {
        assert!(matches!(Blob::parse(whole.slice(..len)), Err(BlobError::TooShort { .. })), "{len}");
    }
    assert!(matches!(Blob::parse(Bytes::from_static(&[0; 44])), Err(BlobError::UnknownMagic)));
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_an_error(
        kind in 0_usize..5,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        fix_crc: bool,
    ) {
        if let (Some(kind), Some(start)) = (BlobKind::ALL.get(kind), bytes.get_mut(..8)) {
            start.copy_from_slice(&kind.magic());
        }
        if let Ok(mut blob) = Blob::parse(bytes.into()) {
            if fix_crc {
                blob = blob.with_right_crc();
            }
            if let Ok(data) = blob.decode_with(&key(), 1 << 16) {
                prop_assert!(data.len() <= 1 << 16);
            }
        }
    }

    #[test]
    fn what_was_encoded_decodes(data in proptest::collection::vec(any::<u8>(), 0..5000), repeat in 1_usize..5) {
        let data = data.repeat(repeat);
        for compression in [Compression::None, Compression::Zstd] {
            let blob = Blob::encode(&data, compression).unwrap();
            prop_assert_eq!(Blob::parse(blob.as_bytes().clone()).unwrap().decode(data.len()).unwrap(), data.clone());
            let blob = Blob::encode_with(&data, compression, &key(), iv()).unwrap();
            prop_assert_eq!(blob.decode_with(&key(), data.len()).unwrap(), data.clone());
        }
    }
}
