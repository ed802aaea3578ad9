//! DeleteObjects.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, header};

use super::{Answer, Integrity, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::config::Quirks;
use crate::error::{ErrorCode, InvalidRequest, Operation, ServiceError};
use crate::key::ObjectKey;
use crate::xml::{self, NotInXml, Reader, Writer, XmlError};

/// Most keys of one request (S3 API reference, `API_DeleteObjects`). Some servers take more; none has to.
pub const DELETE_KEYS_MAX: usize = 1000;

/// Most bytes of an answer: 1,000 keys, every character of them escaped, with an error message each.
const REPORT_BYTES_MAX: u64 = 16 << 20;

/// Deletes up to 1,000 objects in one request, each on its own: some may go and others stay.
///
/// Source: S3 API reference, [DeleteObjects](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html). `Content-MD5` goes with
/// it always, because one server refuses it without (`s3-servers.md` §3, point 13). A key with a character that XML cannot express makes
/// the request [invalid](InvalidRequest::Xml): [`is_in_xml`](DeleteTarget::is_in_xml) tells.
#[derive(Debug, Clone)]
pub struct DeleteObjects {
    targets: Vec<DeleteTarget>,
    is_quiet: bool,
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct DeleteTarget {
    /// Its key.
    pub key: ObjectKey,
    /// Which of its versions; without one, the current object, which in a bucket with versioning is only hidden.
    pub version_id: Option<String>,
}

/// What became of each object of a request; each stands in one of the three lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Those that are gone, also if they were not there.
    pub deleted: Vec<DeletedObject>,
    /// Those that the service refused to delete.
    pub failed: Vec<FailedDelete>,
    /// Those of which the answer says nothing although it should: whether they are gone is not known. Never any in quiet mode, where
    /// silence means success.
    pub unreported: Vec<DeleteTarget>,
}

/// An object that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedObject {
    /// What was asked for.
    pub target: DeleteTarget,
    /// In a bucket with versioning: version of the delete marker that now hides the object, or that was itself deleted.
    pub delete_marker_version_id: Option<String>,
}

/// An object that was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedDelete {
    /// What was asked for.
    pub target: DeleteTarget,
    /// The service's reason, with the status of the whole answer.
    pub error: ServiceError,
}

impl DeleteObjects {
    /// Deletes these, and has the service report on each.
    pub fn new(targets: impl IntoIterator<Item = impl Into<DeleteTarget>>) -> DeleteObjects {
        DeleteObjects { targets: targets.into_iter().map(Into::into).collect(), is_quiet: false }
    }

    /// Has the service report failures only: a shorter answer, in which silence means success.
    #[must_use]
    pub fn quiet(mut self) -> DeleteObjects {
        self.is_quiet = true;
        self
    }
}

impl sealed::Sealed for DeleteObjects {}

impl S3Operation for DeleteObjects {
    type Output = DeleteReport;

    const OPERATION: Operation = Operation::DeleteObjects;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        if !(1..=DELETE_KEYS_MAX).contains(&self.targets.len()) {
            let (name, value) = ("the number of objects to delete", self.targets.len() as u64);
            return Err(InvalidRequest::OutOfRange { name, value, allowed: "1 to 1000" });
        }
        let mut parts = RequestParts::new(Method::POST, Target::Bucket);
        parts.query = parts.query.with_flag("delete");
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        parts.payload = body(&self.targets, self.is_quiet).map_err(|_| InvalidRequest::Xml)?.into();
        parts.integrity = Integrity::Md5;
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<DeleteReport, NoOutput> {
        document::output(parse(&answer.body, &self.targets, self.is_quiet))
    }

    fn body_bytes_max(&self) -> u64 {
        REPORT_BYTES_MAX
    }

    fn not_found(&self) -> ErrorCode {
        ErrorCode::NoSuchBucket
    }
}

impl DeleteTarget {
    /// Names the current object of a key.
    pub fn new(key: ObjectKey) -> DeleteTarget {
        DeleteTarget { key, version_id: None }
    }

    /// Names one version of it, to be deleted for good.
    #[must_use]
    pub fn with_version(mut self, version_id: &str) -> DeleteTarget {
        self.version_id = Some(version_id.to_owned());
        self
    }

    /// Returns whether XML can express it. If not, only [`DeleteObject`](super::DeleteObject) can delete it.
    pub fn is_in_xml(&self) -> bool {
        xml::is_writable(self.key.as_str()) && self.version_id.as_deref().is_none_or(xml::is_writable)
    }
}

impl From<ObjectKey> for DeleteTarget {
    fn from(key: ObjectKey) -> DeleteTarget {
        DeleteTarget::new(key)
    }
}

fn body(targets: &[DeleteTarget], is_quiet: bool) -> Result<String, NotInXml> {
    Writer::document("Delete", |writer| {
        if is_quiet {
            writer.plain("Quiet", true)?;
        }
        for target in targets {
            writer.element("Object", |writer| {
                writer.text("Key", target.key.as_str())?;
                target.version_id.as_deref().map_or(Ok(()), |version_id| writer.text("VersionId", version_id))
            })?;
        }
        Ok(())
    })
}

/// Reads the answer to a request for `targets`. Servers that ignore quiet mode are understood all the same.
///
/// # Errors
/// The document is broken, or reports a failure for a key that was not asked for: then one of `targets` failed, and nobody knows which.
pub(crate) fn parse(body: &[u8], targets: &[DeleteTarget], is_quiet: bool) -> Result<DeleteReport, XmlError> {
    let mut lookup = Lookup::new(targets);
    xml::parse(body, "DeleteResult", |reader| {
        while let Some(name) = reader.next_child()? {
            match name {
                "Deleted" => {
                    let entry = Entry::read(reader)?;
                    // An answer about something else tells nothing about `targets`.
                    if let Some(state) = lookup.find(&entry) {
                        state.add_success(entry);
                    }
                }
                "Error" => {
                    let entry = Entry::read(reader)?;
                    let Some(state) = lookup.find(&entry) else {
                        return Err(reader.invalid("a key of the request", entry.key.as_str()));
                    };
                    // What is not there is gone.
                    if entry.code.as_deref() == Some("NoSuchKey") {
                        state.add_success(entry);
                    } else {
                        *state = State::Failed(entry.into_error());
                    }
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    })?;
    Ok(lookup.into_report(is_quiet))
}

/// A `<Deleted>` or an `<Error>`.
struct Entry {
    key: ObjectKey,
    version_id: Option<String>,
    delete_marker_version_id: Option<String>,
    code: Option<String>,
    message: String,
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Entry, XmlError> {
        let (mut key, mut version_id, mut delete_marker_version_id) = (None, None, None);
        let (mut code, mut message) = (None, String::new());
        while let Some(name) = reader.next_child()? {
            match name {
                "Key" => {
                    let text = reader.key()?;
                    reader.set(&mut key, text)?;
                }
                "VersionId" => version_id = reader.optional_word()?,
                "DeleteMarkerVersionId" => delete_marker_version_id = reader.optional_word()?,
                "Code" => code = reader.optional_word()?,
                "Message" => message = reader.word()?,
                _ => reader.skip()?,
            }
        }
        let key = key.ok_or_else(|| reader.missing("Key"))?;
        Ok(Entry { key, version_id, delete_marker_version_id, code, message })
    }

    fn into_error(self) -> ServiceError {
        // The answer as a whole is a success; 200 keeps the status from standing in for a missing code.
        ServiceError::new(200, self.code.as_deref(), &self.message, None)
    }
}

enum State {
    Unreported,
    Deleted { delete_marker_version_id: Option<String> },
    Failed(ServiceError),
}

impl State {
    fn add_success(&mut self, entry: Entry) {
        // Of two contradicting answers the failure counts.
        if !matches!(self, State::Failed(_)) {
            *self = State::Deleted { delete_marker_version_id: entry.delete_marker_version_id };
        }
    }
}

/// Finds the part of the request that a part of the answer is about.
struct Lookup<'t> {
    targets: &'t [DeleteTarget],
    states: Vec<State>,
    exact: BTreeMap<&'t DeleteTarget, usize>,
    /// The one target with this key; `None` where several versions of it are asked for.
    by_key: BTreeMap<&'t ObjectKey, Option<usize>>,
}

impl<'t> Lookup<'t> {
    fn new(targets: &'t [DeleteTarget]) -> Lookup<'t> {
        let (mut exact, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        for (idx, target) in targets.iter().enumerate() {
            if *exact.entry(target).or_insert(idx) == idx {
                by_key.entry(&target.key).and_modify(|only| *only = None).or_insert(Some(idx));
            }
        }
        let states = targets.iter().map(|_| State::Unreported).collect();
        Lookup { targets, states, exact, by_key }
    }

    fn find(&mut self, entry: &Entry) -> Option<&mut State> {
        let exact = DeleteTarget { key: entry.key.clone(), version_id: entry.version_id.clone() };
        // Not every server repeats the version, and some name one that was not asked for.
        let idx =
            self.exact.get(&exact).copied().or_else(|| self.by_key.get(&entry.key).copied().flatten())?;
        self.states.get_mut(idx)
    }

    fn into_report(self, is_quiet: bool) -> DeleteReport {
        let mut report = DeleteReport::default();
        for target in self.targets {
            // A target that is there twice shares one state.
            let state = self.exact.get(target).map_or(&State::Unreported, |idx| &self.states[*idx]);
            let target = target.clone();
            match state {
                State::Deleted { delete_marker_version_id } => {
                    let delete_marker_version_id = delete_marker_version_id.clone();
                    report.deleted.push(DeletedObject { target, delete_marker_version_id });
                }
                State::Unreported if is_quiet => {
                    report.deleted.push(DeletedObject { target, delete_marker_version_id: None });
                }
                State::Failed(error) => report.failed.push(FailedDelete { target, error: error.clone() }),
                State::Unreported => report.unreported.push(target),
            }
        }
        report
    }
}

#[cfg(test)]
mod tests;
