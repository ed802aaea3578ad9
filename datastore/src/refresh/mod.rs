//! The snapshot tree as the bucket has it (R10 "rebuild").
//!
//! At every open the tree is compared with a complete listing of `.cnt/`; where they differ, and after the local state
//! was found to be another's or lost, the tree is made anew: every object of finished snapshots, of groups and of
//! namespaces goes into a fresh folder, which then takes the tree's place. What is there already, in the tree or from an
//! attempt that was cut short, is not fetched again if length and tag are the object's.
//!
//! Snapshots without manifest are not shown; their objects stay in the bucket until they are cleared. Damaged objects
//! are kept as they are: lists cope with them, and verification reports them.

mod compare;
mod fetch;
mod kept;
mod local;
mod plan;
mod switch;
mod tag;

use std::sync::Arc;

use coldkeep_chunk_store::backend::{ObjectInfo, ObjectKey};
use coldkeep_chunk_store::bucket::{BucketStore, PathError, RebuildPhase, RebuildProgress};
use coldkeep_chunk_store::dir::DirError;

pub(crate) use fetch::{Fetched, Source, fetch_all};
pub(crate) use kept::{forget_others, name_of};
pub(crate) use local::{Sought, find_local};
use plan::Plan;

use crate::mirror::Parts;
use crate::store::run_blocking;
use crate::tree::{Layout, TreeError};

/// How often objects are listed anew that changed since they were listed.
pub(crate) const LISTINGS: usize = 3;

/// Told how far a rebuild is.
pub(crate) type OnProgress = Arc<dyn Fn(RebuildProgress) + Send + Sync>;

/// What a refresh of the tree came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Objects that the tree has now.
    pub objects: u64,
    /// Objects that were fetched; the others were there already.
    pub fetched: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
    /// Snapshots without manifest, which are not shown.
    pub unfinished: u64,
    /// Objects below `.cnt/` whose keys are none of ours; they are left alone.
    pub skipped: Vec<ObjectKey>,
}

/// A tree that could not be made as the bucket has it; the one before is still there, or the next open goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// A request failed.
    #[error(transparent)]
    Bucket(#[from] PathError),
    /// An object is not what the listing says, or gone, time and again.
    #[error("object {key} is not what the listing of the bucket says; is another server writing to it?")]
    Differs {
        /// The object.
        key: ObjectKey,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] DirError),
    /// The server is shutting down.
    #[error("the refresh of the datastore was cut short; the next open goes on with it")]
    ShuttingDown,
}

/// What making the tree right at an open came to.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// None if the tree was right.
    pub(crate) report: Option<RefreshReport>,
    /// What could not be removed of sessions that did not end.
    pub(crate) leftover_errors: Vec<TreeError>,
}

/// Makes the tree as the bucket has it and ends a rebuild; then clears what sessions that did not end left there. No
/// session exists yet.
pub(crate) async fn settle(
    parts: &Parts,
    bucket: &Arc<BucketStore>,
    progress: Option<OnProgress>,
) -> Result<Settled, RefreshError> {
    let tree = Arc::clone(&parts.tree);
    blocking(move || Ok(switch::complete(&tree.layout)?)).await?;
    let leftover_errors = parts.clear_leftovers(None, &|| false).await.errors;
    let mut settled = Settled { leftover_errors, report: None };
    let (mut objects, mut plan) = list_and_plan(bucket).await?;
    let mut listings = 1;
    if bucket.is_rebuilding() || !is_right(parts, bucket, &plan).await? {
        settled.report = loop {
            match refresh(parts, bucket, plan, progress.clone()).await {
                // A request of an earlier process may have landed meanwhile (R19); what was fetched is not fetched again.
                Err(RefreshError::Differs { .. }) if listings < LISTINGS => {
                    (objects, plan) = list_and_plan(bucket).await?;
                    listings += 1;
                }
                refreshed => break Some(refreshed?),
            }
        };
    }
    if bucket.is_rebuilding() {
        let bytes = bucket.finish_rebuild().await.map_err(PathError::from)?;
        let tree = Arc::clone(&parts.tree);
        blocking(move || Ok(tree.stored_bytes.replace(&tree.layout, bytes)?)).await?;
    }
    let cleared = parts.clear_unfinished(bucket, objects, &|| false).await;
    settled.leftover_errors.extend(cleared.errors);
    Ok(settled)
}

/// Lists the bucket and plans the tree, which takes a while for hundreds of thousands of objects: not on an async thread.
async fn list_and_plan(bucket: &BucketStore) -> Result<(Vec<ObjectInfo>, Arc<Plan>), RefreshError> {
    let objects = bucket.list_objects(Layout::CONTENT).await?;
    blocking(move || {
        let plan = Arc::new(Plan::of(&objects));
        Ok((objects, plan))
    })
    .await
}

async fn is_right(parts: &Parts, bucket: &Arc<BucketStore>, plan: &Arc<Plan>) -> Result<bool, RefreshError> {
    let (layout, bucket, plan) = (parts.tree.layout.clone(), Arc::clone(bucket), Arc::clone(plan));
    blocking(move || Ok(compare::is_as_planned(&layout, bucket.backend(), &plan)?)).await
}

/// Makes the tree anew.
async fn refresh(
    parts: &Parts,
    bucket: &Arc<BucketStore>,
    plan: Arc<Plan>,
    progress: Option<OnProgress>,
) -> Result<RefreshReport, RefreshError> {
    let (layout, planned) = (parts.tree.layout.clone(), Arc::clone(&plan));
    blocking(move || Ok(switch::prepare(&layout, &planned)?)).await?;
    let source = Source {
        bucket: Arc::clone(bucket),
        tree: parts.tree.layout.base().to_owned(),
        target: switch::fresh(&parts.tree.layout),
        records: false,
    };
    let files: Vec<(std::path::PathBuf, ObjectInfo)> =
        plan.files.iter().map(|(path, object)| (path.clone(), object.clone())).collect();
    let total = files.len() as u64;
    let told = move |done| {
        if let Some(progress) = &progress {
            progress(RebuildProgress { phase: RebuildPhase::Metadata, done, total, chunks: 0 });
        }
    };
    let keys: Vec<ObjectKey> = files.iter().map(|(_, object)| object.key.clone()).collect();
    let fetched = fetch_all(source, files, told).await?;
    if let Some(first) = fetched.differing.first() {
        return Err(RefreshError::Differs { key: keys[*first].clone() });
    }
    let layout = parts.tree.layout.clone();
    blocking(move || Ok(switch::switch(&layout)?)).await?;
    Ok(RefreshReport {
        objects: total,
        fetched: fetched.objects,
        fetched_bytes: fetched.bytes,
        unfinished: plan.unfinished,
        skipped: plan.skipped.clone(),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RefreshError> + Send + 'static,
) -> Result<T, RefreshError> {
    run_blocking(work).await.unwrap_or(Err(RefreshError::ShuttingDown))
}
