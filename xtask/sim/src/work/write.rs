//! A backup: a session that inserts and references chunks, and commits or not.

use std::sync::Arc;

use coldkeep_chunk_store::bucket::{PathClaim, PathError};
use coldkeep_chunk_store::testing::MemoryDir;
use coldkeep_chunk_store::{CacheUse, InsertError, Session, TouchError};
use futures_util::future::join_all;

use super::{Context, chain, index, key};
use crate::ledger::{Entry, index_key, manifest_key};
use crate::net::SimBackend;

type Claim = PathClaim<MemoryDir, SimBackend>;

/// What a session does with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Insert,
    /// Names it in its index because it knows it from before.
    Reference,
}

/// One chunk of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) number: usize,
    pub(crate) how: How,
}

/// How a session is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    /// Without trace but for its chunks.
    Abort,
    /// With its index in the bucket and no manifest.
    AbortLate,
}

/// What a session is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritePlan {
    /// The time of the snapshot, so to say.
    pub(crate) place: usize,
    pub(crate) cache: CacheUse,
    /// Whether it takes over all chunks of a committed snapshot, and of which.
    pub(crate) base: Option<usize>,
    pub(crate) uses: Vec<Use>,
    /// Whether all chunks are on their way at once.
    pub(crate) is_parallel: bool,
    pub(crate) end: End,
}

/// Makes one backup.
pub(crate) async fn write(context: Context, plan: WritePlan) {
    let path = format!(".cnt/host/a/{}", plan.place);
    match backup(&context, &plan, &path).await {
        Ok(what) => context.note(|| format!("the backup {path} {what}")),
        Err(why) => context.note(|| format!("the backup {path} fails: {why}")),
    }
}

async fn backup(context: &Context, plan: &WritePlan, path: &str) -> Result<&'static str, String> {
    let session = context.store.begin_session(plan.cache).await.map_err(|error| chain(&error))?;
    let session = Arc::new(session);
    let entry = context.ledger.open(&session, context.process);
    context.note(|| format!("the backup {path} begins"));
    let claim = context.store.claim(path).await.map_err(|error| chain(&error))?;
    let written = write_claimed(context, plan, (path, &claim), (&session, &entry)).await;
    let _ = claim.release().await;
    written
}

async fn write_claimed(
    context: &Context,
    plan: &WritePlan,
    (path, claim): (&str, &Claim),
    (session, entry): (&Arc<Session>, &Entry),
) -> Result<&'static str, String> {
    // A snapshot of this time exists, or what is left of one.
    let there = context.store.list_objects(&format!("{path}/")).await.map_err(|error| chain(&error))?;
    if there.iter().any(|object| object.key.as_str() == manifest_key(path)) {
        return Err("there is a snapshot already".to_owned());
    }
    let mut uses: Vec<Use> = base(context, plan).await?;
    uses.extend(&plan.uses);
    let used = uses.iter().map(|one| use_chunk(context, *one, (session, entry)));
    if plan.is_parallel {
        join_all(used).await.into_iter().collect::<Result<Vec<()>, String>>()?;
    } else {
        for one in used {
            one.await?;
        }
    }
    if plan.end == End::Abort {
        return Ok("is aborted");
    }
    let numbers: Vec<usize> = uses.iter().map(|one| one.number).collect();
    let index = index::encode(&numbers);
    claim.put_new(&key(&index_key(path)), index).await.map_err(|error| chain(&error))?;
    if plan.end == End::AbortLate {
        return Ok("is aborted after its index");
    }
    session.check_alive().map_err(|error| chain(&error))?;
    match commit(session, claim, path).await {
        Ok(()) => {
            context.ledger.commit(path, &numbers);
            Ok("is committed")
        }
        Err(why) => {
            let taken_back = take_back(claim, path).await;
            Err(format!("{why}; taken back: {}", taken_back.is_ok()))
        }
    }
}

/// Commits as a datastore does: the session is looked at before and after the manifest is there.
async fn commit(session: &Session, claim: &Claim, path: &str) -> Result<(), String> {
    let manifest = format!("manifest of {path}");
    claim.commit(&key(&manifest_key(path)), manifest.into()).await.map_err(|error| chain(&error))?;
    session.check_alive().map_err(|error| chain(&error))
}

/// Removes the manifest of a commit that is not acknowledged, and then the rest.
async fn take_back(claim: &Claim, path: &str) -> Result<(), PathError> {
    claim.delete(&[key(&manifest_key(path))]).await?;
    claim.delete(&[key(&index_key(path))]).await
}

/// Returns the chunks of the snapshot that the session builds on, as uses of its own.
async fn base(context: &Context, plan: &WritePlan) -> Result<Vec<Use>, String> {
    let Some((path, _)) = plan.base.and_then(|number| context.ledger.pick(number)) else {
        return Ok(Vec::new());
    };
    let found = context.store.read_object(&key(&index_key(&path))).await.map_err(|error| chain(&error))?;
    let numbers = found.and_then(|(_, content)| index::decode(&content)).ok_or("the base is gone")?;
    Ok(numbers.into_iter().map(|number| Use { number, how: How::Reference }).collect())
}

async fn use_chunk(
    context: &Context,
    Use { number, how }: Use,
    (session, entry): (&Arc<Session>, &Entry),
) -> Result<(), String> {
    let used = match how {
        How::Insert => {
            context.store.insert(session, context.chunks.checked(number)).await.map(drop).map_err(refused)
        }
        How::Reference => {
            let digest = context.chunks.digest(number);
            context.store.touch(session, &[digest]).await.map_err(missing)
        }
    };
    match used {
        Ok(()) => {
            context.note(|| format!("is told that chunk {number} is stored ({how:?})"));
            entry.tell(number);
            Ok(())
        }
        Err(why) => Err(format!("chunk {number} ({how:?}): {why}")),
    }
}

fn refused(error: InsertError) -> String {
    chain(&error)
}

fn missing(error: TouchError) -> String {
    chain(&error)
}
