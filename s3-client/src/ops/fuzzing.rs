//! The parsers of answers, for the fuzz targets and nothing else.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::{
    ContentRange, DeleteReport, DeleteTarget, ObjectMeta, ObjectPage, complete_multipart_upload, copy_object,
    delete_objects, lifecycle, list_buckets, list_objects_v2, multipart, object_lock, server_date,
    versioning,
};
use crate::error::AnswerFlaw;
use crate::xml::XmlError;

/// Reads a page of the keys below `prefix`.
pub fn list_page(body: &[u8], prefix: &str) -> Result<ObjectPage, XmlError> {
    list_objects_v2::parse(body, prefix)
}

/// Reads the answer to a multi-delete.
pub fn delete_report(
    body: &[u8],
    targets: &[DeleteTarget],
    is_quiet: bool,
) -> Result<DeleteReport, XmlError> {
    delete_objects::parse(body, targets, is_quiet)
}

/// Reads every other document; shows what each parser made of it.
pub fn small(body: &[u8]) -> Vec<Result<String, XmlError>> {
    fn shown<T: std::fmt::Debug>(parsed: Result<T, XmlError>) -> Result<String, XmlError> {
        parsed.map(|value| format!("{value:?}"))
    }
    vec![
        shown(list_buckets::parse(body)),
        shown(copy_object::parse(body)),
        shown(multipart::parse(body)),
        shown(complete_multipart_upload::parse(body)),
        shown(versioning::parse(body)),
        shown(object_lock::parse(body)),
        shown(lifecycle::parse(body)),
    ]
}

/// Reads the headers of an object.
pub fn object_meta(headers: &HeaderMap) -> Result<ObjectMeta, AnswerFlaw> {
    ObjectMeta::from_headers(headers)
}

/// Reads which part of an object a body holds.
pub fn content_range(headers: &HeaderMap) -> Result<Option<ContentRange>, AnswerFlaw> {
    ContentRange::from_headers(headers)
}

/// Reads the pause that an answer asks for; `now` stands for a date that it lacks.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    crate::call::retry_after(headers, || server_date(headers).unwrap_or(now))
}

/// Reads the status line of a proxy's answer.
#[cfg(feature = "transport")]
pub fn tunnel_status(answer: &[u8]) -> Option<u16> {
    crate::transport::tunnel_status(answer)
}
