//! What the collector reads: every index, every digest (I6).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::{ObjectInfo, ObjectKey};
use coldkeep_chunk_store::bucket::BucketStore;
use coldkeep_chunk_store::switch::is_off;

use super::{Datastore, Tree, run_blocking};
use crate::file::{Found, look};
use crate::index::{IndexError, IndexKind, IndexReader};
use crate::mirror::{ContentKey, Place};
use crate::refresh::{
    Fetched, LISTINGS, RefreshError, Sought, Source, fetch_all, find_local, forget_others, name_of,
};
use crate::tree::{self, IndexFile, IndexPlace, Layout, TreeError};

/// How the reading of an index ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexRead {
    /// All of it was read, or as much as the reader wanted.
    Read {
        /// Number of its entries.
        references: u64,
        /// Size of the archive that it describes.
        data_bytes: u64,
    },
    /// It is gone, and so is its snapshot, or the manifest that would make it one.
    Gone,
}

/// References that cannot be found out: the collection must stop (I6).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// An index cannot be read or is malformed.
    #[error(
        "index {} cannot be read, so nothing may be collected; repair the disk, or forget its snapshot",
        path.display()
    )]
    Index {
        /// The index.
        path: std::path::PathBuf,
        /// What is wrong with it.
        #[source]
        source: IndexError,
    },
    /// An index vanished, or cannot be told for certain, while its snapshot is still there.
    #[error(
        "index {} vanished from a snapshot that is still there, so nothing may be collected; forget the snapshot",
        path.display()
    )]
    Vanished {
        /// The index.
        path: std::path::PathBuf,
    },
    /// The bucket has an index that its listing does not name.
    #[error(
        "the bucket has index {key}, and its listing does not name it, so nothing may be collected; collect again, and if it \
         stays so, the server's listings cannot be trusted"
    )]
    Unlisted {
        /// The index.
        key: ObjectKey,
    },
    /// An index cannot be fetched from the bucket.
    #[error("an index cannot be fetched from the bucket, so nothing may be collected")]
    Fetch(#[from] RefreshError),
    /// A folder or the bucket cannot be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Datastore {
    /// Lists every index file: those of all snapshots, finished or not, and any other outside hidden folders.
    ///
    /// In a bucket it is the bucket's own listing that counts (R10): an index whose local file is not provably the same is
    /// fetched into a folder of its own, where it is kept as long as the object is listed unchanged. The tree is compared with
    /// the listing: what a finished snapshot has and the listing lacks must be gone from the bucket by its own word (I6), and
    /// counts all the same while the snapshot's manifest is there. One collection runs at a time.
    ///
    /// # Errors
    /// [`ReferenceError::Tree`] for any folder that cannot be read and for symbolic links to folders;
    /// [`ReferenceError::Fetch`], [`ReferenceError::Unlisted`], [`ReferenceError::Vanished`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing but what copies there are.
    pub async fn index_files(&self) -> Result<Vec<IndexFile>, ReferenceError> {
        match self.chunks().as_bucket() {
            Some(bucket) => self.index_objects(bucket).await,
            None => Ok(self.blocking(|tree| tree::index_files(&tree.layout)).await?),
        }
    }

    /// Lists the indexes of the bucket, each with a file that has its content.
    async fn index_objects(&self, bucket: &Arc<BucketStore>) -> Result<Vec<IndexFile>, ReferenceError> {
        // Before the listing: whatever is committed from here on need not be in it.
        let mut unlisted = self.blocking(|tree| tree::finished_indexes(&tree.layout)).await?;
        let objects = bucket.list_objects(Layout::CONTENT).await.map_err(TreeError::from)?;
        for object in &objects {
            unlisted.remove(&object.key);
        }
        let unlisted = self.still_referring(bucket, unlisted).await?;
        let (folder, copies) = (self.mark_folder(), self.mark_folder());
        let find = move |tree: &Tree| {
            let found = find_indexes(&tree.layout, objects, &copies);
            let names = found.iter().map(|index| name_of(&index.sought.object)).collect();
            forget_others(&copies, &names)?;
            Ok(found)
        };
        let found = self.blocking(find).await?;
        let sought = found.iter().map(|index| index.sought.clone()).collect();
        let files = find_local(bucket, sought).await?;
        let (mut indexes, mut missing) = sort_indexes(found.into_iter().zip(files));
        let mut listings = 1;
        loop {
            let differing = self.fetch_indexes(bucket, &missing).await?.differing;
            let Some(first) = differing.first() else { break };
            if listings == LISTINGS {
                return Err(RefreshError::Differs { key: missing[*first].1.key.clone() }.into());
            }
            // Only a fresh listing says what became of them (I6).
            let listed = bucket.list_objects(Layout::CONTENT).await.map_err(TreeError::from)?;
            listings += 1;
            let now: BTreeMap<_, _> = listed.into_iter().map(|object| (object.key.clone(), object)).collect();
            missing = differing
                .into_iter()
                .filter_map(|place| now.get(&missing[place].1.key).cloned())
                .map(|object| (PathBuf::from(name_of(&object)), object))
                .collect();
            // Another version of an object has another name.
            let renamed: BTreeMap<_, _> = missing.iter().map(|(name, object)| (&object.key, name)).collect();
            let mut listed = Vec::with_capacity(indexes.len());
            for mut index in indexes {
                let Some(key) = index.key.as_ref().filter(|key| now.contains_key(key)) else {
                    self.check_removed(bucket, &index).await?;
                    continue;
                };
                if let Some(name) = renamed.get(key) {
                    index.path = folder.join(name);
                }
                listed.push(index);
            }
            indexes = listed;
        }
        indexes.extend(unlisted);
        Ok(indexes)
    }

    /// Returns those of the indexes, which the tree has and the listing lacks, whose manifests are in the bucket all the same:
    /// their local files refer to chunks as long as somebody can restore from them here.
    async fn still_referring(
        &self,
        bucket: &BucketStore,
        unlisted: BTreeMap<ObjectKey, IndexFile>,
    ) -> Result<Vec<IndexFile>, ReferenceError> {
        let mut referring = Vec::new();
        for (key, index) in unlisted {
            if bucket.find_object(&key).await.map_err(TreeError::from)?.is_some() {
                return Err(ReferenceError::Unlisted { key });
            }
            if self.has_manifest(bucket, &index).await? {
                // Not where it should be: in the bucket.
                referring.push(IndexFile { place: IndexPlace::Unexpected, ..index });
            }
        }
        Ok(referring)
    }

    /// Makes sure that an index that is listed no more went with its snapshot (I6).
    async fn check_removed(&self, bucket: &BucketStore, index: &IndexFile) -> Result<(), ReferenceError> {
        if let Some(key) = &index.key
            && bucket.find_object(key).await.map_err(TreeError::from)?.is_some()
        {
            return Err(ReferenceError::Unlisted { key: key.clone() });
        }
        if self.has_manifest(bucket, index).await? {
            return Err(ReferenceError::Vanished { path: index.shown().to_owned() });
        }
        Ok(())
    }

    /// Tells whether the snapshot of an index has its manifest in the bucket. A removal deletes that first.
    async fn has_manifest(&self, bucket: &BucketStore, index: &IndexFile) -> Result<bool, ReferenceError> {
        let IndexPlace::Snapshot(ns, snapshot) = &index.place else { return Ok(false) };
        let layout = &self.tree().layout;
        let manifest = layout.key(&layout.manifest(ns, snapshot));
        Ok(bucket.find_object(&manifest).await.map_err(TreeError::from)?.is_some())
    }

    /// Where copies are of indexes whose file in the tree is not provably the object.
    fn mark_folder(&self) -> PathBuf {
        self.tree().layout.state().join("mark")
    }

    async fn fetch_indexes(
        &self,
        bucket: &Arc<BucketStore>,
        missing: &[(PathBuf, ObjectInfo)],
    ) -> Result<Fetched, ReferenceError> {
        let folder = self.mark_folder();
        let source =
            Source { bucket: Arc::clone(bucket), tree: folder.clone(), target: folder, records: true };
        Ok(fetch_all(source, missing.to_vec(), |_| ()).await?)
    }

    /// Finds the content of an index whose file vanished; `None` if it is gone for good.
    async fn find_again(&self, index: &IndexFile) -> Result<Option<PathBuf>, ReferenceError> {
        let vanished = || ReferenceError::Vanished { path: index.shown().to_owned() };
        let (Some(bucket), Some(key)) = (self.chunks().as_bucket(), &index.key) else {
            return if self.is_gone(index).await? { Ok(None) } else { Err(vanished()) };
        };
        // Only a fresh listing says so (I6).
        let listed = bucket.list_objects(key.as_str()).await.map_err(TreeError::from)?;
        let Some(object) = listed.into_iter().find(|object| object.key == *key) else {
            self.check_removed(bucket, index).await?;
            return Ok(None);
        };
        // The copy went with an aborted session or a removal that did not get far; the object counts all the same.
        let name = PathBuf::from(name_of(&object));
        let fetched = self.fetch_indexes(bucket, &[(name.clone(), object)]).await?;
        if fetched.differing.is_empty() { Ok(Some(self.mark_folder().join(name))) } else { Err(vanished()) }
    }

    /// Tells whether an index on a filesystem whose file vanished is gone for good.
    async fn is_gone(&self, index: &IndexFile) -> Result<bool, ReferenceError> {
        let (layout, place) = (self.tree().layout.clone(), index.place.clone());
        let look = move |_: &Tree| match &place {
            // Its folder may be that of a new session with the same time; what has no manifest was never committed, and
            // loses it first when it is removed.
            IndexPlace::Snapshot(ns, snapshot) => Ok(look(&layout.manifest(ns, snapshot))? == Found::Nothing),
            // It belonged to no snapshot, so nothing restores from it.
            IndexPlace::Unexpected => Ok(true),
        };
        Ok(self.blocking(look).await?)
    }

    /// Reads an index sequentially and gives its digests to `sink`, some thousand at a time; `Break` ends the reading.
    ///
    /// `sink` runs on a blocking thread, with the digests as they come from the file.
    ///
    /// # Errors
    /// [`ReferenceError::Index`], [`ReferenceError::Vanished`]; digests may have been given already.
    ///
    /// # Cancel safety
    /// Read-only; the reading goes on until the sink breaks or the index ends.
    pub async fn read_index(
        &self,
        index: &IndexFile,
        sink: impl FnMut(&[Digest]) -> ControlFlow<()> + Send + 'static,
    ) -> Result<IndexRead, ReferenceError> {
        let unreadable = |source| ReferenceError::Index { path: index.shown().to_owned(), source };
        let (read, sink) = read_file(index.path.clone(), index.kind, sink).await?;
        let read = match read {
            Err(error) if error.is_not_found() => {
                if is_off("i6") {
                    return Ok(IndexRead::Gone);
                }
                let Some(path) = self.find_again(index).await? else { return Ok(IndexRead::Gone) };
                read_file(path, index.kind, sink).await?.0
            }
            read => read,
        };
        read.map_err(unreadable)
    }
}

/// Reads an index and gives the sink back. A file that is not there has given nothing to it.
async fn read_file<S: FnMut(&[Digest]) -> ControlFlow<()> + Send + 'static>(
    path: PathBuf,
    kind: IndexKind,
    mut sink: S,
) -> Result<(Result<IndexRead, IndexError>, S), TreeError> {
    let read = move || {
        let read = IndexReader::open(&path, kind).and_then(|reader| {
            reader.for_each_block(&mut sink)?;
            Ok(IndexRead::Read { references: reader.chunk_count(), data_bytes: reader.size() })
        });
        (read, sink)
    };
    run_blocking(read).await.ok_or(TreeError::ShuttingDown)
}

/// An index in a listing of the bucket.
struct FoundIndex {
    kind: IndexKind,
    place: IndexPlace,
    sought: Sought,
}

/// Finds the indexes of a listing; copies of them are in `folder`.
fn find_indexes(layout: &Layout, objects: Vec<ObjectInfo>, folder: &Path) -> Vec<FoundIndex> {
    let mut found = Vec::new();
    for object in objects {
        let Some(kind) = tree::kind_of(Path::new(object.key.as_str())) else { continue };
        let (in_tree, place) = match ContentKey::parse(&object.key) {
            Some(ContentKey { ns, place: Place::Snapshot(snapshot), file }) => {
                let path = layout.snapshot(&ns, &snapshot).join(file);
                (Some(path), IndexPlace::Snapshot(ns, snapshot))
            }
            // Whatever it is, it may be an index (I6).
            _ => (None, IndexPlace::Unexpected),
        };
        let copy = folder.join(name_of(&object));
        found.push(FoundIndex { kind, place, sought: Sought { object, in_tree, copy } });
    }
    found
}

type Wanted = Vec<(PathBuf, ObjectInfo)>;

/// Sorts out indexes and the files found for them: all of them, each with its file, and those whose copy is to be fetched.
fn sort_indexes(found: impl Iterator<Item = (FoundIndex, Option<PathBuf>)>) -> (Vec<IndexFile>, Wanted) {
    let (mut indexes, mut missing) = (Vec::new(), Vec::new());
    for (FoundIndex { kind, place, sought }, file) in found {
        let key = Some(sought.object.key.clone());
        let path = file.unwrap_or_else(|| {
            missing.push((PathBuf::from(name_of(&sought.object)), sought.object));
            sought.copy
        });
        indexes.push(IndexFile { path, kind, place, key });
    }
    (indexes, missing)
}
