//! The object backend: the trait through which an S3-backed store touches its bucket.
//!
//! A filesystem store has no backend; its chunk file, marker and object are one file (DESIGN "Filesystem stores").

mod any;
mod fault;
#[cfg(feature = "s3")]
mod s3;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

pub use any::AnyBackend;
use bytes::Bytes;
pub use fault::{BackendError, Fault};
#[cfg(feature = "s3")]
pub use s3::{RequestBound, S3Backend};

use crate::dir::{EntryKind, EntryName, Shard};
use crate::time::StoreTime;

/// What the keys of chunks start with (spec `s3-backend.md` §2).
pub(crate) const CHUNKS: &str = ".chunks/";

/// Longest key below a store's prefix, in bytes (spec `s3-backend.md` §2).
pub const KEY_BYTES_MAX: usize = 1024;

/// Most keys in one batch of deletes (S3 API reference, `DeleteObjects`).
pub const DELETE_KEYS_MAX: usize = 1000;

/// The name of an object below a store's prefix, such as `.chunks/ba78/ba78…15ad`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// The text is no usable object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an object key has 1 to {KEY_BYTES_MAX} bytes, no control characters and no empty, `.` or `..` component"
)]
pub struct InvalidKey;

impl ObjectKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidKey`] for what some backend would refuse or rewrite.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if text.len() > KEY_BYTES_MAX || text.chars().any(char::is_control) || text.split('/').any(odd) {
            return Err(InvalidKey);
        }
        Ok(Self(text))
    }

    /// Returns the key of a chunk or of a copy that was set aside: the one place that maps a digest to a key.
    pub fn of_entry(name: EntryName) -> Self {
        Self(format!("{CHUNKS}{}/{name}", name.shard()))
    }

    /// Returns the chunk, or the copy that was set aside, whose key this is; `None` if it is no such key.
    pub fn entry(&self) -> Option<EntryName> {
        entry_of(&self.0)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the chunk, or the copy that was set aside, that has this key below a store's prefix.
pub(crate) fn entry_of(key: &str) -> Option<EntryName> {
    let (shard, name) = key.strip_prefix(CHUNKS)?.split_once('/')?;
    let name = EntryName::parse(name)?;
    // The other kinds are names of local files.
    let is_object = matches!(name.kind, EntryKind::Chunk | EntryKind::Bad(_));
    (is_object && Shard::parse(shard) == Some(name.shard())).then_some(name)
}

/// The backend's opaque name of an object's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// The instants between which the backend takes a request (R7, R9, R19).
///
/// Deletes of chunks and all requests for snapshot objects carry one that their caller fixed; every attempt is signed
/// with it, so that none can take effect after `expires_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When the request was signed.
    pub signed_at: StoreTime,
    /// How long the backend takes it.
    pub lasts: Duration,
}

impl Validity {
    /// Returns the instant after which the backend refuses the request.
    pub fn expires_at(&self) -> StoreTime {
        self.signed_at.plus(self.lasts)
    }
}

/// What must hold for a put to take place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutCondition {
    /// Nothing.
    Always,
    /// No object of this key exists (`If-None-Match: *`, R3).
    IfAbsent,
    /// The object has this tag (`If-Match`, R10).
    IfMatch(ETag),
}

/// A put request.
#[derive(Debug, Clone)]
pub struct Put {
    /// Where to.
    pub key: ObjectKey,
    /// The object's content.
    pub content: Bytes,
    /// What must hold.
    pub condition: PutCondition,
    /// Until when it may take effect; `None` leaves that to the backend.
    pub validity: Option<Validity>,
}

/// How an object that is named by its content came to be there (R3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutNew {
    /// This put wrote it. What was there before, if anything, is replaced.
    Written(ETag),
    /// There was one already. After an unclear attempt it may be this put's own.
    AlreadyThere,
}

/// What became of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object has the content.
    Stored(ETag),
    /// The condition did not hold; nothing was written. If the answer is unclear, it may be an earlier attempt of this very
    /// put that is in the way: read it to find out.
    ConditionFailed,
}

/// Facts about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub len: u64,
    /// The name of its content.
    pub etag: ETag,
    /// When it was last written, in the backend's clock; whole seconds on real backends.
    pub modified_at: StoreTime,
}

/// An answer of the backend and the date it bears, the only clock that ends limbo (DESIGN §2, *expiry*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// The `Date` of the answer.
    pub date: StoreTime,
    /// An earlier attempt of the request ended without an answer: it may have taken effect, or still may until the request
    /// expires (R19, hazard H21). Never so for a read.
    pub is_unclear: bool,
}

impl<T> Answer<T> {
    /// Makes an answer to a request that was sent once.
    pub fn new(value: T, date: StoreTime) -> Self {
        Self { value, date, is_unclear: false }
    }

    /// Changes what was asked for and keeps the rest.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), date: self.date, is_unclear: self.is_unclear }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Objects in ascending byte order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// The handle to the next page; `None` on the last.
    pub next: Option<String>,
}

/// One page of a listing of chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPage {
    /// In ascending order.
    pub entries: Vec<ObjectEntry>,
    /// The first and the last key of the page, whatever they belong to; `None` for a page without any.
    pub ends: Option<(String, String)>,
    /// The handle to the next page; `None` on the last.
    pub next: Option<String>,
}

/// What a sweep wants to know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The chunk or copy that it is.
    pub name: EntryName,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written, in the backend's clock.
    pub modified_at: StoreTime,
}

/// What became of a batch of deletes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deletion {
    /// Keys that the backend refused to delete, each with its reason (hazard H18). Keys that did not exist are deleted.
    pub refused: Vec<(ObjectKey, String)>,
    /// Some attempt ended without an answer: it may still take effect until the requests expire (R9, hazard H21).
    pub is_unclear: bool,
}

/// A bucket prefix, or something that behaves like one.
///
/// Strongly consistent: what was acknowledged is seen by every later request (S3 consistency model). Implementations
/// retry as their policy says, but hide no unclear attempt.
pub trait ObjectBackend: Send + Sync + 'static {
    /// Writes an object.
    fn put(&self, put: Put) -> impl Future<Output = Result<Answer<PutOutcome>, BackendError>> + Send;

    /// Writes an object that is named by its content unless it is there. Never fails because somebody else writes it at
    /// the same time: the last of its attempts is unconditional (R3).
    fn put_new(
        &self,
        key: &ObjectKey,
        content: Bytes,
    ) -> impl Future<Output = Result<Answer<PutNew>, BackendError>> + Send;

    /// Returns the tag that the backend gives to an object with this content, where that can be told without asking: the
    /// MD5 of the content on most S3 servers. Computes; call it where blocking is allowed.
    fn tag_of(&self, content: &[u8]) -> Option<ETag>;

    /// Reads a whole object; `None` if there is none.
    fn get(
        &self,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError>> + Send;

    /// Returns facts about an object; `None` if there is none.
    fn head(
        &self,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Answer<Option<ObjectInfo>>, BackendError>> + Send;

    /// Copies an object on the backend's side; returns whether there was one to copy.
    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
    ) -> impl Future<Output = Result<Answer<bool>, BackendError>> + Send;

    /// Deletes at most [`DELETE_KEYS_MAX`] objects.
    fn delete(
        &self,
        keys: &[ObjectKey],
        validity: Validity,
    ) -> impl Future<Output = Result<Answer<Deletion>, BackendError>> + Send;

    /// Lists one page of the objects whose keys start with `prefix`, in ascending byte order.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Answer<Page>, BackendError>> + Send;

    /// Lists a page as [`list`](Self::list) does, but only the chunks and the copies that were set aside, and of them only
    /// what a sweep wants to know. Other keys are left out.
    fn list_entries(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Answer<EntryPage>, BackendError>> + Send {
        async move {
            let answer = self.list(prefix, after).await?;
            Ok(answer.map(|page| {
                let entry = |object: &ObjectInfo| {
                    let ObjectInfo { len, modified_at, .. } = *object;
                    Some(ObjectEntry { name: object.key.entry()?, len, modified_at })
                };
                let key = |object: Option<&ObjectInfo>| object.map(|object| object.key.as_str().to_owned());
                let ends = key(page.objects.first()).zip(key(page.objects.last()));
                EntryPage { entries: page.objects.iter().filter_map(entry).collect(), ends, next: page.next }
            }))
        }
    }

    /// Returns how many requests of each type were sent so far, every attempt counted, where the backend counts them.
    fn request_counts(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn the_key_of_a_chunk_is_that_of_the_documented_layout() {
        let digest = Digest::of(b"abc");
        let key = ObjectKey::of_entry(EntryName::chunk(digest));
        assert_eq!(key.as_str(), format!(".chunks/ba78/{digest}"));
        assert_eq!(key.entry(), Some(EntryName::chunk(digest)));
        let local = EntryName::new(digest, EntryKind::Temporary);
        assert_eq!(ObjectKey::of_entry(local).entry(), None, "a local file that somebody copied");
        assert_eq!(ObjectKey::new(key.as_str()), Ok(key));
    }

    #[test]
    fn keys_that_a_backend_would_refuse_or_rewrite_are_refused() {
        for text in ["", "/a", "a/", "a//b", "a/../b", "./a", "a\nb", &"a".repeat(KEY_BYTES_MAX + 1)] {
            assert_eq!(ObjectKey::new(text), Err(InvalidKey), "{text}");
        }
    }
}
