//! GetObjectLockConfiguration.

use http::Method;

use super::{Answer, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::config::Quirks;
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::xml::{self, Reader, XmlError};

/// Asks whether the bucket can keep objects from being deleted, and whether it does so by default: then deletes may be refused.
///
/// A bucket without object lock answers with an error whose code is `ObjectLockConfigurationNotFoundError`.
///
/// Source: S3 API reference,
/// [GetObjectLockConfiguration](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLockConfiguration.html).
#[derive(Debug, Clone, Default)]
pub struct GetObjectLockConfiguration {}

/// Object lock of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ObjectLock {
    /// The bucket can lock objects.
    pub is_enabled: bool,
    /// How new objects are locked unless their upload says otherwise.
    pub default_retention: Option<Retention>,
}

/// How long, and how firmly, new objects are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Who can lift the lock.
    pub mode: RetentionMode,
    /// How long it holds.
    pub period: RetentionPeriod,
}

/// Who can lift a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionMode {
    /// Who has a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

/// How long a lock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetentionPeriod {
    /// So many days.
    Days(u32),
    /// So many years.
    Years(u32),
}

impl GetObjectLockConfiguration {
    /// Asks about the client's bucket.
    pub fn new() -> GetObjectLockConfiguration {
        GetObjectLockConfiguration {}
    }
}

impl sealed::Sealed for GetObjectLockConfiguration {}

impl S3Operation for GetObjectLockConfiguration {
    type Output = ObjectLock;

    const OPERATION: Operation = Operation::GetObjectLockConfiguration;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, Target::Bucket);
        parts.query = parts.query.with_flag("object-lock");
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<ObjectLock, NoOutput> {
        document::output(parse(&answer.body))
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

/// Reads the answer's body.
pub(crate) fn parse(body: &[u8]) -> Result<ObjectLock, XmlError> {
    xml::parse(body, "ObjectLockConfiguration", |reader| {
        let mut lock = ObjectLock::default();
        while let Some(name) = reader.next_child()? {
            match name {
                "ObjectLockEnabled" => lock.is_enabled = reader.word()? == "Enabled",
                "Rule" => lock.default_retention = rule(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(lock)
    })
}

fn rule(reader: &mut Reader<'_>) -> Result<Option<Retention>, XmlError> {
    let mut retention = None;
    while let Some(name) = reader.next_child()? {
        match name {
            "DefaultRetention" => retention = default_retention(reader)?,
            _ => reader.skip()?,
        }
    }
    Ok(retention)
}

fn default_retention(reader: &mut Reader<'_>) -> Result<Option<Retention>, XmlError> {
    let (mut mode, mut period) = (None, None);
    while let Some(name) = reader.next_child()? {
        match name {
            "Mode" => mode = Some(retention_mode(reader)?),
            "Days" => period = Some(RetentionPeriod::Days(reader.small_number()?)),
            "Years" => period = Some(RetentionPeriod::Years(reader.small_number()?)),
            _ => reader.skip()?,
        }
    }
    match (mode, period) {
        (None, None) => Ok(None),
        (Some(mode), Some(period)) => Ok(Some(Retention { mode, period })),
        (None, Some(_)) => Err(reader.missing("Mode")),
        (Some(_), None) => Err(reader.missing("Days")),
    }
}

fn retention_mode(reader: &mut Reader<'_>) -> Result<RetentionMode, XmlError> {
    match reader.word()?.as_str() {
        "GOVERNANCE" => Ok(RetentionMode::Governance),
        "COMPLIANCE" => Ok(RetentionMode::Compliance),
        other => Err(reader.invalid("GOVERNANCE or COMPLIANCE", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<ObjectLock, XmlError> {
        parse(format!("<ObjectLockConfiguration>{content}</ObjectLockConfiguration>").as_bytes())
    }

    #[test]
    fn a_default_retention_is_read() {
        let retained = |inner: &str| {
            let rule = format!("<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>");
            read(&format!("<ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}"))
        };
        let expected = |mode, period| {
            Ok(ObjectLock { is_enabled: true, default_retention: Some(Retention { mode, period }) })
        };
        let governed = retained("<Mode>GOVERNANCE</Mode><Days>30</Days>");
        assert_eq!(governed, expected(RetentionMode::Governance, RetentionPeriod::Days(30)));
        let complied = retained("<Years>7</Years><Mode>COMPLIANCE</Mode>");
        assert_eq!(complied, expected(RetentionMode::Compliance, RetentionPeriod::Years(7)));
        let path = || "ObjectLockConfiguration/Rule/DefaultRetention".to_owned();
        assert_eq!(retained("<Days>1</Days>"), Err(XmlError::Missing { path: path(), element: "Mode" }));
        assert_eq!(
            retained("<Mode>GOVERNANCE</Mode>"),
            Err(XmlError::Missing { path: path(), element: "Days" })
        );
        assert!(matches!(retained("<Mode>OTHER</Mode>"), Err(XmlError::Invalid { .. })));
    }

    #[test]
    fn a_lock_without_a_rule_is_read() {
        let enabled = ObjectLock { is_enabled: true, default_retention: None };
        assert_eq!(read("<ObjectLockEnabled>Enabled</ObjectLockEnabled>"), Ok(enabled.clone()));
        assert_eq!(
            read("<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention/></Rule>"),
            Ok(enabled)
        );
        assert_eq!(read(""), Ok(ObjectLock::default()));
    }
}
