//! What the keys of objects and the names of local files mean.

use std::path::Component;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::dir::{EntryName, Shard};
use coldkeep_datastore::fuzzing::{mirrored_file, usage};

/// A name that means something has one spelling, and no key leads out of a folder.
pub fn check(input: &[u8]) {
    let of_input = usage(input);
    assert!(of_input.avail > 0 && of_input.total >= of_input.used);
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some(name) = EntryName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(shard) = Shard::parse(text) {
        assert_eq!(shard.to_string(), text);
    }
    let Ok(key) = ObjectKey::new(text) else { return };
    if let Some(entry) = key.entry() {
        assert_eq!(format!(".chunks/{}/{entry}", entry.shard()), text);
        assert_eq!(mirrored_file(&key), None, "a chunk is no file of a snapshot");
    }
    if let Some((path, again)) = mirrored_file(&key) {
        assert_eq!(again, key);
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert!(path.components().count() >= 3);
    }
}
