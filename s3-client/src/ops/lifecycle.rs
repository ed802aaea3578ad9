//! GetBucketLifecycleConfiguration.

use std::time::SystemTime;

use http::Method;

use super::{Answer, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::config::Quirks;
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::xml::{self, Reader, XmlError};

/// Asks for the rules by which the service itself deletes or moves the bucket's objects: what an operator must be warned about before
/// a program keeps objects there.
///
/// A bucket without rules answers with an error whose code is `NoSuchLifecycleConfiguration`.
///
/// Source: S3 API reference,
/// [GetBucketLifecycleConfiguration](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html).
#[derive(Debug, Clone, Default)]
pub struct GetBucketLifecycleConfiguration {}

/// The rules of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lifecycle {
    /// The rules, in the server's order.
    pub rules: Vec<LifecycleRule>,
}

/// A rule of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LifecycleRule {
    /// Its name.
    pub id: Option<String>,
    /// Whether it is in force.
    pub is_enabled: bool,
    /// Begin of the keys that it is about; empty for all keys.
    pub prefix: String,
    /// It is about some of these objects only, by tags or size.
    pub is_narrowed: bool,
    /// When it deletes objects (in a versioned bucket: hides them).
    pub expiration: Option<LifecycleDue>,
    /// After how many days it deletes versions that were replaced.
    pub noncurrent_expiration_days: Option<u32>,
    /// It deletes delete markers that hide nothing any more.
    pub removes_delete_markers: bool,
    /// After how many days it aborts multipart uploads.
    pub abort_uploads_days: Option<u32>,
    /// Storage classes that it moves objects to, from some of which they cannot be read at once.
    pub transitions: Vec<Transition>,
}

/// When a rule acts on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleDue {
    /// So many days after it was written.
    Days(u32),
    /// From this time on, whenever it was written.
    At(SystemTime),
}

/// A move of objects to another storage class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// When; `None` where only the storage class is told.
    pub due: Option<LifecycleDue>,
    /// The storage class, as the service names it.
    pub storage_class: String,
    /// Only versions that were replaced are moved.
    pub is_noncurrent: bool,
}

impl GetBucketLifecycleConfiguration {
    /// Asks about the client's bucket.
    pub fn new() -> GetBucketLifecycleConfiguration {
        GetBucketLifecycleConfiguration {}
    }
}

impl sealed::Sealed for GetBucketLifecycleConfiguration {}

impl S3Operation for GetBucketLifecycleConfiguration {
    type Output = Lifecycle;

    const OPERATION: Operation = Operation::GetBucketLifecycleConfiguration;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, Target::Bucket);
        parts.query = parts.query.with_flag("lifecycle");
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<Lifecycle, NoOutput> {
        document::output(parse(&answer.body))
    }

    fn body_bytes_max(&self) -> u64 {
        CONFIGURATION_BYTES_MAX
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

/// Most bytes of an answer: 1,000 rules (S3 user guide, "Lifecycle configuration elements"), each with a prefix and tags.
const CONFIGURATION_BYTES_MAX: u64 = 8 << 20;

/// Reads the answer's body.
pub(crate) fn parse(body: &[u8]) -> Result<Lifecycle, XmlError> {
    xml::parse(body, "LifecycleConfiguration", |reader| {
        let mut lifecycle = Lifecycle::default();
        while let Some(name) = reader.next_child()? {
            match name {
                "Rule" => lifecycle.rules.push(rule(reader)?),
                _ => reader.skip()?,
            }
        }
        Ok(lifecycle)
    })
}

fn rule(reader: &mut Reader<'_>) -> Result<LifecycleRule, XmlError> {
    let mut rule = LifecycleRule::default();
    let mut status = None;
    while let Some(name) = reader.next_child()? {
        match name {
            "ID" => rule.id = reader.optional_word()?,
            "Status" => {
                let word = reader.word()?;
                reader.set(&mut status, word == "Enabled")?;
            }
            // The older form, which has no other conditions.
            "Prefix" => rule.prefix = reader.text()?.into_owned(),
            "Filter" => filter(reader, &mut rule)?,
            "Expiration" => expiration(reader, &mut rule)?,
            "NoncurrentVersionExpiration" => {
                rule.noncurrent_expiration_days = days(reader, "NoncurrentDays")?;
            }
            "AbortIncompleteMultipartUpload" => {
                rule.abort_uploads_days = days(reader, "DaysAfterInitiation")?;
            }
            "Transition" => rule.transitions.push(transition(reader, false)?),
            "NoncurrentVersionTransition" => rule.transitions.push(transition(reader, true)?),
            _ => reader.skip()?,
        }
    }
    rule.is_enabled = status.ok_or_else(|| reader.missing("Status"))?;
    Ok(rule)
}

/// Reads a filter: one condition, or several within `<And>`.
fn filter(reader: &mut Reader<'_>, rule: &mut LifecycleRule) -> Result<(), XmlError> {
    while let Some(name) = reader.next_child()? {
        match name {
            "Prefix" => rule.prefix = reader.text()?.into_owned(),
            "And" => filter(reader, rule)?,
            // Tags, sizes, and what may come: all of them make the rule apply to less.
            _ => {
                rule.is_narrowed = true;
                reader.skip()?;
            }
        }
    }
    Ok(())
}

fn expiration(reader: &mut Reader<'_>, rule: &mut LifecycleRule) -> Result<(), XmlError> {
    while let Some(name) = reader.next_child()? {
        match name {
            "Days" => rule.expiration = Some(LifecycleDue::Days(reader.small_number()?)),
            "Date" => rule.expiration = reader.time()?.map(LifecycleDue::At),
            "ExpiredObjectDeleteMarker" => rule.removes_delete_markers = reader.bool()?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}

/// Reads the number of days that an element holds in `child`.
fn days(reader: &mut Reader<'_>, child: &'static str) -> Result<Option<u32>, XmlError> {
    let mut days = None;
    while let Some(name) = reader.next_child()? {
        if name == child {
            days = Some(reader.small_number()?);
        } else {
            reader.skip()?;
        }
    }
    Ok(days)
}

fn transition(reader: &mut Reader<'_>, is_noncurrent: bool) -> Result<Transition, XmlError> {
    let (mut due, mut storage_class) = (None, String::new());
    while let Some(name) = reader.next_child()? {
        match name {
            "Days" | "NoncurrentDays" => due = Some(LifecycleDue::Days(reader.small_number()?)),
            "Date" => due = reader.time()?.map(LifecycleDue::At),
            "StorageClass" => storage_class = reader.word()?,
            _ => reader.skip()?,
        }
    }
    Ok(Transition { due, storage_class, is_noncurrent })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn read(rules: &str) -> Result<Vec<LifecycleRule>, XmlError> {
        let body = format!("<LifecycleConfiguration xmlns='x'>{rules}</LifecycleConfiguration>");
        parse(body.as_bytes()).map(|lifecycle| lifecycle.rules)
    }

    #[test]
    fn what_a_rule_does_is_read() {
        let rules = read(
            "<Rule><ID>all</ID><Filter><And><Prefix>a&amp;b/</Prefix><Tag><Key>Prefix</Key><Value>v</Value></Tag></And></Filter>\
             <Status>Enabled</Status><Expiration><Days>30</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>7\
             </NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload>\
             <Transition><Days>10</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>",
        );
        let transition = Transition {
            due: Some(LifecycleDue::Days(10)),
            storage_class: "GLACIER".into(),
            is_noncurrent: false,
        };
        let rule = LifecycleRule {
            id: Some("all".into()),
            is_enabled: true,
            prefix: "a&b/".into(),
            is_narrowed: true,
            expiration: Some(LifecycleDue::Days(30)),
            noncurrent_expiration_days: Some(7),
            removes_delete_markers: false,
            abort_uploads_days: Some(3),
            transitions: vec![transition],
        };
        assert_eq!(rules, Ok(vec![rule]));
    }

    #[test]
    fn older_and_other_forms_are_read() {
        let rules = read(
            "<Rule><Prefix>logs/</Prefix><Status>Disabled</Status><Expiration><Date>2023-11-14T22:13:20Z</Date></Expiration>\
             <NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>X</StorageClass>\
             </NoncurrentVersionTransition></Rule><Rule><Filter/><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true\
             </ExpiredObjectDeleteMarker></Expiration></Rule><Rule><Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter>\
             <Status>Enabled</Status></Rule>",
        );
        let [older, markers, sized] = <[LifecycleRule; 3]>::try_from(rules.unwrap()).unwrap();
        assert!(!older.is_enabled && older.prefix == "logs/" && older.transitions[0].is_noncurrent);
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(older.expiration, Some(LifecycleDue::At(at)));
        assert!(markers.removes_delete_markers && !markers.is_narrowed && markers.expiration.is_none());
        assert!(sized.is_narrowed && sized.prefix.is_empty());
    }

    #[test]
    fn a_rule_that_may_or_may_not_be_in_force_is_an_error() {
        let path = "LifecycleConfiguration/Rule".to_owned();
        assert_eq!(read("<Rule><ID>a</ID></Rule>"), Err(XmlError::Missing { path, element: "Status" }));
        assert_eq!(read(""), Ok(Vec::new()));
    }
}
