//! One stored object.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// An object as the server stored it.
#[derive(Clone, Debug)]
pub struct Object {
    /// The content, in the pieces in which it arrived.
    pub pages: Vec<Bytes>,
    /// Bytes in all pages.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Of the server's clock, when the object was written.
    pub modified_at: SystemTime,
    /// `content-type`, `x-amz-meta-*` and the other headers that are given back with the object.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `x-amz-checksum-*` with the value in base64, given back when asked for.
    pub checksums: Vec<(String, String)>,
}

impl Object {
    /// The whole content as one piece.
    pub fn content(&self) -> Vec<u8> {
        self.pages.concat()
    }

    /// The value of one of [`headers`](Object::headers).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.as_str() == name);
        found.and_then(|(_, value)| value.to_str().ok())
    }

    /// `start..end` of the content, without a copy.
    pub(crate) fn slice(&self, start: u64, end: u64) -> Vec<Bytes> {
        let mut at = 0;
        let mut pages = Vec::new();
        for page in &self.pages {
            let page_end = at + page.len() as u64;
            let (from, to) = (start.max(at), end.min(page_end));
            if from < to {
                pages.push(page.slice((from - at) as usize..(to - at) as usize));
            }
            at = page_end;
        }
        pages
    }
}

/// Whether a header of a put belongs to the object (S3 API reference, `PutObject` and "object metadata").
pub(crate) fn is_stored_header(name: &str) -> bool {
    name.starts_with("x-amz-meta-") || STORED_HEADERS.contains(&name)
}

const STORED_HEADERS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cross_pages() {
        let object = Object {
            pages: vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de"), Bytes::from_static(b"fgh")],
            size: 8,
            etag: String::new(),
            modified_at: SystemTime::UNIX_EPOCH,
            headers: Vec::new(),
            checksums: Vec::new(),
        };
        assert_eq!(object.slice(2, 6).concat(), b"cdef");
        assert_eq!(object.slice(3, 5).concat(), b"de");
        assert_eq!(object.slice(8, 8).concat(), b"");
    }
}
