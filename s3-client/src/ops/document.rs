//! What the operations whose answer is a document have in common.

use super::{Checksums, ETag, NoOutput};
use crate::error::AnswerFlaw;
use crate::xml::{Reader, XmlError};

/// Tells an error report of the service from a document that is none of S3.
pub(super) fn output<T>(parsed: Result<T, XmlError>) -> Result<T, NoOutput> {
    parsed.map_err(|error| match error {
        XmlError::ErrorDocument(document) => NoOutput::Refused(document),
        error => NoOutput::Flaw(AnswerFlaw::Xml(error)),
    })
}

/// Reads an entity tag, which servers write with and without quotes; an empty one is none.
pub(super) fn etag(reader: &mut Reader<'_>) -> Result<Option<ETag>, XmlError> {
    let text = reader.text()?;
    Ok(Some(ETag::new(&text)).filter(|etag| !etag.as_str().is_empty()))
}

/// Drops checksums of parts, which say nothing about the content as a whole (`<ChecksumType>COMPOSITE`, or `…-3` for three parts).
pub(super) fn of_content(checksums: Checksums, checksum_type: Option<&str>) -> Checksums {
    if checksum_type == Some("COMPOSITE") {
        return Checksums::default();
    }
    let whole = |sum: Option<String>| sum.filter(|sum| !sum.contains('-'));
    Checksums {
        crc32: whole(checksums.crc32),
        crc32c: whole(checksums.crc32c),
        crc64nvme: whole(checksums.crc64nvme),
        sha256: whole(checksums.sha256),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml;

    #[test]
    fn error_reports_and_pages_are_told_from_broken_documents() {
        let read = |body: &[u8]| output(xml::parse(body, "R", |reader| etag(reader)));
        assert!(matches!(read(b"<R>\"a\"</R>"), Ok(Some(etag)) if etag.as_str() == "a"));
        assert!(matches!(read(b"<R>\"\"</R>"), Ok(None)));
        assert!(matches!(read(b"<Error><Code>C</Code></Error>"), Err(NoOutput::Refused(_))));
        assert!(matches!(read(b"<html>"), Err(NoOutput::Flaw(AnswerFlaw::Xml(XmlError::HtmlPage)))));
        assert!(matches!(read(b""), Err(NoOutput::Flaw(AnswerFlaw::Xml(XmlError::Empty)))));
    }

    #[test]
    fn checksums_of_parts_are_dropped() {
        let sums = |crc32c: &str| Checksums { crc32c: Some(crc32c.to_owned()), ..Checksums::default() };
        assert_eq!(of_content(sums("YWJj"), Some("FULL_OBJECT")), sums("YWJj"));
        assert_eq!(of_content(sums("YWJj-3"), None), Checksums::default());
        assert_eq!(of_content(sums("YWJj"), Some("COMPOSITE")), Checksums::default());
    }
}
