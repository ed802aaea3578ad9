//! A collection.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_gc::{Control, End, Options, collect};

use super::references::{BucketReferences, FolderReferences};
use super::{Context, Store, chain};

/// How a run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunPlan {
    /// In seconds.
    pub(crate) grace: u64,
    pub(crate) parallel: usize,
}

/// Makes one run. Returns whether it was complete.
pub(crate) async fn collect_once(context: Context, plan: RunPlan, control: Control) -> bool {
    let options = Options::default()
        .with_grace(Duration::from_secs(plan.grace))
        .with_margin(Duration::ZERO)
        .with_parallel(plan.parallel, plan.parallel);
    context.note(|| format!("a run with a grace of {} s begins", plan.grace));
    let ended = match context.store.clone() {
        Store::Bucket(store) => {
            let references = BucketReferences(context.clone(), Arc::clone(&store));
            collect(&*store, &references, &options, &control).await.map_err(|error| chain(&error))
        }
        Store::Folder(store, catalog) => {
            let references = FolderReferences(context.clone(), catalog);
            collect(&*store, &references, &options, &control).await.map_err(|error| chain(&error))
        }
    };
    match ended {
        Ok(report) => {
            context.note(|| {
                let (removed, limbo) = (report.removed.count, report.in_limbo.count);
                format!("the run ends ({:?}): {removed} removed, {limbo} in limbo", report.end)
            });
            report.end == End::Completed
        }
        Err(error) => {
            context.note(|| format!("the run fails: {error}"));
            false
        }
    }
}
