//! What a client of the bucket makes of attempts: retries that hide nothing, as the trait asks for.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::backend::{
    Answer, BackendError, Deletion, ETag, Fault, ObjectBackend, ObjectInfo, ObjectKey, Page, Put,
    PutCondition, PutNew, PutOutcome, Validity,
};

use super::{Attempt, Net, Op, Reply};
use crate::executor::Process;

/// Attempts of a request; of a put of a chunk the last one is unconditional (R3).
const ATTEMPTS: u32 = 3;

/// The bucket as one process sees it. On a server that does not heed conditions it sends none, as a client does that was told so by
/// a probe (`Quirk::NoIfNoneMatch` and `Quirk::NoIfMatch`).
pub(crate) struct SimBackend {
    net: Arc<Net>,
    process: Process,
}

impl SimBackend {
    pub(crate) fn new(net: Arc<Net>, process: Process) -> Self {
        Self { net, process }
    }

    /// Sends a request until it is answered; also returns whether an earlier attempt was not.
    async fn send(&self, ops: impl Fn(u32) -> Op) -> Result<(Reply, bool), BackendError> {
        let mut is_unclear = false;
        let mut attempt = 0;
        loop {
            let op = ops(attempt);
            let is_write = op.kind().is_write();
            attempt += 1;
            let error = match self.net.attempt(self.process, op).await {
                Attempt::Answered(reply) => return Ok((reply, is_unclear)),
                Attempt::Refused(error) => error,
                Attempt::Unanswered => self.net.error(&ops(attempt - 1), Fault::Unavailable, is_write),
            };
            is_unclear |= error.is_unclear;
            if attempt == ATTEMPTS || error.fault == Fault::Expired || !error.fault.is_transient() {
                return Err(BackendError { is_unclear, ..error });
            }
        }
    }
}

/// Takes the answer of the kind that was asked for.
macro_rules! answer {
    ($sent:expr, $kind:ident) => {
        match $sent {
            (Reply::$kind(answer), is_unclear) => (answer, is_unclear),
            _ => unreachable!("a request is answered in kind"),
        }
    };
}

impl ObjectBackend for SimBackend {
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        let condition = if self.net.heeds_conditions() { put.condition } else { PutCondition::Always };
        let put = Put { condition, ..put };
        let sent = self.send(|_| Op::Put(put.clone())).await?;
        let (answer, is_unclear) = answer!(sent, Put);
        Ok(Answer { is_unclear, ..answer })
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        let put = |attempt| {
            let is_plain = attempt + 1 == ATTEMPTS || !self.net.heeds_conditions();
            let condition = if is_plain { PutCondition::Always } else { PutCondition::IfAbsent };
            Op::Put(Put { key: key.clone(), content: content.clone(), condition, validity: None })
        };
        match self.send(put).await {
            Ok(sent) => {
                let (answer, is_unclear) = answer!(sent, Put);
                let answer = Answer { is_unclear, ..answer };
                Ok(answer.map(|outcome| match outcome {
                    PutOutcome::Stored(tag) => PutNew::Written(tag),
                    PutOutcome::ConditionFailed => PutNew::AlreadyThere,
                }))
            }
            Err(error) if error.is_unclear => {
                // R3: a HEAD decides.
                match self.net.attempt(self.process, Op::Head(key.clone())).await {
                    Attempt::Answered(Reply::Head(answer)) if answer.value.is_some() => {
                        Ok(Answer { is_unclear: true, ..answer.map(|_| PutNew::AlreadyThere) })
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        Some(ETag(Digest::of(content).to_string()))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        Ok(answer!(self.send(|_| Op::Get(key.clone())).await?, Get).0)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        Ok(answer!(self.send(|_| Op::Head(key.clone())).await?, Head).0)
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        let sent = self.send(|_| Op::Copy(from.clone(), to.clone())).await?;
        let (answer, is_unclear) = answer!(sent, Copy);
        Ok(Answer { is_unclear, ..answer })
    }

    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        let sent = self.send(|_| Op::Delete(keys.to_vec(), validity)).await?;
        let (mut answer, is_unclear) = answer!(sent, Delete);
        answer.value.is_unclear |= is_unclear;
        Ok(Answer { is_unclear, ..answer })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        let sent = self.send(|_| Op::List(prefix.to_owned(), after.map(str::to_owned))).await?;
        Ok(answer!(sent, List).0)
    }
}

impl std::fmt::Debug for SimBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimBackend").field("process", &self.process).finish_non_exhaustive()
    }
}
