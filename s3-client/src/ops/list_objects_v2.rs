//! ListObjectsV2.

use std::borrow::Cow;
use std::time::SystemTime;

use http::Method;

use super::document::{self, etag};
use super::{Answer, ETag, NoOutput, RequestParts, S3Operation, Target, sealed};
use crate::config::{Quirk, Quirks};
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::key::ObjectKey;
use crate::xml::{self, Encoding, Reader, XmlError};

/// Most keys to ask for in one page (S3 API reference, `max-keys`).
pub const LIST_KEYS_MAX: u32 = 1000;

/// Most bytes of a page: 1,000 keys, percent-encoded, are 4 MiB with all that is said of them, and some servers send larger pages.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// Asks for one page of the bucket's keys. To go through all of them, see [`Client::list`](crate::Client::list).
///
/// Source: S3 API reference, [ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html). Keys are asked for in
/// URL encoding, because XML cannot express every key; the quirk [`Quirk::NoListEncoding`] drops that.
#[derive(Debug, Clone, Default)]
pub struct ListObjectsV2 {
    prefix: String,
    delimiter: String,
    start_after: String,
    token: Option<ContinuationToken>,
    keys_max: Option<u32>,
    with_owner: bool,
}

/// One page of a listing, in the order in which the server sent it: ascending byte order on general-purpose buckets of AWS, and nothing
/// that could be relied on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ObjectPage {
    /// The objects. Mostly up to 1,000; some servers send more.
    pub objects: Vec<ListedObject>,
    /// Where keys were rolled up by a delimiter: the common begins of their keys, delimiter included.
    pub common_prefixes: Vec<String>,
    /// What to ask for the next page with; `None` on the last one. A page can be empty and yet not the last.
    pub next: Option<ContinuationToken>,
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedObject {
    /// Its key, decoded.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was written, by the server's clock. Some servers cut it to the second, one rounds *up*: compare it with the answer's
    /// `Date` and allow for 2 s (`s3-servers.md`, section 3, point 10). `None` if the server does not tell.
    pub last_modified: Option<SystemTime>,
    /// The content's name.
    pub etag: Option<ETag>,
    /// Its storage class, as the server names it.
    pub storage_class: Option<String>,
    /// Id of its owner.
    pub owner_id: Option<String>,
    /// Algorithms of the checksums that the server keeps for it, such as `CRC32C`.
    pub checksum_algorithms: Vec<String>,
}

/// Says where the next page of a listing begins. Opaque, and of use only with the same bucket, prefix and delimiter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContinuationToken(String);

impl ContinuationToken {
    /// Takes a token that was kept as text, to go on with a listing that another process began.
    pub fn new(text: impl Into<String>) -> ContinuationToken {
        ContinuationToken(text.into())
    }

    /// Returns the text that goes into the query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ListObjectsV2 {
    /// Asks for the first page of all keys.
    pub fn new() -> ListObjectsV2 {
        ListObjectsV2::default()
    }

    /// Asks only for keys that begin with `prefix`. An answer with other keys is an error.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> ListObjectsV2 {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Rolls up the keys that go on after the next `delimiter` behind the prefix; see [`ObjectPage::common_prefixes`].
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: &str) -> ListObjectsV2 {
        delimiter.clone_into(&mut self.delimiter);
        self
    }

    /// Asks only for keys after this one.
    #[must_use]
    pub fn with_start_after(mut self, key: &str) -> ListObjectsV2 {
        key.clone_into(&mut self.start_after);
        self
    }

    /// Asks for the page that [`ObjectPage::next`] of the one before names. All else must be as for that one.
    #[must_use]
    pub fn with_token(mut self, token: ContinuationToken) -> ListObjectsV2 {
        self.token = Some(token);
        self
    }

    /// Asks for at most this many keys, 1 to 1,000; servers may send fewer, and some send more.
    #[must_use]
    pub fn with_keys_max(mut self, keys_max: u32) -> ListObjectsV2 {
        self.keys_max = Some(keys_max);
        self
    }

    /// Asks for the objects' owners too.
    #[must_use]
    pub fn with_owner(mut self) -> ListObjectsV2 {
        self.with_owner = true;
        self
    }
}

impl sealed::Sealed for ListObjectsV2 {}

impl S3Operation for ListObjectsV2 {
    type Output = ObjectPage;

    const OPERATION: Operation = Operation::ListObjectsV2;

    fn request(&self, quirks: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, Target::Bucket);
        let mut query = parts.query.with("list-type", "2");
        for (name, value) in [("prefix", &self.prefix), ("delimiter", &self.delimiter)] {
            if !value.is_empty() {
                query = query.with(name, value.clone());
            }
        }
        // The token says where to go on; what would a server make of two beginnings?
        match &self.token {
            Some(token) => query = query.with("continuation-token", token.0.clone()),
            None if self.start_after.is_empty() => {}
            None => query = query.with("start-after", self.start_after.clone()),
        }
        if let Some(keys_max) = self.keys_max {
            if !(1..=LIST_KEYS_MAX).contains(&keys_max) {
                let (name, allowed) = ("the number of keys of a page", "1 to 1000");
                return Err(InvalidRequest::OutOfRange { name, value: keys_max.into(), allowed });
            }
            query = query.with("max-keys", keys_max.to_string());
        }
        if self.with_owner {
            query = query.with("fetch-owner", "true");
        }
        if !quirks.has(Quirk::NoListEncoding) {
            query = query.with("encoding-type", "url");
        }
        parts.query = query;
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<ObjectPage, NoOutput> {
        document::output(parse(&answer.body, &self.prefix))
    }

    fn body_bytes_max(&self) -> u64 {
        PAGE_BYTES_MAX
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

/// Reads a page of the listing below `prefix`.
///
/// Names are decoded only if the answer says that they are encoded, as servers may ignore `encoding-type=url` (`s3-servers.md`,
/// section 3, point 9).
///
/// # Errors
/// The document is broken or lacks the key or size of an object; it is truncated without a token, or an object lies outside of
/// `prefix`: going on would mean to work on a part of the objects, or on others than asked for (I6).
pub(crate) fn parse(body: &[u8], prefix: &str) -> Result<ObjectPage, XmlError> {
    let raw = xml::parse(body, "ListBucketResult", RawPage::read)?;
    let objects = raw.entries.into_iter().map(|entry| entry.into_object(raw.encoding, prefix));
    let common_prefixes = raw.common_prefixes.iter().map(|text| common_prefix(text, raw.encoding, prefix));
    let token = raw.token.filter(|token| !token.is_empty());
    let next = match (raw.is_truncated, token) {
        (Some(true), None) => {
            return Err(XmlError::Missing {
                path: "ListBucketResult".to_owned(),
                element: "NextContinuationToken",
            });
        }
        // A server that does not say whether there is more, but where, has more.
        (Some(true) | None, token) => token.map(ContinuationToken),
        (Some(false), _) => None,
    };
    Ok(ObjectPage {
        objects: objects.collect::<Result<_, _>>()?,
        common_prefixes: common_prefixes.collect::<Result<_, _>>()?,
        next,
    })
}

/// A page whose names are not decoded yet: the element that tells how to may come last.
#[derive(Default)]
struct RawPage<'a> {
    entries: Vec<Entry<'a>>,
    common_prefixes: Vec<Cow<'a, str>>,
    encoding: Encoding,
    is_truncated: Option<bool>,
    token: Option<String>,
}

struct Entry<'a> {
    key: Cow<'a, str>,
    size_bytes: u64,
    last_modified: Option<SystemTime>,
    etag: Option<ETag>,
    storage_class: Option<String>,
    owner_id: Option<String>,
    checksum_algorithms: Vec<String>,
}

impl<'a> RawPage<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<RawPage<'a>, XmlError> {
        let mut page = RawPage::default();
        while let Some(name) = reader.next_child()? {
            match name {
                "Contents" => page.entries.push(Entry::read(reader)?),
                "CommonPrefixes" => page.read_common_prefixes(reader)?,
                "EncodingType" => page.encoding = encoding(reader)?,
                "IsTruncated" => {
                    let is_truncated = reader.bool()?;
                    reader.set(&mut page.is_truncated, is_truncated)?;
                }
                "NextContinuationToken" => {
                    // As it is, white space and all: it is the server's.
                    let token = reader.text()?.into_owned();
                    reader.set(&mut page.token, token)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(page)
    }

    fn read_common_prefixes(&mut self, reader: &mut Reader<'a>) -> Result<(), XmlError> {
        while let Some(name) = reader.next_child()? {
            match name {
                "Prefix" => self.common_prefixes.push(reader.text()?),
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

impl<'a> Entry<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Entry<'a>, XmlError> {
        let (mut key, mut size, mut last_modified, mut etag) = (None, None, None, None);
        let (mut storage_class, mut owner_id, mut checksum_algorithms) = (None, None, Vec::new());
        while let Some(name) = reader.next_child()? {
            match name {
                "Key" => {
                    let text = reader.text()?;
                    reader.set(&mut key, text)?;
                }
                "Size" => {
                    let number = reader.number()?;
                    reader.set(&mut size, number)?;
                }
                "LastModified" => last_modified = reader.time()?,
                "ETag" => etag = self::etag(reader)?,
                "StorageClass" => storage_class = reader.optional_word()?,
                "Owner" => owner_id = owner(reader)?,
                "ChecksumAlgorithm" => checksum_algorithms.extend(reader.optional_word()?),
                _ => reader.skip()?,
            }
        }
        let key = key.ok_or_else(|| reader.missing("Key"))?;
        let size_bytes = size.ok_or_else(|| reader.missing("Size"))?;
        Ok(Entry { key, size_bytes, last_modified, etag, storage_class, owner_id, checksum_algorithms })
    }

    fn into_object(self, encoding: Encoding, prefix: &str) -> Result<ListedObject, XmlError> {
        let Entry { key, size_bytes, last_modified, etag, storage_class, owner_id, checksum_algorithms } =
            self;
        let invalid =
            |expected, text: &str| XmlError::invalid("ListBucketResult/Contents/Key", expected, text);
        let name = encoding.decode(&key).ok_or_else(|| invalid("a URL-encoded key", &key))?;
        if !name.starts_with(prefix) {
            return Err(invalid("a key that begins with the prefix", &name));
        }
        let key = ObjectKey::new(name).map_err(|_| invalid("a key of 1 to 1024 bytes", &key))?;
        Ok(ListedObject {
            key,
            size_bytes,
            last_modified,
            etag,
            storage_class,
            owner_id,
            checksum_algorithms,
        })
    }
}

fn owner(reader: &mut Reader<'_>) -> Result<Option<String>, XmlError> {
    let mut id = None;
    while let Some(name) = reader.next_child()? {
        match name {
            "ID" => id = reader.optional_word()?,
            _ => reader.skip()?,
        }
    }
    Ok(id)
}

fn encoding(reader: &mut Reader<'_>) -> Result<Encoding, XmlError> {
    let word = reader.word()?;
    match word.as_str() {
        "" => Ok(Encoding::Plain),
        word if word.eq_ignore_ascii_case("url") => Ok(Encoding::Url),
        word => Err(reader.invalid("url", word)),
    }
}

/// Some servers encode keys and leave prefixes as they are. Which it is shows where only one reading lies below the prefix.
fn common_prefix(text: &str, encoding: Encoding, prefix: &str) -> Result<String, XmlError> {
    let decoded = encoding.decode(text).filter(|decoded| decoded.starts_with(prefix));
    match decoded {
        Some(decoded) => Ok(decoded.into_owned()),
        None if text.starts_with(prefix) => Ok(text.to_owned()),
        None => {
            let path = "ListBucketResult/CommonPrefixes/Prefix";
            Err(XmlError::invalid(path, "a name that begins with the prefix", text))
        }
    }
}

#[cfg(test)]
mod tests;
