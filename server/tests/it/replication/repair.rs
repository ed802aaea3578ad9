//! Snapshots that are damaged in the target: copied again if that is asked for.

use coldkeep_client::{PullRequest, VerifyOptions, VerifyScope};
use coldkeep_datastore::ArchiveName;

use super::{Pair, STREAM, count, errors};
use crate::live::Live;
use crate::site::Site;

fn resync(request: &mut PullRequest) {
    request.resync_corrupt = true;
}

/// Verifies everything in a site; tells whether it is whole.
async fn is_whole(site: &Site) -> bool {
    let store = site.store();
    let upid = store.start_verify(&VerifyScope::All, &VerifyOptions::default()).await.unwrap();
    store.client().wait_task(&upid, |_| {}).await.is_ok()
}

/// Damages all chunks here, lets a verification find that, and pulls.
async fn a_damaged_snapshot_is_copied_again_if_asked(mut pair: Pair, live: Option<&Live>) {
    let first = pair.back_up("web", 1, &[0, 1, 2]).await;
    let second = pair.back_up("web", 2, &[7, 8, 9]).await;
    pair.pull().await.unwrap();
    pair.target.damage_chunks(live).await;
    assert!(!is_whole(&pair.target).await);
    let report = pair.pull().await.unwrap();
    assert_eq!(count(&report, "repaired"), 0, "{report}");
    let report = pair.pull_with(resync).await.unwrap();
    assert_eq!(count(&report, "repaired"), 2, "{report}");
    assert!(count(&report, "chunks_transferred") > 0);
    assert!(is_whole(&pair.target).await);
    pair.assert_here(&[&first, &second]).await;
    // Nothing is damaged any more.
    let report = pair.pull_with(resync).await.unwrap();
    assert_eq!([count(&report, "repaired"), count(&report, "chunks_transferred")], [0, 0], "{report}");
}

#[tokio::test]
async fn a_snapshot_damaged_on_a_filesystem_is_copied_again_if_asked() {
    a_damaged_snapshot_is_copied_again_if_asked(Pair::new().await, None).await;
}

#[tokio::test]
async fn a_snapshot_damaged_in_a_bucket_is_copied_again_if_asked() {
    a_damaged_snapshot_is_copied_again_if_asked(Pair::into_bucket().await, Some(Live::any())).await;
}

/// Goal: a last snapshot whose manifest is damaged here is an error that says what helps, and that helps.
/// Method: its index is lost as well.
#[tokio::test]
async fn a_damaged_manifest_is_an_error_and_copied_again_if_asked() {
    let mut pair = Pair::new().await;
    let first = pair.back_up("web", 1, &[0, 1]).await;
    pair.pull().await.unwrap();
    let folder = pair.target.store_folder().join(first.to_string());
    std::fs::write(folder.join(ArchiveName::MANIFEST), b"rotten").unwrap();
    std::fs::remove_file(folder.join(STREAM)).unwrap();
    let second = pair.back_up("web", 2, &[1, 2]).await;
    let (_, report) = pair.pull().await.unwrap_err();
    let expected =
        format!("snapshot {first}: its manifest here is damaged; pull it again with resync-corrupt");
    assert_eq!(errors(&report), expected);
    let report = pair.pull_with(resync).await.unwrap();
    assert_eq!([count(&report, "repaired"), count(&report, "snapshots")], [1, 1], "{report}");
    pair.assert_here(&[&first, &second]).await;
}
