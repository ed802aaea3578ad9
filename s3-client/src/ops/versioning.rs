//! GetBucketVersioning.

use http::Method;

use super::{Answer, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::config::Quirks;
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::xml::{self, XmlError};

/// Asks whether the bucket keeps old versions of its objects: then deletes free nothing.
///
/// Source: S3 API reference, [GetBucketVersioning](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html).
#[derive(Debug, Clone, Default)]
pub struct GetBucketVersioning {}

/// Whether a bucket keeps old versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    /// It does.
    Enabled,
    /// It did once: old versions may still be there, new ones are not made.
    Suspended,
}

impl GetBucketVersioning {
    /// Asks about the client's bucket.
    pub fn new() -> GetBucketVersioning {
        GetBucketVersioning {}
    }
}

impl sealed::Sealed for GetBucketVersioning {}

impl S3Operation for GetBucketVersioning {
    type Output = Versioning;

    const OPERATION: Operation = Operation::GetBucketVersioning;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, Target::Bucket);
        parts.query = parts.query.with_flag("versioning");
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Versioning, NoOutput> {
        document::output(parse(&answer.body))
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

/// The right name of the root, and the one that `moto` gives it while versioning was never set.
const ROOTS: [&str; 2] = ["VersioningConfiguration", "GetBucketVersioningResponse"];

/// Reads the answer's body.
pub(crate) fn parse(body: &[u8]) -> Result<Versioning, XmlError> {
    xml::parse_either(body, ROOTS, |reader| {
        let mut versioning = None;
        while let Some(name) = reader.next_child()? {
            match name {
                "Status" => {
                    let status = reader.word()?;
                    let status = match status.as_str() {
                        "" | "Disabled" => Versioning::Off,
                        "Enabled" => Versioning::Enabled,
                        "Suspended" => Versioning::Suspended,
                        other => return Err(reader.invalid("Enabled or Suspended", other)),
                    };
                    reader.set(&mut versioning, status)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(versioning.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_read() {
        let read = |status: &str| {
            parse(format!("<VersioningConfiguration>{status}<MfaDelete>Disabled</MfaDelete></VersioningConfiguration>").as_bytes())
        };
        assert_eq!(read(""), Ok(Versioning::Off));
        assert_eq!(read("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(read("<Status>Suspended</Status>"), Ok(Versioning::Suspended));
        assert_eq!(parse(b"<VersioningConfiguration xmlns='x'/>"), Ok(Versioning::Off));
        let moto = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<GetBucketVersioningResponse xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>";
        assert_eq!(parse(moto), Ok(Versioning::Off));
        assert!(matches!(read("<Status>Maybe</Status>"), Err(XmlError::Invalid { .. })));
        assert!(matches!(read("<Status>Enabled</Status><Status/>"), Err(XmlError::Repeated { .. })));
    }
}
