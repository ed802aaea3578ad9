//! What the users of a datastore do: one task each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::blob::Blob;
use coldkeep_chunk_store::{DigestBuilder, LoadError};
use coldkeep_datastore::index::DynamicIndex;
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{
    ArchiveName, BackupRequest, BackupTime, BackupWriter, Datastore, GroupName, IndexKind, IndexTotals,
    Manifest, Namespace, ReadError, SnapshotName, StoredFile,
};
use coldkeep_gc::{Control, End as RunEnd, Options, collect};
use futures_util::future::join_all;

use super::choose::{BackupPlan, End};
use super::ledger::Ledger;
use super::references::DatastoreReferences;
use crate::chunks::{Chunks, Form, Need};
use crate::executor::Process;
use crate::net::Net;
use crate::play::START;
use crate::work::chain;

/// The only archive of a snapshot.
const ARCHIVE: &str = "a.didx";

/// What every task has.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) store: Arc<Datastore>,
    pub(super) process: Process,
    pub(super) net: Arc<Net>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) chunks: Arc<Chunks>,
    /// Where the folder is; each time somewhere else, so that it has no place in a story.
    pub(super) home: Arc<str>,
}

impl Context {
    fn note(&self, line: impl FnOnce() -> String) {
        self.net.note(|| format!("{}: {}", self.process, line().replace(&*self.home, "~")));
    }

    /// Returns whether this server has the bucket, so that what it is asked for may come to pass.
    fn is_owner(&self) -> bool {
        self.net.owner() == Some(self.process)
    }
}

pub(super) fn manifest_key(name: &SnapshotName) -> String {
    format!(".cnt/{name}/{}", ArchiveName::manifest())
}

pub(super) fn index_key(name: &SnapshotName) -> String {
    format!(".cnt/{name}/{ARCHIVE}")
}

pub(super) fn owner_key(group: &GroupName) -> String {
    format!(".cnt/{group}/owner")
}

/// Returns the numbers of the chunks that an index names; `None` if it is damaged or names others.
pub(super) fn numbers(chunks: &Chunks, index: &[u8]) -> Option<Vec<usize>> {
    let index = DynamicIndex::parse(index).ok()?;
    index.spans().iter().map(|span| chunks.number(&span.digest)).collect()
}

/// Returns whether a manifest is that of an index.
pub(super) fn belong_together(index: &[u8], manifest: Bytes) -> bool {
    let csum = DynamicIndex::parse(index).map(|index| index.compute_csum()).ok();
    let manifest = Blob::parse(manifest).ok().and_then(|blob| Manifest::from_blob(&blob).ok());
    let file = manifest.as_ref().and_then(|manifest| manifest.file(&archive()));
    csum.zip(file).is_some_and(|(csum, file)| file.csum == csum)
}

fn group(number: usize) -> GroupName {
    format!("host/{}", ["a", "b"][number]).parse().expect("a name of a group")
}

fn archive() -> ArchiveName {
    ARCHIVE.parse().expect("a name of an archive")
}

/// Makes one backup.
pub(super) async fn backup(context: Context, plan: BackupPlan) {
    let time = BackupTime::from_unix(START.unix_seconds() + plan.time as i64).expect("a time of today");
    let name = SnapshotName { group: group(plan.group), time };
    match make(&context, &plan, &name).await {
        Ok(what) => context.note(|| format!("the backup {name} {what}")),
        Err(why) => context.note(|| format!("the backup {name} fails: {why}")),
    }
}

async fn make(context: &Context, plan: &BackupPlan, name: &SnapshotName) -> Result<&'static str, String> {
    let request = BackupRequest {
        ns: Namespace::root(),
        snapshot: name.clone(),
        caller: ["root@pam", "other@pbs"][plan.user].parse().expect("a user"),
        benchmark: false,
        no_cache: plan.no_cache,
    };
    context.ledger.begin(name, &request.caller);
    let writer = context.store.begin_backup(request).await.map_err(|error| chain(&error))?;
    context.note(|| format!("the backup {name} begins"));
    let wid = writer.create_dynamic(&archive()).await.map_err(|error| chain(&error))?;
    let mut numbers = if plan.builds_on { known(context, &writer).await? } else { Vec::new() };
    let uploads = plan.chunks.iter().map(|number| upload(context, &writer, wid, *number));
    if plan.is_parallel {
        join_all(uploads).await.into_iter().collect::<Result<Vec<()>, String>>()?;
    } else {
        for upload in uploads {
            upload.await?;
        }
    }
    numbers.extend(&plan.chunks);
    if plan.end == End::Abort {
        writer.abort().await.map_err(|error| chain(&error))?;
        return Ok("is aborted");
    }
    put_index(context, &writer, wid, &numbers).await?;
    match plan.end {
        End::Drop => return Ok("is dropped"),
        End::AbortLate => {
            writer.abort().await.map_err(|error| chain(&error))?;
            return Ok("is aborted after its index");
        }
        End::Commit | End::Abort => {}
    }
    writer.finish().await.map_err(|error| chain(&error))?;
    context.ledger.commit(name, numbers);
    Ok("is committed")
}

async fn upload(context: &Context, writer: &BackupWriter, wid: u32, number: usize) -> Result<(), String> {
    let chunk = context.chunks.checked(number, Form::Usual);
    let uploaded = writer.upload_chunk(wid, IndexKind::Dynamic, chunk).await;
    uploaded.map(drop).map_err(|error| format!("chunk {number}: {}", chain(&error)))
}

/// Returns the chunks of the snapshot that the session builds on, which it may name from then on (R17).
async fn known(context: &Context, writer: &BackupWriter) -> Result<Vec<usize>, String> {
    if writer.previous_time().is_none() {
        return Ok(Vec::new());
    }
    let file = writer.previous_file(&archive()).await.map_err(|error| chain(&error))?;
    numbers(&context.chunks, &read(file).await?).ok_or_else(|| "the index of the base is damaged".to_owned())
}

/// Puts the index and the manifest.
async fn put_index(
    context: &Context,
    writer: &BackupWriter,
    wid: u32,
    numbers: &[usize],
) -> Result<(), String> {
    let (mut end, mut csum, mut entries) = (0, DigestBuilder::new(), Vec::new());
    for number in numbers {
        let digest = context.chunks.digest(*number);
        entries.push((digest, end));
        end += context.chunks.checked(*number, Form::Usual).plain_len();
        csum.update(&end.to_le_bytes());
        csum.update(digest.as_bytes());
    }
    let totals = IndexTotals { chunk_count: numbers.len() as u64, size: end, csum: csum.finish() };
    writer.append(wid, IndexKind::Dynamic, &entries).await.map_err(|error| chain(&error))?;
    writer.close_dynamic(wid, totals).await.map_err(|error| chain(&error))?;
    let mut manifest = Manifest::new(writer.snapshot());
    manifest.push(FileInfo::new(archive(), CryptMode::None, totals.size, totals.csum));
    let manifest = manifest.to_blob().map_err(|error| chain(&error))?.into_bytes();
    writer.upload_blob(&ArchiveName::manifest(), manifest).await.map_err(|error| chain(&error))
}

async fn read(mut file: StoredFile) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    while let Some(block) = file.next_block().await.map_err(|error| chain(&error))? {
        content.extend_from_slice(&block);
    }
    Ok(content)
}

/// Removes a committed snapshot. With the server that has the bucket nobody may rely on it from here on, whatever the answer is and
/// whenever it comes; whoever has lost the bucket refuses (R19).
pub(super) async fn forget(context: Context, number: usize) {
    let Some((name, _)) = context.ledger.pick(number) else { return };
    let is_owner = give_up(&context, &name);
    let removed = context.store.forget(&Namespace::root(), &name).await;
    note_removal(&context, &name, removed.map_err(|error| chain(&error)), is_owner);
}

/// Removes all snapshots of a group.
pub(super) async fn forget_group(context: Context, number: usize) {
    let group = group(number);
    let names: Vec<SnapshotName> =
        context.ledger.snapshots().into_keys().filter(|name| name.group == group).collect();
    let is_owner =
        names.iter().map(|name| give_up(&context, name)).fold(context.is_owner(), |one, other| one && other);
    let removed = context.store.forget_group(&Namespace::root(), &group, false).await;
    // One that began meanwhile is removed with the others, or is in use.
    let removed = removed.map(drop).map_err(|error| chain(&error));
    match names.first() {
        Some(name) => note_removal(&context, name, removed, is_owner),
        None => context.note(|| format!("{group}: {removed:?}")),
    }
}

fn give_up(context: &Context, name: &SnapshotName) -> bool {
    let is_owner = context.is_owner();
    if is_owner {
        context.note(|| format!("{name} is given up"));
        context.ledger.forget(name);
    }
    is_owner
}

fn note_removal(context: &Context, name: &SnapshotName, removed: Result<(), String>, is_owner: bool) {
    match removed {
        Ok(()) if !is_owner && context.ledger.is_committed(name) => context
            .ledger
            .report(format!("R19: {} removes {name} although it has lost the bucket", context.process)),
        Ok(()) => context.note(|| format!("{name} is removed")),
        Err(error) => context.note(|| format!("{name} is not removed: {error}")),
    }
}

/// Changes the notes of a committed snapshot.
pub(super) async fn annotate(context: Context, number: usize) {
    let Some((name, _)) = context.ledger.pick(number) else { return };
    let changed = context.store.set_notes(&Namespace::root(), &name, &format!("note {number}")).await;
    context.note(|| format!("{name} is annotated: {:?}", changed.map_err(|error| chain(&error))));
}

/// Makes one run. Returns whether it was complete.
pub(super) async fn collect_once(context: Context, grace: u64, control: Control) -> bool {
    let Some(bucket) = context.store.chunks().as_bucket().map(Arc::clone) else { return false };
    let options = Options::default()
        .with_grace(Duration::from_secs(grace))
        .with_margin(Duration::ZERO)
        .with_parallel(2, 2);
    context.note(|| format!("a run with a grace of {grace} s begins"));
    let references = DatastoreReferences(Arc::clone(&context.store));
    match Box::pin(collect(&*bucket, &references, &options, &control)).await {
        Ok(report) => {
            context.note(|| {
                let (removed, limbo) = (report.removed.count, report.in_limbo.count);
                format!("the run ends ({:?}): {removed} removed, {limbo} in limbo", report.end)
            });
            report.end == RunEnd::Completed
        }
        Err(error) => {
            context.note(|| format!("the run fails: {}", chain(&error)));
            false
        }
    }
}

/// Restores a committed snapshot.
pub(super) async fn read_snapshot(context: Context, number: usize) {
    if let Some((name, numbers)) = context.ledger.pick(number) {
        restore(&context, &name, &numbers).await;
    }
}

/// Why a restore did not come to its end.
enum Unread {
    /// What is there is not what was backed up.
    Wrong(String),
    /// Nobody knows.
    Failed(String),
}

/// Restores a snapshot; returns whether that worked. What is not there while it is committed, on the server that has the bucket, is a
/// broken promise.
pub(super) async fn restore(context: &Context, name: &SnapshotName, numbers: &[usize]) -> bool {
    let is_promised = || context.is_owner() && context.ledger.is_committed(name);
    let was_promised = is_promised();
    match read_all(context, name, numbers).await {
        Ok(()) => {
            context.note(|| format!("{name} is restored"));
            return true;
        }
        Err(Unread::Wrong(what)) if was_promised && is_promised() => {
            context.ledger.report(format!("I1: {} cannot restore {name}: {what}", context.process));
        }
        Err(Unread::Wrong(why) | Unread::Failed(why)) => {
            context.note(|| format!("{name} is not restored: {why}"));
        }
    }
    false
}

async fn read_all(context: &Context, name: &SnapshotName, expected: &[usize]) -> Result<(), Unread> {
    let of_tree = |is_gone: bool, why: String| if is_gone { Unread::Wrong(why) } else { Unread::Failed(why) };
    let reader = context.store.open_snapshot(&Namespace::root(), name).await;
    let reader = reader.map_err(|error| of_tree(error.is_not_found(), chain(&error)))?;
    let file = reader.download(&archive()).await;
    let file = file.map_err(|error| of_tree(error.is_not_found(), chain(&error)))?;
    let content = read(file).await.map_err(Unread::Failed)?;
    if numbers(&context.chunks, &content).as_deref() != Some(expected) {
        return Err(Unread::Wrong("its index is another one".to_owned()));
    }
    for number in expected {
        match reader.chunk(&context.chunks.digest(*number)).await {
            Ok(blob) if context.chunks.is_needed(Need { number: *number, is_honest: true }, &blob) => {}
            Ok(_) => return Err(Unread::Wrong(format!("chunk {number} has another content"))),
            Err(ReadError::Load(error @ LoadError::Missing { .. })) => {
                return Err(Unread::Wrong(chain(&error)));
            }
            Err(ReadError::Load(error @ LoadError::Corrupt { .. })) if !context.net.has_cut() => {
                return Err(Unread::Wrong(chain(&error)));
            }
            Err(error) => return Err(Unread::Failed(chain(&error))),
        }
    }
    Ok(())
}
