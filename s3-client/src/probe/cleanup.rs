//! Removes what the probe wrote, versions included, and tells what it could not remove.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::bare::Bare;
use super::findings::{KeyEncoding, MultiDelete};
use super::listing::list;
use super::report::ProbeReport;
use super::session::{Attempts, IN_FLIGHT, Session};
use crate::call::{Signing, within};
use crate::key::ObjectKey;
use crate::ops::{DELETE_KEYS_MAX, DeleteObject, DeleteObjects, DeleteTarget, Integrity, ListObjectsV2};
use crate::transport::Transport;

/// How long tidying up may take, on top of the probe's own time.
const TIME_MAX: Duration = Duration::from_mins(1);

/// Deletes of a versioned bucket leave markers, which the next pass deletes; what failed is tried again there, too.
const PASSES: u32 = 3;

/// Most pages to look through for keys that nobody remembers: the probe writes far fewer.
const PAGES_MAX: u32 = 4;

/// Removes everything; returns the keys that may be left.
pub(super) async fn clean<T: Transport>(session: &Session<'_, T>, report: &ProbeReport) -> Vec<String> {
    let has_multi = report.deletes.multi == MultiDelete::Works;
    let removal = remove(session, has_multi, report.listing.encoding);
    let left = within(&*session.engine.clock, TIME_MAX, removal).await;
    let notes = session.notes();
    // Without time to look, nothing is known to be gone.
    let mut left = left.unwrap_or_else(|| notes.written.clone());
    left.extend(notes.open.keys().cloned());
    left.into_iter().map(|key| key.as_str().to_owned()).collect()
}

async fn remove<T: Transport>(
    session: &Session<'_, T>,
    has_multi: bool,
    encoding: KeyEncoding,
) -> BTreeSet<ObjectKey> {
    let mut keys = listed(session, encoding).await;
    let versions = std::mem::take(&mut session.notes().versions);
    keys.extend(session.notes().written.iter().cloned());
    let has_versions: BTreeSet<&ObjectKey> = versions.iter().map(|(key, _)| key).collect();
    let plain = keys.iter().filter(|key| !has_versions.contains(key));
    let mut targets: Vec<_> =
        plain.cloned().map(DeleteTarget::new).chain(versions.iter().map(version)).collect();
    for _ in 0..PASSES {
        targets = delete(session, has_multi, targets).await;
        let markers = std::mem::take(&mut session.notes().versions);
        targets.extend(markers.iter().map(version));
        if targets.is_empty() {
            break;
        }
    }
    let mut left = BTreeSet::new();
    for key in listed(session, encoding).await {
        // One server goes on listing for a while what it failed to write.
        if session.exists(&key).await != Some(false) {
            left.insert(key);
        }
    }
    for DeleteTarget { key, .. } in targets {
        // What was never stored, and is not seen now, is not left: servers refuse to delete the keys that they refuse to write.
        let is_stored = session.notes().stored.contains(&key);
        if is_stored || session.exists(&key).await == Some(true) {
            left.insert(key);
        }
    }
    left
}

fn version((key, version): &(ObjectKey, String)) -> DeleteTarget {
    DeleteTarget::new(key.clone()).with_version(version)
}

/// Lists what is there, as far as listings can be understood.
async fn listed<T: Transport>(session: &Session<'_, T>, encoding: KeyEncoding) -> BTreeSet<ObjectKey> {
    let mut keys = BTreeSet::new();
    let first = ListObjectsV2::new().with_prefix(session.prefix());
    let mut next = first.clone();
    for _ in 0..PAGES_MAX {
        let Ok(page) = list(session, encoding, next).await else { break };
        keys.extend(page.objects.into_iter().map(|object| object.key));
        let Some(token) = page.next else { break };
        next = first.clone().with_token(token);
    }
    keys
}

/// Deletes; returns what is not known to be gone.
async fn delete<T: Transport>(
    session: &Session<'_, T>,
    has_multi: bool,
    targets: Vec<DeleteTarget>,
) -> Vec<DeleteTarget> {
    let (batch, mut single): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target| has_multi && target.is_in_xml());
    for targets in batch.chunks(DELETE_KEYS_MAX) {
        single.extend(delete_batch(session, targets).await);
    }
    let mut left = Vec::new();
    for group in single.chunks(IN_FLIGHT) {
        let gone = join_all(group.iter().map(|target| delete_one(session, target))).await;
        left.extend(group.iter().zip(gone).filter(|(_, is_gone)| !is_gone).map(|(target, _)| target.clone()));
    }
    left
}

async fn delete_batch<T: Transport>(session: &Session<'_, T>, targets: &[DeleteTarget]) -> Vec<DeleteTarget> {
    let op = Bare::new(DeleteObjects::new(targets.iter().cloned())).with_integrity(Integrity::Md5);
    let result = session.delete_many(&op, Attempts::Configured, Signing::EachAttempt).await;
    let Ok((report, _)) = result else { return targets.to_vec() };
    report.failed.into_iter().map(|failed| failed.target).chain(report.unreported).collect()
}

async fn delete_one<T: Transport>(session: &Session<'_, T>, target: &DeleteTarget) -> bool {
    match &target.version_id {
        None => session.delete(&target.key, Attempts::Configured, Signing::EachAttempt).await.is_ok(),
        Some(version_id) => {
            let op = Bare::new(DeleteObject::new(target.key.clone()).with_version(version_id));
            session.ask_with(&op, Attempts::Configured, Signing::EachAttempt).await.is_ok()
        }
    }
}
