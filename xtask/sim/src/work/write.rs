//! A backup: a session that inserts and references chunks, and commits or not.

use std::sync::Arc;

use coldkeep_chunk_store::{CacheUse, Session};
use futures_util::future::join_all;

use super::place::Place;
use super::{Context, chain, read_index};
use crate::chunks::{Form, Need, Stored};
use crate::ledger::{Entry, Snapshot};

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
    /// Of an insert.
    pub(crate) form: Form,
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
    let place = Place::of_new(context, path).await?;
    let written = write_there(context, plan, (path, &place), (&session, &entry)).await;
    place.release().await;
    written
}

async fn write_there(
    context: &Context,
    plan: &WritePlan,
    (path, place): (&str, &Place),
    (session, entry): (&Arc<Session>, &Entry),
) -> Result<&'static str, String> {
    let base = plan.base.and_then(|number| context.ledger.pick(number));
    let mut uses: Vec<Use> = uses_of(context, base.as_ref()).await?;
    uses.extend(&plan.uses);
    let used = uses.iter().map(|one| use_chunk(context, *one, base.as_ref(), (session, entry)));
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
    place.put_index(path, &numbers).await?;
    if plan.end == End::AbortLate {
        return Ok("is aborted after its index");
    }
    match commit(context, session, (path, place)).await {
        Ok(()) => {
            let needs = entry.needs(&numbers);
            context.ledger.commit(path, needs, |number| context.stored(number) == Stored::Rotten);
            Ok("is committed")
        }
        Err(why) => {
            let taken_back = place.remove(path).await;
            Err(format!("{why}; taken back: {}", taken_back.is_ok()))
        }
    }
}

/// Commits as a datastore does: the session is looked at before and after the manifest is there.
async fn commit(context: &Context, session: &Session, (path, place): (&str, &Place)) -> Result<(), String> {
    session.check_alive().map_err(|error| chain(&error))?;
    place.commit(context, path).await?;
    session.check_alive().map_err(|error| chain(&error))
}

/// Returns the chunks of the snapshot that the session builds on, as uses of its own.
async fn uses_of(context: &Context, base: Option<&(String, Snapshot)>) -> Result<Vec<Use>, String> {
    let Some((path, _)) = base else { return Ok(Vec::new()) };
    let numbers = read_index(context, path).await?.ok_or("the base is gone")?;
    Ok(numbers.into_iter().map(|number| Use { number, how: How::Reference, form: Form::Usual }).collect())
}

async fn use_chunk(
    context: &Context,
    one: Use,
    base: Option<&(String, Snapshot)>,
    (session, entry): (&Arc<Session>, &Entry),
) -> Result<(), String> {
    let Use { number, how, .. } = one;
    let used = match how {
        How::Insert => insert(context, one, session).await,
        How::Reference => {
            let touched = context.store.touch(session, context.chunks.digest(number)).await;
            touched.map_err(|error| chain(&error))
        }
    };
    match used {
        Ok(()) => {
            context.note(|| format!("is told that chunk {number} is stored ({how:?})"));
            let stored = context.stored(number);
            let is_honest = match how {
                How::Insert => is_kept_honest(context, one, stored),
                How::Reference => base.is_some_and(|base| is_owed(context, number, base, stored)),
            };
            entry.tell(Need { number, is_honest }, stored);
            Ok(())
        }
        Err(why) => Err(format!("chunk {number} ({how:?}): {why}")),
    }
}

/// Tells whether an insert is owed the content that the digest names. Whoever puts plain content gets that back (R2). Of encrypted
/// content the first one stays, whosever it is, where the server heeds conditions; else two uploads at once replace each other (R3).
fn is_kept_honest(context: &Context, Use { number, form, .. }: Use, stored: Stored) -> bool {
    match form {
        Form::Claim => false,
        _ if context.chunks.is_plain(number) => true,
        _ => stored == Stored::Honest && context.net.heeds_conditions(),
    }
}

/// Tells whether a reference is owed the content that the digest names: as much as the snapshot that the session builds on, which a
/// datastore does not prune meanwhile (R5). What no snapshot of its own names nobody may refer to (R17).
fn is_owed(context: &Context, number: usize, (path, base): &(String, Snapshot), stored: Stored) -> bool {
    let is_owed = base.needs.contains(&Need { number, is_honest: true });
    is_owed && context.ledger.is_committed(path, base) && stored != Stored::Claim
}

/// Inserts a chunk. What was bad before, and nobody had looked at since, must be good then (R3).
async fn insert(
    context: &Context,
    Use { number, form, .. }: Use,
    session: &Arc<Session>,
) -> Result<(), String> {
    let inserting = context.ledger.begin_insert(context.process, number);
    // A marker would stand for the object, and other inserts place one.
    let must_look = inserting.is_alone && !context.has_marker(number);
    let before = (context.stored(number), context.ledger.rots(number));
    let inserted = context.store.insert(session, context.chunks.checked(number, form)).await;
    inserted.map_err(|error| chain(&error))?;
    let after = (context.stored(number), context.ledger.rots(number));
    if must_look && before.0 == Stored::Rotten && after == before {
        context.ledger.report(format!("R3: a bad object is taken for chunk {number}"));
    }
    Ok(())
}
