use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use coldkeep_chunk_store::Digest;
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;

const FIXED: &[u8] = include_bytes!("../../../docs/vectors/index/two-chunks.fidx");
const DYNAMIC: &[u8] = include_bytes!("../../../docs/vectors/index/two-chunks.didx");
const ORIGIN: IndexOrigin = IndexOrigin {
    uuid: [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff],
    created_at: 1_700_000_000,
};

fn zeros() -> Digest {
    "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8".parse().unwrap()
}

fn read_back(path: &Path, kind: IndexKind) -> (IndexReader, Vec<ChunkSpan>) {
    let reader = IndexReader::open(path, kind).unwrap();
    let spans = reader.spans().collect::<Result<_, _>>().unwrap();
    (reader, spans)
}

#[test]
fn the_fixed_vector_decodes_and_encodes_byte_for_byte() {
    let index = FixedIndex::parse(FIXED).unwrap();
    assert_eq!(index.size(), 4_194_307);
    assert_eq!(index.digests(), [zeros(), Digest::of(b"abc")]);
    assert_eq!(index.compute_csum(), index.header().csum);
    assert_eq!(index.spans().map(|span| span.plain_len()).collect::<Vec<_>>(), [4 << 20, 3]);
    assert_eq!(index.to_bytes(), FIXED);
}

#[test]
fn the_dynamic_vector_decodes_and_encodes_byte_for_byte() {
    let index = DynamicIndex::parse(DYNAMIC).unwrap();
    assert_eq!(index.size(), 8);
    assert_eq!(index.spans()[1], ChunkSpan { digest: Digest::of(b"hello"), start: 3, end: 8 });
    assert_eq!(index.compute_csum(), index.header().csum);
    assert_eq!(index.to_bytes(), DYNAMIC);
}

#[test]
fn the_writers_write_the_vectors_byte_for_byte() {
    let folder = tempdir().unwrap();
    let target = folder.path().join("two-chunks.fidx");
    let mut writer = FixedIndexWriter::create(&target, Some(4_194_307), ORIGIN).unwrap();
    writer.put(Digest::of(b"abc"), 4 << 20, 3).unwrap();
    writer.put(zeros(), 0, 4 << 20).unwrap();
    let summary = writer.summary().unwrap();
    assert!(!target.exists() && folder.path().join("two-chunks.tmp_fidx").exists());
    writer.commit(&summary).unwrap();
    assert_eq!(fs::read(&target).unwrap(), FIXED);

    let target = folder.path().join("two-chunks.didx");
    let mut writer = DynamicIndexWriter::create(&target, ORIGIN).unwrap();
    writer.append(&[(Digest::of(b"abc"), 3)]).unwrap();
    writer.append(&[(Digest::of(b"hello"), 5)]).unwrap();
    assert_eq!((writer.end(), writer.chunk_count()), (8, 2));
    writer.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), DYNAMIC);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn readers_stream_what_the_writers_wrote_over_several_blocks() {
    let folder = tempdir().unwrap();
    let target = folder.path().join("long.didx");
    let chunks: Vec<(Digest, u64)> =
        (0..60_000_u32).map(|n| (Digest::of(&n.to_le_bytes()), u64::from(n % 7 + 1))).collect();
    let mut writer = DynamicIndexWriter::create(&target, ORIGIN).unwrap();
    chunks.chunks(128).for_each(|batch| writer.append(batch).unwrap());
    let summary = writer.commit().unwrap();
    let (reader, spans) = read_back(&target, IndexKind::Dynamic);
    assert_eq!(spans.iter().map(|span| (span.digest, span.plain_len())).collect::<Vec<_>>(), chunks);
    assert_eq!((reader.size(), reader.chunk_count()), (summary.size, 60_000));
    assert_eq!(reader.compute_csum().unwrap(), summary.csum);
    let mut digests = Vec::new();
    let mut collect = |block: &[Digest]| {
        digests.extend_from_slice(block);
        ControlFlow::Continue(())
    };
    reader.for_each_block(&mut collect).unwrap();
    assert!(digests.iter().eq(chunks.iter().map(|(digest, _)| digest)));
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let folder = tempdir().unwrap();
    let mut writer = DynamicIndexWriter::create(&folder.path().join("a.didx"), ORIGIN).unwrap();
    writer.append(&[(zeros(), 1)]).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_fixed_index_refuses_misplaced_chunks() {
    const CHUNK: u64 = FIXED_CHUNK_BYTES;
    let folder = tempdir().unwrap();
    let mut writer =
        FixedIndexWriter::create(&folder.path().join("a.fidx"), Some(2 * CHUNK + 5), ORIGIN).unwrap();
    for (offset, plain_len) in [
        (1, CHUNK),
        (0, 5),
        (0, 0),
        (0, CHUNK + 1),
        (2 * CHUNK, CHUNK),
        (3 * CHUNK, CHUNK),
        (u64::MAX - CHUNK + 1, CHUNK),
    ] {
        let refused = writer.put(zeros(), offset, plain_len);
        assert!(matches!(refused, Err(IndexError::Offset { .. })), "{offset} {plain_len}: {refused:?}");
    }
    writer.put(zeros(), 2 * CHUNK, 5).unwrap();
    writer.put(zeros(), CHUNK, CHUNK).unwrap();
    assert!(matches!(writer.summary(), Err(IndexError::Hole { entry: 0 })));
    writer.put(zeros(), 0, CHUNK).unwrap();
    assert_eq!(writer.summary().unwrap().chunk_count, 3);
}

#[test]
fn a_fixed_index_without_size_ends_with_its_short_chunk() {
    const CHUNK: u64 = FIXED_CHUNK_BYTES;
    let folder = tempdir().unwrap();
    let mut writer = FixedIndexWriter::create(&folder.path().join("a.fidx"), None, ORIGIN).unwrap();
    assert!(matches!(writer.summary(), Err(IndexError::ContentSize { size: 0 })));
    writer.put(zeros(), 0, CHUNK).unwrap();
    assert_eq!(writer.summary().unwrap().size, CHUNK);
    writer.put(zeros(), CHUNK, 9).unwrap();
    assert!(writer.put(zeros(), 2 * CHUNK, CHUNK).is_err());
    assert!(writer.put(zeros(), 0, 9).is_err());
    assert_eq!(writer.summary().unwrap().size, CHUNK + 9);
}

#[test]
fn a_reused_index_is_copied_and_can_be_overwritten() {
    let folder = tempdir().unwrap();
    let source = folder.path().join("old.fidx");
    fs::write(&source, FIXED).unwrap();
    let previous = IndexReader::open(&source, IndexKind::Fixed).unwrap();
    let target = folder.path().join("new.fidx");
    let mut writer = FixedIndexWriter::create(&target, Some(4_194_307), ORIGIN).unwrap();
    writer.prefill(&previous).unwrap();
    writer.put(Digest::of(b"xyz"), 4 << 20, 3).unwrap();
    let summary = writer.summary().unwrap();
    writer.commit(&summary).unwrap();
    let (_, spans) = read_back(&target, IndexKind::Fixed);
    assert_eq!(spans.iter().map(|span| span.digest).collect::<Vec<_>>(), [zeros(), Digest::of(b"xyz")]);

    let mut other = FixedIndexWriter::create(&target, Some(4_194_308), ORIGIN).unwrap();
    assert!(matches!(other.prefill(&previous), Err(IndexError::Reuse { .. })));
}

#[test]
fn absurd_sizes_are_refused_before_a_file_is_made() {
    let folder = tempdir().unwrap();
    for size in [0, CONTENT_BYTES_MAX + 1, u64::MAX] {
        let refused = FixedIndexWriter::create(&folder.path().join("a.fidx"), Some(size), ORIGIN);
        assert!(matches!(refused, Err(IndexError::ContentSize { .. })), "{size}");
    }
    let mut writer = DynamicIndexWriter::create(&folder.path().join("a.didx"), ORIGIN).unwrap();
    for plain_len in [0, (16 << 20) + 1, u64::MAX] {
        assert!(
            matches!(writer.append(&[(zeros(), plain_len)]), Err(IndexError::Offset { .. })),
            "{plain_len}"
        );
    }
}

#[test]
fn damaged_indexes_give_the_error_that_names_the_damage() {
    let change = |bytes: &[u8], at: usize, to: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let fixed = |bytes: &[u8]| FixedIndex::parse(bytes).unwrap_err();
    assert!(matches!(fixed(DYNAMIC), IndexError::Magic { kind: IndexKind::Fixed }));
    assert!(matches!(fixed(&FIXED[..4095]), IndexError::FileLength { bytes: 4095, .. }));
    assert!(matches!(fixed(&FIXED[..FIXED.len() - 1]), IndexError::FileLength { .. }));
    assert!(matches!(fixed(&change(FIXED, 64, &[0; 8])), IndexError::ContentSize { size: 0 }));
    assert!(matches!(fixed(&change(FIXED, 64, &[255; 8])), IndexError::ContentSize { .. }));
    assert!(matches!(fixed(&change(FIXED, 72, &[0; 8])), IndexError::ChunkSize { chunk_size: 0 }));
    assert!(matches!(fixed(&change(FIXED, 72, &[3, 0, 0])), IndexError::ChunkSize { .. }));
    let dynamic = |bytes: &[u8]| DynamicIndex::parse(bytes).unwrap_err();
    assert!(matches!(dynamic(FIXED), IndexError::Magic { kind: IndexKind::Dynamic }));
    assert!(matches!(dynamic(&DYNAMIC[..4137]), IndexError::FileLength { .. }));
    assert!(matches!(
        dynamic(&change(DYNAMIC, 4136, &[3])),
        IndexError::Offset { entry: 1, start: 3, end: 3 }
    ));
    assert!(matches!(dynamic(&change(DYNAMIC, 4096, &[0; 8])), IndexError::Offset { entry: 0, .. }));
    assert!(dynamic(FIXED).is_malformed());
}

#[test]
fn a_file_cut_while_open_is_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.didx");
    fs::write(&path, DYNAMIC).unwrap();
    let reader = IndexReader::open(&path, IndexKind::Dynamic).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(4100).unwrap();
    let outcomes: Vec<_> = reader.spans().collect();
    assert!(matches!(outcomes.as_slice(), [Err(IndexError::File(_))]));
    assert!(reader.for_each_block(&mut |_| ControlFlow::Continue(())).is_err());
    assert!(IndexReader::open(&folder.path().join("b.didx"), IndexKind::Dynamic).unwrap_err().is_not_found());
}

proptest! {
    #[test]
    fn any_bytes_give_an_index_or_an_error(tail in prop::collection::vec(any::<u8>(), 0..200), at in 0..4096_usize) {
        for vector in [FIXED, DYNAMIC] {
            let mut bytes = vector[..4096].to_vec();
            bytes.extend(&tail);
            bytes[at] ^= tail.first().copied().unwrap_or(1);
            if let Ok(index) = FixedIndex::parse(&bytes) {
                prop_assert_eq!(index.spans().last().map(|span| span.end), Some(index.size()));
            }
            if let Ok(index) = DynamicIndex::parse(&bytes) {
                prop_assert!(index.spans().iter().all(|span| span.start < span.end));
            }
        }
        let _ = (FixedIndex::parse(&tail), DynamicIndex::parse(&tail));
    }

    #[test]
    fn what_was_split_joins_again(lengths in prop::collection::vec(1..=16_u64 << 20, 1..40)) {
        let folder = tempdir().unwrap();
        let target = folder.path().join("a.didx");
        let mut writer = DynamicIndexWriter::create(&target, ORIGIN).unwrap();
        let chunks: Vec<_> = lengths.iter().map(|length| (Digest::of(&length.to_le_bytes()), *length)).collect();
        writer.append(&chunks).unwrap();
        let summary = writer.commit().unwrap();
        let bytes = fs::read(&target).unwrap();
        let index = DynamicIndex::parse(&bytes).unwrap();
        prop_assert_eq!(index.size(), lengths.iter().sum::<u64>());
        prop_assert_eq!(index.compute_csum(), summary.csum);
        prop_assert!(index.spans().iter().map(|span| (span.digest, span.plain_len())).eq(chunks));
        prop_assert_eq!(index.to_bytes(), bytes);
    }
}
