//! Pages of a listing, written as they are asked for.
//!
//! The server shares the processor with what is measured, so each page is written straight into its bytes.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use coldkeep_chunk_store::{DIGEST_BYTES, Digest};
use coldkeep_s3_client::sign::date::{AmzDate, format_http_date};
use http::header;

use crate::bucket::Shared;
use crate::bucket::answer::{Answer, DECLARATION};
use crate::bucket::files::File;
use crate::objects::Objects;

/// How the keys of all chunks begin.
pub(crate) const CHUNKS: &str = "store/.chunks/";

/// Age of all chunks: beyond any grace, so that all that is not referenced goes.
pub(crate) const AGE: Duration = Duration::from_hours(24 * 7);

const KEY_BYTES: usize = CHUNKS.len() + 5 + 2 * DIGEST_BYTES;
/// An MD5 as listings have it.
const TAG_DIGITS: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

const BEGIN: &str =
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bench</Name><Prefix>";

/// Bytes of one entry of a page, and of what is around them; more would do as well.
const ENTRY_BYTES: usize = 320;
const FRAME_BYTES: usize = 1024;

/// Which part of the listing is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListQuery {
    pub(crate) prefix: String,
    /// The number of the chunk to go on with.
    pub(crate) token: Option<String>,
    pub(crate) start_after: Option<String>,
    pub(crate) keys_max: u64,
}

/// What all chunks have in common.
#[derive(Debug)]
pub(crate) struct Listed {
    /// When they were written, as listings and as headers have it.
    modified_at: String,
    modified_header: String,
}

impl Listed {
    pub(crate) fn new() -> Listed {
        let modified_at = SystemTime::now() - AGE;
        Listed {
            modified_at: AmzDate::new(modified_at).as_ref().map(extended).unwrap_or_default(),
            modified_header: format_http_date(modified_at).unwrap_or_default(),
        }
    }

    /// The answer to a HEAD of a chunk.
    pub(crate) fn head(&self, number: u64) -> Answer {
        let answer = Answer::empty(200).with(header::CONTENT_LENGTH, &Objects::bytes(number).to_string());
        answer
            .with(header::LAST_MODIFIED, &self.modified_header)
            .with(header::ETAG, &format!("\"{number:032x}\""))
    }

    /// Writes a page; `None` for a token that is none of ours, or a page that would not take what is beside the chunks.
    pub(crate) fn page(&self, query: &ListQuery, bucket: &Shared) -> Option<Vec<u8>> {
        let ListQuery { prefix, token, start_after, keys_max } = query;
        let objects = &bucket.objects;
        let mut numbers = numbers(prefix, objects);
        if let Some(token) = token {
            numbers.start = token.parse().ok().filter(|number| *number <= numbers.end)?;
        } else if let Some(key) = start_after {
            let is_before = |number| key_of(objects, number).as_slice() <= key.as_bytes();
            numbers.start = numbers.start.max(objects.first_where_not(is_before)).min(numbers.end);
        }
        let entries = (numbers.end - numbers.start).min(*keys_max) as usize;
        let mut page = Vec::with_capacity(FRAME_BYTES + ENTRY_BYTES * entries);
        page.extend_from_slice(DECLARATION.as_bytes());
        page.extend_from_slice(BEGIN.as_bytes());
        page.extend_from_slice(prefix.as_bytes());
        page.extend_from_slice(b"</Prefix><EncodingType>url</EncodingType>");
        let (mut next, mut keys) = (numbers.start, 0);
        while next < numbers.end && keys < *keys_max {
            if !bucket.deleted.is_set(next) {
                self.entry(&mut page, objects, next);
                keys += 1;
            }
            next += 1;
        }
        // All other keys of the store come behind those of the chunks, and on the last page.
        let after = start_after.as_deref().filter(|_| token.is_none()).unwrap_or_default();
        let files = bucket.files.below(prefix, after);
        if files.len() as u64 > *keys_max {
            return None;
        }
        let is_cut = next < numbers.end || keys + files.len() as u64 > *keys_max;
        let rest = if is_cut {
            format!("<NextContinuationToken>{next}</NextContinuationToken>")
        } else {
            files.iter().map(|(key, file)| self.file_entry(key, file)).collect()
        };
        page.extend_from_slice(rest.as_bytes());
        page.extend_from_slice(format!("<IsTruncated>{is_cut}</IsTruncated></ListBucketResult>").as_bytes());
        Some(page)
    }

    fn file_entry(&self, key: &str, file: &File) -> String {
        let (modified_at, size, tag) = (&self.modified_at, file.content.len(), file.tag.trim_matches('"'));
        format!(
            "<Contents><Key>{key}</Key><LastModified>{modified_at}</LastModified><ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
        )
    }

    /// Writes what AWS tells of an object.
    fn entry(&self, page: &mut Vec<u8>, objects: &Objects, number: u64) {
        page.extend_from_slice(b"<Contents><Key>");
        let key_at = page.len();
        push_key(page, &objects.digest(number));
        let tag_at = key_at + KEY_BYTES - TAG_DIGITS;
        page.extend_from_slice(b"</Key><LastModified>");
        page.extend_from_slice(self.modified_at.as_bytes());
        page.extend_from_slice(b"</LastModified><ETag>&quot;");
        page.extend_from_within(tag_at..tag_at + TAG_DIGITS);
        page.extend_from_slice(b"&quot;</ETag><Size>");
        let bytes = Objects::bytes(number);
        // Seven digits, all of them.
        page.extend((0..7).rev().map(|place| b'0' + (bytes / 10_u64.pow(place) % 10) as u8));
        page.extend_from_slice(b"</Size><StorageClass>STANDARD</StorageClass></Contents>");
    }
}

/// The numbers of all chunks whose keys begin with `prefix`.
fn numbers(prefix: &str, objects: &Objects) -> Range<u64> {
    let prefix = prefix.as_bytes();
    let start = objects.first_where_not(|number| key_of(objects, number).as_slice() < prefix);
    let end = objects.first_where_not(|number| {
        let key = key_of(objects, number);
        key.as_slice() < prefix || key.starts_with(prefix)
    });
    start..end
}

fn key_of(objects: &Objects, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    push_key(&mut key, &objects.digest(number));
    key
}

/// Writes the key of a chunk, as `ObjectKey::of_entry` has it, below the prefix of the store.
fn push_key(text: &mut Vec<u8>, digest: &Digest) {
    let mut name = [0; 2 * DIGEST_BYTES];
    let (pairs, _) = name.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(digest.as_bytes()) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
    text.extend_from_slice(CHUNKS.as_bytes());
    text.extend_from_slice(&name[..4]);
    text.push(b'/');
    text.extend_from_slice(&name);
}

/// `20231114T221320Z` as listings have it: `2023-11-14T22:13:20.000Z`.
fn extended(date: &AmzDate) -> String {
    let (date, time) = date.as_str().split_at(8);
    format!(
        "{}-{}-{}T{}:{}:{}.000Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[1..3],
        &time[3..5],
        &time[5..7]
    )
}
