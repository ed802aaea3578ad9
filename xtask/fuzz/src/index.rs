//! Fixed and dynamic indexes.

use coldkeep_datastore::index::{DynamicIndex, FixedIndex};

/// A fixed index that parses keeps its meaning through writing and parsing.
pub fn fixed(input: &[u8]) {
    let Ok(index) = FixedIndex::parse(input) else { return };
    let again = FixedIndex::parse(&index.to_bytes()).expect("what was written parses");
    assert_eq!(again, index);
    let mut end = 0;
    for span in index.spans() {
        assert_eq!(span.start, end);
        assert!(span.end > span.start);
        end = span.end;
    }
    assert_eq!(end, index.header().size);
    index.compute_csum();
}

/// As [`fixed`], for a dynamic index.
pub fn dynamic(input: &[u8]) {
    let Ok(index) = DynamicIndex::parse(input) else { return };
    let again = DynamicIndex::parse(&index.to_bytes()).expect("what was written parses");
    assert_eq!(again, index);
    let mut end = 0;
    for span in index.spans() {
        assert_eq!(span.start, end);
        assert!(span.end > span.start);
        end = span.end;
    }
    assert_eq!(end, index.size());
    index.compute_csum();
}
