//! The parsers of answers, for the fuzz targets and nothing else.

use super::*;
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
