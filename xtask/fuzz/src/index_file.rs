//! Index files, as they are streamed from a disk.

use std::ops::ControlFlow;

use coldkeep_datastore::index::{ChunkSpan, DynamicIndex, FixedIndex, IndexKind, IndexReader};

use crate::folder::Folder;

/// Streaming a file gives what parsing the whole of it gives, and refuses what that refuses.
pub fn check(input: &[u8]) {
    let folder = Folder::of_process();
    let path = folder.write("index", input);

    let fixed = FixedIndex::parse(input).ok();
    let fixed = fixed.map(|index| (index.spans().collect(), index.compute_csum(), index.header().size));
    compare(IndexReader::open(&path, IndexKind::Fixed).ok(), fixed);
    let dynamic = DynamicIndex::parse(input).ok();
    let dynamic = dynamic.map(|index| (index.spans().to_vec(), index.compute_csum(), index.size()));
    compare(IndexReader::open(&path, IndexKind::Dynamic).ok(), dynamic);
}

type Parsed = (Vec<ChunkSpan>, coldkeep_chunk_store::Digest, u64);

fn compare(reader: Option<IndexReader>, parsed: Option<Parsed>) {
    let Some(reader) = reader else {
        assert!(parsed.is_none(), "a good index was refused");
        return;
    };
    let spans: Result<Vec<_>, _> = reader.spans().collect();
    let (Ok(spans), Some((expected, csum, size))) = (spans, &parsed) else {
        assert!(parsed.is_none(), "the entries of a good index were refused");
        assert!(reader.spans().any(|span| span.is_err()), "a bad index was taken");
        return;
    };
    assert_eq!(&spans, expected);
    assert_eq!((reader.size(), reader.chunk_count()), (*size, spans.len() as u64));
    assert_eq!(reader.compute_csum().expect("the file is whole"), *csum);
    let mut digests = Vec::new();
    let mut note = |block: &[_]| {
        digests.extend_from_slice(block);
        ControlFlow::Continue(())
    };
    reader.for_each_block(&mut note).expect("the file is whole");
    assert!(digests.iter().eq(spans.iter().map(|span| &span.digest)));
}
