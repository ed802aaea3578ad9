//! Verification as a task: which snapshots, in which order, and what is said about them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use coldkeep_datastore::manifest::VerifyState;
use coldkeep_datastore::{
    BackupTime, Datastore, GroupName, Namespace, Owner, SnapshotInfo, SnapshotName, TreeError, VerifyControl,
    VerifyError, VerifyOutcome, VerifyTask,
};

use crate::api::chain;
use crate::tasks::{TaskHandle, Upid};

const DAY_SECONDS: i64 = 86_400;

/// What is to be verified.
pub(crate) struct VerifyJob {
    pub(crate) store: Arc<Datastore>,
    /// The namespace; those inside it are included unless there is a group.
    pub(crate) ns: Namespace,
    /// Whether the caller may verify a namespace: deeper entries of the access list replace those above.
    pub(crate) may_verify: Box<dyn Fn(&Namespace) -> bool + Send + Sync>,
    /// How many levels of namespaces below it.
    pub(crate) max_depth: usize,
    /// Only this group.
    pub(crate) group: Option<GroupName>,
    /// Only the snapshot of this time.
    pub(crate) time: Option<BackupTime>,
    /// Only groups that belong to this user or token.
    pub(crate) owner: Option<Owner>,
    /// Whether snapshots that were verified before are skipped.
    pub(crate) skips_verified: bool,
    /// After how many days a verification no longer counts.
    pub(crate) outdated_after_days: Option<i64>,
    /// Chunks that are read and checked at once.
    pub(crate) parallel: usize,
    /// Bytes that are read a second at most.
    pub(crate) rate: Option<NonZeroU64>,
}

/// Why a verification task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyTaskError {
    #[error("cannot list what to verify")]
    List(#[from] TreeError),
    #[error("no such snapshot")]
    NotFound,
    #[error("{failed} of {checked} snapshots are defective or could not be verified; the log names them")]
    Failed { failed: u64, checked: u64 },
    #[error("stopped by request after {checked} snapshots")]
    Stopped { checked: u64 },
}

/// Verifies what the job names, group by group, newest first; `now` is the time in seconds since the Unix epoch.
pub(crate) async fn run(job: &VerifyJob, now: i64, task: &TaskHandle) -> Result<(), VerifyTaskError> {
    let targets = targets(job, now, task).await?;
    let control = Arc::new(VerifyControl::default());
    let mut state =
        VerifyTask::new(task.upid().to_string(), Arc::clone(&control)).with_parallel(job.parallel);
    if let Some(rate) = job.rate {
        state = state.with_rate(rate);
    }
    let (mut checked, mut failed) = (0, 0);
    for (number, (ns, snapshot)) in targets.iter().enumerate() {
        if task.is_cancelled() {
            return Err(VerifyTaskError::Stopped { checked });
        }
        task.log(format!("verify {}:{snapshot} ({} of {})", job.store.name(), number + 1, targets.len()));
        let (chunks, bytes) = (control.chunks(), control.bytes());
        let outcome = {
            let mut verifying = std::pin::pin!(job.store.verify_snapshot(ns, snapshot, &mut state));
            loop {
                tokio::select! {
                    outcome = &mut verifying => break outcome,
                    // It then ends by itself at the next chunk.
                    () = task.cancelled(), if !control.is_cancelled() => control.cancel(),
                }
            }
        };
        let (chunks, bytes) = (control.chunks() - chunks, control.bytes() - bytes);
        match outcome {
            Ok(VerifyOutcome::Cancelled) => return Err(VerifyTaskError::Stopped { checked }),
            Ok(VerifyOutcome::Skipped) => {
                task.log(format!("skipped {snapshot}: it is in use, gone or not finished"));
                continue;
            }
            outcome => {
                checked += 1;
                failed += u64::from(!is_whole(&outcome, snapshot, task));
            }
        }
        task.log(format!("read {chunks} chunks with {bytes} bytes"));
    }
    if failed > 0 {
        return Err(VerifyTaskError::Failed { failed, checked });
    }
    task.log(format!("verified {checked} snapshots, all are whole"));
    Ok(())
}

/// Logs what is wrong; tells whether nothing is.
fn is_whole(
    outcome: &Result<VerifyOutcome, VerifyError>,
    snapshot: &SnapshotName,
    task: &TaskHandle,
) -> bool {
    match outcome {
        Ok(VerifyOutcome::Whole) => return true,
        Ok(VerifyOutcome::Defective { count, defects }) => {
            for defect in defects {
                task.log(format!("{snapshot}: {}", chain(defect)));
            }
            task.log(format!("{snapshot} is DEFECTIVE: {count} defects"));
        }
        Ok(_) => task.log(format!("{snapshot} was not verified")),
        // Says nothing about the snapshot (hazard H31): its state stays as it was.
        Err(error) => task.log(format!("could not verify {snapshot}: {}", chain(error))),
    }
    false
}

/// Lists the snapshots to verify: by namespace and group, the newest of each group first.
async fn targets(
    job: &VerifyJob,
    now: i64,
    task: &TaskHandle,
) -> Result<Vec<(Namespace, SnapshotName)>, VerifyTaskError> {
    let namespaces = match &job.group {
        Some(_) => vec![job.ns.clone()],
        None => job.store.namespaces(&job.ns, job.max_depth).await?,
    };
    let (mut targets, mut skipped, mut seen) = (Vec::new(), 0_u64, false);
    for ns in namespaces.into_iter().filter(|ns| (job.may_verify)(ns)) {
        let (ty, id) = job.group.as_ref().map_or((None, None), |group| (Some(group.ty), Some(&group.id)));
        let snapshots = match job.store.snapshots(&ns, ty, id).await {
            // Removed since it was listed.
            Err(error) if error.is_not_found() && job.group.is_none() => continue,
            snapshots => snapshots?,
        };
        let mut by_group: BTreeMap<GroupName, Vec<SnapshotName>> = BTreeMap::new();
        for snapshot in snapshots.iter().filter(|snapshot| job.names(snapshot)) {
            seen = true;
            if job.skips(snapshot, now) {
                skipped += 1;
            } else {
                by_group.entry(snapshot.name.group.clone()).or_default().push(snapshot.name.clone());
            }
        }
        for (_, mut group) in by_group {
            group.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.time));
            targets.extend(group.into_iter().map(|snapshot| (ns.clone(), snapshot)));
        }
    }
    if job.group.is_some() && !seen {
        return Err(VerifyTaskError::NotFound);
    }
    if skipped > 0 {
        task.log(format!("{skipped} snapshots are skipped: they were verified before"));
    }
    Ok(targets)
}

impl VerifyJob {
    fn names(&self, snapshot: &SnapshotInfo) -> bool {
        let is_own =
            |owner: &Owner| snapshot.owner.as_ref().is_some_and(|of_group| of_group.is_owned_by(owner));
        self.time.is_none_or(|time| snapshot.name.time == time) && self.owner.as_ref().is_none_or(is_own)
    }

    fn skips(&self, snapshot: &SnapshotInfo, now: i64) -> bool {
        let verified = snapshot.verification.as_ref().filter(|_| self.skips_verified);
        verified.is_some_and(|verified| still_counts(verified, self.outdated_after_days, now))
    }
}

/// Tells whether a verification is not too old.
fn still_counts(verified: &VerifyState, outdated_after_days: Option<i64>, now: i64) -> bool {
    // A task id that cannot be read tells no time: better once too often.
    let Ok(upid) = verified.upid.parse::<Upid>() else { return false };
    let age = now.saturating_sub(i64::from(upid.starttime));
    outdated_after_days.is_none_or(|days| age < days.saturating_mul(DAY_SECONDS))
}

#[cfg(test)]
mod tests {
    use coldkeep_datastore::manifest::VerifyResult;

    use super::*;

    #[test]
    fn a_verification_counts_until_it_is_too_old() {
        let upid = "UPID:pbs1:000004D2:0000A1B2:00000001:6553F100:verify:store1:root@pam:".to_owned();
        let verified = VerifyState { state: VerifyResult::Ok, upid };
        let at = 0x6553_f100;
        assert!(still_counts(&verified, None, at + 1000 * DAY_SECONDS));
        assert!(still_counts(&verified, Some(2), at + 2 * DAY_SECONDS - 1));
        assert!(!still_counts(&verified, Some(2), at + 2 * DAY_SECONDS));
        assert!(!still_counts(&verified, Some(0), at));
        let unreadable = VerifyState { upid: "UPID:x".to_owned(), ..verified };
        assert!(!still_counts(&unreadable, None, at));
    }
}
