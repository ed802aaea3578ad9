//! A prefix of a bucket on an S3 server.

mod failure;
mod listing;
mod subject;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coldkeep_s3_client::ops::{
    ContinuationToken, CopyObject, DeleteReport, DeleteTarget, HeadBucket, ListObjectsV2, ListedObject,
};
use coldkeep_s3_client::{
    CallOptions, Client, DefaultTransport, GetObject, HeadObject, ObjectMeta, PutObject, Quirk, RequestError,
    RetryPolicy, Signing,
};
use coldkeep_s3_client::{ObjectKey as FullKey, PutNew as ClientPutNew, transport::Transport};
use md5::{Digest as _, Md5};

use self::failure::store_time;
use self::subject::Subject;
use super::{
    Answer, BackendError, Deletion, ETag, EntryPage, InvalidKey, ObjectBackend, ObjectInfo, ObjectKey, Page,
    Put, PutCondition, PutNew, PutOutcome, Validity,
};
use crate::blob::BLOB_ENCODED_BYTES_MAX;
use crate::switch::is_off;
use crate::time::StoreTime;

/// Longest object that is read unless told otherwise, chunks aside: 1 GiB. The index of an 8 TiB image has 64 MiB.
const OBJECT_BYTES_MAX: u64 = 1 << 30;

/// Media type of what is written (spec `s3-backend.md` §4).
const CONTENT_TYPE: &str = "application/octet-stream";

/// How the server is kept from taking a request after its [`Validity`] (R9, R19). A probe of the server finds out which
/// of them it enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestBound {
    /// Requests are presigned and expire when their validity does.
    Presigned,
    /// Requests are signed in their headers at the start of their validity; the server takes them for its own window, 15
    /// minutes on S3, whatever [`Validity::lasts`] says. So that has to be no less than the window.
    SignedHeaders,
}

/// The objects below `NAME/` in a bucket on an S3 server.
///
/// Every retry is the client's, which tells of each attempt without an answer; that is passed on in
/// [`Answer::is_unclear`], [`Deletion::is_unclear`] and [`BackendError::is_unclear`]. A request with a [`Validity`] has
/// all its attempts signed alike, one without has each signed afresh.
///
/// On a server without `If-Match` ([`Quirk::NoIfMatch`]) a put with [`PutCondition::IfMatch`] is a plain put, on one
/// without `If-None-Match` ([`Quirk::NoIfNoneMatch`]) one with [`PutCondition::IfAbsent`]: callers read back what they
/// must be sure of (R10). A server whose answers bear no `Date` is refused with
/// [`Fault::BadAnswer`](super::Fault::BadAnswer): nothing could end limbo there.
pub struct S3Backend<T: Transport = DefaultTransport> {
    client: Client<T>,
    /// Empty, or with a slash at its end.
    prefix: String,
    bound: RequestBound,
    has_md5_tags: bool,
    object_bytes_max: u64,
}

impl<T: Transport> S3Backend<T> {
    /// Takes the objects below `name/`; with an empty name those of the whole bucket.
    ///
    /// # Errors
    /// [`InvalidKey`] if the name cannot begin a key.
    pub fn new(client: Client<T>, name: &str, bound: RequestBound) -> Result<Self, InvalidKey> {
        let prefix = if name.is_empty() { String::new() } else { format!("{}/", ObjectKey::new(name)?) };
        Ok(Self { client, prefix, bound, has_md5_tags: true, object_bytes_max: OBJECT_BYTES_MAX })
    }

    /// Says that the server's `ETag`s are not the MD5s of contents, as is so with encryption by keys of a key service: then
    /// [`ObjectBackend::tag_of`] knows none.
    #[must_use]
    pub fn without_md5_tags(mut self) -> Self {
        self.has_md5_tags = false;
        self
    }

    /// Sets the length of the longest object to read, chunks aside, which have their own bound. 1 GiB by default.
    #[must_use]
    pub fn with_object_bytes_max(mut self, bytes: u64) -> Self {
        self.object_bytes_max = bytes;
        self
    }

    /// Returns the client, with its statistics.
    pub fn client(&self) -> &Client<T> {
        &self.client
    }

    fn subject(&self, action: &'static str, key: &str) -> Subject {
        Subject { action, key: format!("{}{key}", self.prefix), validity: None }
    }

    fn full_key(&self, key: &ObjectKey, subject: &Subject) -> Result<FullKey, BackendError> {
        FullKey::new(format!("{}{key}", self.prefix)).map_err(|error| subject.invalid(error))
    }

    /// Returns how a request with this validity is signed.
    fn options(&self, validity: Option<Validity>) -> CallOptions {
        let Some(Validity { signed_at, lasts }) = validity else { return CallOptions::new() };
        // Signatures know whole seconds. Both are cut, so that the request expires no later than it may.
        let signed_at = system_time(signed_at);
        CallOptions::new().with_signing(match self.bound {
            RequestBound::Presigned => {
                Signing::Presigned { signed_at, expires_in: Duration::from_secs(lasts.as_secs()) }
            }
            RequestBound::SignedHeaders => Signing::FixedHeaders { signed_at },
        })
    }

    /// Returns what must hold for a put, as far as the server can be asked.
    fn condition(&self, condition: PutCondition) -> coldkeep_s3_client::PutCondition {
        use coldkeep_s3_client::PutCondition as Theirs;
        match condition {
            PutCondition::IfMatch(_) if self.client.config().quirks().has(Quirk::NoIfMatch) => Theirs::Always,
            PutCondition::IfMatch(tag) => Theirs::IfMatch(coldkeep_s3_client::ETag::new(&tag.0)),
            PutCondition::IfAbsent => Theirs::IfAbsent,
            PutCondition::Always => Theirs::Always,
        }
    }

    /// Makes sure that it is the object that is missing, and not the bucket with all that is in it: an answer 404 without
    /// a code, as HEAD gets it, does not tell.
    async fn check_missing(
        &self,
        error: &RequestError,
        subject: &Subject,
    ) -> Result<StoreTime, BackendError> {
        if error.service_error().is_some_and(|refused| refused.sent_code().is_some()) {
            return subject.date(error.date());
        }
        let reply = self.client.send(&HeadBucket::new()).await.map_err(|error| subject.failed(error))?;
        subject.date(reply.date)
    }

    /// Returns what is there after a put that ended without an answer (R3: a HEAD decides).
    async fn after_unclear_put(&self, key: &FullKey) -> Option<SystemTime> {
        // Once: the put has had its retries, and if the server is down its caller is to know soon.
        let once = CallOptions::new().with_retry(RetryPolicy::never());
        self.client.send_with(&HeadObject::new(key.clone()), &once).await.ok()?.date
    }

    /// Returns the request for a page, and what it is about.
    fn listing(&self, prefix: &str, after: Option<&str>) -> (ListObjectsV2, Subject) {
        let subject = self.subject("list", prefix);
        let op = ListObjectsV2::new().with_prefix(&subject.key);
        let op = match after {
            Some(token) => op.with_token(ContinuationToken::new(token)),
            None => op,
        };
        (op, subject)
    }

    /// Sums up what became of the keys of a batch.
    fn deletion(&self, report: DeleteReport, is_unclear: bool) -> Deletion {
        let is_unclear = is_unclear || !report.unreported.is_empty();
        let refused = report.failed.into_iter().map(|failed| (failed.target, failed.error.to_string()));
        // Not sent because the validity was over, sent without an answer, or passed over by the server: none of them counts
        // as deleted (I5: the next run comes back to it).
        let silent =
            report.unreported.into_iter().map(|target| (target, "it was not reported on".to_owned()));
        let own =
            |(target, reason): (DeleteTarget, String)| Some((own_key(&self.prefix, &target.key)?, reason));
        Deletion { refused: refused.chain(silent).filter_map(own).collect(), is_unclear }
    }
}

/// Returns the key below the prefix; `None` for what is no key of a store, such as the placeholders that some tools make for
/// folders.
fn own_key(prefix: &str, key: &FullKey) -> Option<ObjectKey> {
    ObjectKey::new(key.as_str().strip_prefix(prefix)?).ok()
}

fn info(key: ObjectKey, meta: &ObjectMeta, len: u64, date: StoreTime) -> ObjectInfo {
    let modified_at = meta.last_modified.map_or(date, store_time);
    ObjectInfo { key, len, etag: tag(meta.etag.as_ref()), modified_at }
}

fn tag(etag: Option<&coldkeep_s3_client::ETag>) -> ETag {
    ETag(etag.map(ToString::to_string).unwrap_or_default())
}

fn system_time(time: StoreTime) -> SystemTime {
    let seconds = Duration::from_secs(time.unix_seconds().unsigned_abs());
    if time.unix_seconds() < 0 { UNIX_EPOCH - seconds } else { UNIX_EPOCH + seconds }
}

impl<T: Transport + 'static> ObjectBackend for S3Backend<T> {
    /// As the trait says. A condition that does not hold after an attempt without an answer is an unclear answer: it may
    /// be the put's own object that is in the way.
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        let subject = self.subject("put", put.key.as_str()).with_validity(put.validity);
        let condition = self.condition(put.condition);
        let is_conditional = !matches!(condition, coldkeep_s3_client::PutCondition::Always);
        let op = PutObject::new(self.full_key(&put.key, &subject)?, put.content)
            .with_content_type(CONTENT_TYPE)
            .with_condition(condition);
        match self.client.send_with(&op, &self.options(put.validity)).await {
            Ok(reply) => subject
                .answer(reply)
                .map(|answer| answer.map(|put| PutOutcome::Stored(tag(put.etag.as_ref())))),
            // Without a condition it is a refusal like others: nothing was written (I4).
            Err(error) if is_conditional && error.is_precondition_failed() => {
                let is_unclear = failure::is_unclear(&error);
                let date = subject.date(error.date())?;
                Ok(Answer { value: PutOutcome::ConditionFailed, date, is_unclear })
            }
            Err(error) => Err(subject.failed(error)),
        }
    }

    /// As the trait says. If the put ends without an answer, a HEAD decides: an object that is there is reported as
    /// [`PutNew::AlreadyThere`], whosever it is, so that the caller checks it.
    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        let subject = self.subject("put", key.as_str());
        let full_key = self.full_key(key, &subject)?;
        let op = PutObject::new(full_key.clone(), content).with_content_type(CONTENT_TYPE);
        let error = match self.client.put_new_or_overwrite(&op, &CallOptions::new()).await {
            Ok(reply) => {
                return Ok(subject.answer(reply)?.map(|put| match put {
                    ClientPutNew::AlreadyThere => PutNew::AlreadyThere,
                    put => PutNew::Written(tag(put.stored().and_then(|stored| stored.etag.as_ref()))),
                }));
            }
            Err(error) => error,
        };
        if !is_off("r3")
            && failure::is_unclear(&error)
            && let Some(date) = self.after_unclear_put(&full_key).await
        {
            return Ok(Answer { value: PutNew::AlreadyThere, date: store_time(date), is_unclear: true });
        }
        Err(subject.failed(error))
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        let hex = |byte: &u8| format!("{byte:02x}");
        self.has_md5_tags.then(|| ETag(Md5::digest(content).iter().map(hex).collect()))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        let subject = self.subject("read", key.as_str());
        let is_chunk = key.as_str().starts_with(".chunks/");
        let bytes_max = if is_chunk { BLOB_ENCODED_BYTES_MAX as u64 } else { self.object_bytes_max };
        let op = GetObject::new(self.full_key(key, &subject)?).with_bytes_max(bytes_max);
        match self.client.send(&op).await {
            Ok(reply) => {
                let answer = subject.answer(reply)?;
                let (date, len) = (answer.date, answer.value.content.len() as u64);
                let info = info(key.clone(), &answer.value.meta, len, date);
                Ok(answer.map(|object| Some((info, object.content))))
            }
            Err(error) if error.is_not_found() => {
                Ok(Answer::new(None, self.check_missing(&error, &subject).await?))
            }
            Err(error) => Err(subject.failed(error)),
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        let subject = self.subject("look up", key.as_str());
        match self.client.send(&HeadObject::new(self.full_key(key, &subject)?)).await {
            Ok(reply) => {
                let answer = subject.answer(reply)?;
                let len = answer.value.size.ok_or_else(|| subject.nonsense("the answer has no length"))?;
                let date = answer.date;
                Ok(answer.map(|meta| Some(info(key.clone(), &meta, len, date))))
            }
            Err(error) if error.is_not_found() => {
                Ok(Answer::new(None, self.check_missing(&error, &subject).await?))
            }
            Err(error) => Err(subject.failed(error)),
        }
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        let subject = self.subject("copy", from.as_str());
        let (source, target) = (self.full_key(from, &subject)?, self.full_key(to, &subject)?);
        let op = CopyObject::new(self.client.config().bucket().clone(), source, target);
        match self.client.send(&op).await {
            Ok(reply) => Ok(subject.answer(reply)?.map(|_| true)),
            Err(error) if error.is_not_found() => {
                let is_unclear = failure::is_unclear(&error);
                Ok(Answer { value: false, date: self.check_missing(&error, &subject).await?, is_unclear })
            }
            Err(error) => Err(subject.failed(error)),
        }
    }

    /// As the trait says, for 1 to [`DELETE_KEYS_MAX`](super::DELETE_KEYS_MAX) keys. Keys that the server did not report on
    /// stand among the refused, and the deletion is unclear.
    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        let first = keys.first().map_or("", ObjectKey::as_str);
        let subject = self.subject("delete", first).with_validity(Some(validity));
        let target = |key| self.full_key(key, &subject).map(DeleteTarget::new);
        let targets = keys.iter().map(target).collect::<Result<Vec<_>, _>>()?;
        match self.client.delete_batch(&targets, &self.options(Some(validity))).await {
            Ok(reply) => {
                let answer = subject.answer(reply)?;
                let (date, is_unclear) = (answer.date, answer.is_unclear);
                subject.check_in_time(&answer.value, date)?;
                Ok(answer.map(|report| self.deletion(report, is_unclear)))
            }
            Err(error) => Err(subject.failed(error)),
        }
    }

    /// As the trait says; `after` is the server's continuation token. A page with keys outside of the prefix is an error.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        let (op, subject) = self.listing(prefix, after);
        let own = self.prefix.clone();
        let read = move |object: &ListedObject, date| listing::info(&own, object, date);
        let answer = listing::fetch(self.client.clone(), op, subject, read).await?;
        Ok(answer.map(|listing::Read { mut objects, next, .. }| {
            objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            Page { objects, next }
        }))
    }

    async fn list_entries(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Answer<EntryPage>, BackendError> {
        let (op, subject) = self.listing(prefix, after);
        let own = self.prefix.clone();
        let read = move |object: &ListedObject, date| listing::entry(&own, object, date);
        let answer = listing::fetch(self.client.clone(), op, subject, read).await?;
        Ok(answer.map(|listing::Read { objects: mut entries, ends, next }| {
            entries.sort_unstable_by_key(|entry| entry.name);
            EntryPage { entries, ends, next }
        }))
    }

    /// As the trait says, by the names of the S3 API.
    fn request_counts(&self) -> BTreeMap<String, u64> {
        let operations = self.client.stats().operations.into_iter();
        operations.map(|(operation, stats)| (operation.to_string(), stats.attempts)).collect()
    }
}

impl<T: Transport> fmt::Debug for S3Backend<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Backend")
            .field("bucket", self.client.config().bucket())
            .field("prefix", &self.prefix)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
