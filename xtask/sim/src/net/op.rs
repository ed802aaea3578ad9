//! Requests and answers as values.

use std::fmt;

use bytes::Bytes;
use coldkeep_chunk_store::backend::{
    Answer, BackendError, Deletion, ObjectBackend as _, ObjectInfo, ObjectKey, Page, Put, PutCondition,
    PutOutcome, Validity,
};
use coldkeep_chunk_store::blob::{BlobKind, ChunkClass};
use coldkeep_chunk_store::testing::MemoryBackend;
use futures_util::FutureExt as _;

use super::Mishap;

/// The object that holds the bucket's token (R10).
const GENERATION: &str = ".generation";

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(Put),
    Get(ObjectKey),
    Head(ObjectKey),
    Copy(ObjectKey, ObjectKey),
    Delete(Vec<ObjectKey>, Validity),
    List(String, Option<String>),
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Of a chunk.
    PutChunk,
    /// Of anything else.
    Put,
    Get,
    Head,
    Copy,
    DeleteChunks,
    Delete,
    List,
}

impl Kind {
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::PutChunk | Self::Put | Self::Copy | Self::DeleteChunks | Self::Delete)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Put(Answer<PutOutcome>),
    Get(Answer<Option<(ObjectInfo, Bytes)>>),
    Head(Answer<Option<ObjectInfo>>),
    Copy(Answer<bool>),
    Delete(Answer<Deletion>),
    List(Answer<Page>),
}

impl Reply {
    pub(super) fn has_stored(&self) -> bool {
        matches!(self, Self::Put(answer) if matches!(answer.value, PutOutcome::Stored(_)))
    }
}

pub(super) fn is_chunk(key: &str) -> bool {
    key.starts_with(".chunks/")
}

impl Op {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Put(put) if is_chunk(put.key.as_str()) => Kind::PutChunk,
            Self::Put(_) => Kind::Put,
            Self::Get(_) => Kind::Get,
            Self::Head(_) => Kind::Head,
            Self::Copy(..) => Kind::Copy,
            Self::Delete(..) if is_chunk(self.key()) => Kind::DeleteChunks,
            Self::Delete(..) => Kind::Delete,
            Self::List(..) => Kind::List,
        }
    }

    pub(super) fn key(&self) -> &str {
        match self {
            Self::Put(put) => put.key.as_str(),
            Self::Get(key) | Self::Head(key) | Self::Copy(key, _) => key.as_str(),
            Self::Delete(keys, _) => keys.first().map_or("", ObjectKey::as_str),
            Self::List(prefix, _) => prefix,
        }
    }

    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Get(_) => "read",
            Self::Head(_) => "look up",
            Self::Copy(..) => "copy",
            Self::Delete(..) => "delete",
            Self::List(..) => "list",
        }
    }

    pub(super) fn is_new_token(&self) -> bool {
        matches!(self, Self::Put(put) if put.key.as_str() == GENERATION)
    }

    /// Returns whether it reads the token.
    pub(super) fn is_token_read(&self) -> bool {
        matches!(self, Self::Get(key) if key.as_str() == GENERATION)
    }

    /// Returns whether it is about an object of a snapshot or of a group.
    pub(super) fn is_of_snapshot(&self) -> bool {
        self.key().starts_with(".cnt/")
    }

    /// Returns whether it puts a chunk of this class.
    pub(super) fn is_put_of(&self, class: ChunkClass) -> bool {
        let Self::Put(put) = self else { return false };
        is_chunk(put.key.as_str())
            && BlobKind::from_magic(&put.content).is_some_and(|kind| kind.class() == class)
    }

    /// Returns whether this can happen to it.
    pub(super) fn can_meet(&self, mishap: Mishap) -> bool {
        match mishap {
            Mishap::Late | Mishap::Fail { has_effect: true } => self.kind().is_write(),
            Mishap::Conflict => matches!(self, Self::Put(put) if put.condition != PutCondition::Always),
            Mishap::RefuseKeys(_) => matches!(self, Self::Delete(..)),
            Mishap::Truncate => matches!(self, Self::Get(_)),
            Mishap::Lose | Mishap::Throttle | Mishap::Fail { has_effect: false } => true,
        }
    }
}

/// Short enough to read: the digest of a chunk is cut.
pub(super) fn short(key: &str) -> &str {
    if is_chunk(key) && key.len() > 21 { &key[13..21] } else { key }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(put) => {
                let condition = match put.condition {
                    PutCondition::Always => "",
                    PutCondition::IfAbsent => " if absent",
                    PutCondition::IfMatch(_) => " if unchanged",
                };
                let class = if self.is_put_of(ChunkClass::Encrypted) { " (encrypted)" } else { "" };
                write!(f, "put {}{class}{condition}", short(put.key.as_str()))
            }
            Self::Delete(keys, validity) => {
                let names: Vec<&str> = keys.iter().map(|key| short(key.as_str())).collect();
                write!(f, "delete {} (valid to {})", names.join(" "), validity.expires_at().unix_seconds())
            }
            Self::List(prefix, after) => {
                write!(f, "list {prefix}* after {}", after.as_deref().unwrap_or("-"))
            }
            Self::Copy(from, to) => write!(f, "copy {} to {}", short(from.as_str()), short(to.as_str())),
            op => write!(f, "{} {}", op.action(), short(op.key())),
        }
    }
}

/// Has a request take effect on the bucket; the keys of a delete whose bit is set in `refuses` are refused. Where conditions are not
/// heeded, a put that bears one overwrites whatever is there.
pub(super) fn apply(
    bucket: &MemoryBackend,
    op: &Op,
    refuses: u64,
    heeds_conditions: bool,
) -> Result<Reply, BackendError> {
    let done = "invariant: a bucket in memory never waits";
    Ok(match op {
        Op::Put(put) => {
            let mut put = put.clone();
            if !heeds_conditions {
                put.condition = PutCondition::Always;
            }
            Reply::Put(bucket.put(put).now_or_never().expect(done)?)
        }
        Op::Get(key) => Reply::Get(bucket.get(key).now_or_never().expect(done)?),
        Op::Head(key) => Reply::Head(bucket.head(key).now_or_never().expect(done)?),
        Op::Copy(from, to) => Reply::Copy(bucket.copy(from, to).now_or_never().expect(done)?),
        Op::List(prefix, after) => {
            Reply::List(bucket.list(prefix, after.as_deref()).now_or_never().expect(done)?)
        }
        Op::Delete(keys, validity) => {
            let is_refused = |position: usize| position < 64 && refuses >> position & 1 == 1;
            let (refused, deleted): (Vec<_>, Vec<_>) =
                keys.iter().cloned().enumerate().partition(|(position, _)| is_refused(*position));
            let deleted: Vec<ObjectKey> = deleted.into_iter().map(|(_, key)| key).collect();
            let answer = bucket.delete(&deleted, *validity).now_or_never().expect(done)?;
            let refused = refused.into_iter().map(|(_, key)| (key, "AccessDenied".to_owned())).collect();
            Reply::Delete(answer.map(|deletion| Deletion { refused, ..deletion }))
        }
    })
}

/// Returns whether it is a listing of some chunks that came upon none: a rebuild makes hundreds of them.
pub(super) fn is_empty_list(op: &Op, applied: &Result<Reply, BackendError>) -> bool {
    let is_empty = matches!(applied, Ok(Reply::List(answer)) if answer.value.objects.is_empty());
    is_empty && is_chunk(op.key())
}

/// Says in a word or two how it went.
pub(super) fn outcome(applied: &Result<Reply, BackendError>) -> String {
    match applied {
        Err(error) => error.fault.to_string(),
        Ok(Reply::Put(answer)) => match answer.value {
            PutOutcome::Stored(_) => "stored".to_owned(),
            PutOutcome::ConditionFailed => "condition failed".to_owned(),
        },
        Ok(Reply::Get(answer)) => found(answer.value.is_some()),
        Ok(Reply::Head(answer)) => found(answer.value.is_some()),
        Ok(Reply::Copy(answer)) => found(answer.value),
        Ok(Reply::Delete(answer)) if answer.value.refused.is_empty() => "deleted".to_owned(),
        Ok(Reply::Delete(answer)) => format!("{} refused", answer.value.refused.len()),
        Ok(Reply::List(answer)) => {
            let keys = answer.value.objects.iter().map(|object| short(object.key.as_str()));
            format!("[{}]", keys.collect::<Vec<_>>().join(" "))
        }
    }
}

fn found(is_there: bool) -> String {
    if is_there { "found".to_owned() } else { "not there".to_owned() }
}
