//! What a session writes in the bucket: its files as they come, its manifest last (R10, R19).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::bucket::{BucketStore, PathClaim, PathError};

use super::{BackupRequest, BeginError};
use crate::mirror::{ContentKey, list_folder};
use crate::name::ArchiveName;
use crate::tree::{Layout, TreeError, parse_owner};

/// The claims of a session; they end with it.
#[derive(Debug)]
pub(super) struct SessionPaths {
    layout: Layout,
    claims: Mutex<Option<Claims>>,
    /// The manifest may be in the bucket, but nobody was told.
    has_manifest: AtomicBool,
}

#[derive(Debug, Clone)]
struct Claims {
    snapshot: Arc<PathClaim>,
    /// Only if the group may have no owner in the bucket yet.
    owner: Option<Arc<PathClaim>>,
}

impl SessionPaths {
    /// Claims the snapshot's path, and that of the group's owner if the group has no finished snapshot. Deletes what a
    /// session that failed left there.
    pub(super) async fn begin(
        bucket: &Arc<BucketStore>,
        layout: &Layout,
        request: &BackupRequest,
        group_is_empty: bool,
    ) -> Result<Self, BeginError> {
        let BackupRequest { ns, snapshot, .. } = request;
        if group_is_empty {
            check_owner(bucket, layout, request).await?;
        }
        let path = layout.key(&layout.snapshot(ns, snapshot));
        let claim = bucket.claim(path.as_str()).await?;
        let left = list_folder(bucket, &path).await?;
        if left.iter().filter_map(ContentKey::parse).any(|key| key.keeps_snapshot()) {
            return Err(BeginError::Exists { snapshot: snapshot.clone() });
        }
        if !left.is_empty() {
            claim.delete(&left).await?;
        }
        let owner = if group_is_empty {
            let owner = layout.key(&layout.owner(ns, &snapshot.group));
            Some(Arc::new(bucket.claim(owner.as_str()).await?))
        } else {
            None
        };
        let claims = Mutex::new(Some(Claims { snapshot: Arc::new(claim), owner }));
        Ok(Self { layout: layout.clone(), claims, has_manifest: false.into() })
    }

    fn claims(&self) -> Result<Claims, PathError> {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone();
        claims.ok_or(PathError::Closed(coldkeep_chunk_store::bucket::Closed::Ended))
    }

    /// Puts a file of the snapshot.
    pub(super) async fn put(
        &self,
        BackupRequest { ns, snapshot, .. }: &BackupRequest,
        name: &ArchiveName,
        content: Bytes,
    ) -> Result<(), PathError> {
        let key = self.layout.key(&self.layout.file(ns, snapshot, name));
        self.claims()?.snapshot.put_new(&key, content).await
    }

    /// Puts the owner of a new group, then the manifest: after this the snapshot is whole in the bucket (R10).
    pub(super) async fn commit(
        &self,
        BackupRequest { ns, snapshot, .. }: &BackupRequest,
        owner: Option<Bytes>,
        manifest: Bytes,
    ) -> Result<(), PathError> {
        let claims = self.claims()?;
        if let (Some(claim), Some(owner)) = (&claims.owner, owner) {
            claim.replace(&self.layout.key(&self.layout.owner(ns, &snapshot.group)), owner).await?;
        }
        let key = self.layout.key(&self.layout.manifest(ns, snapshot));
        // It may be there even if this fails, or is dropped.
        self.has_manifest.store(true, Ordering::Release);
        claims.snapshot.commit(&key, manifest).await
    }

    /// Tells whether the owner of the group goes with the commit.
    pub(super) fn takes_owner(&self) -> bool {
        self.claims().is_ok_and(|claims| claims.owner.is_some())
    }

    /// Tells whether a commit was begun and neither acknowledged nor taken back.
    pub(super) fn has_to_take_back(&self) -> bool {
        self.has_manifest.load(Ordering::Acquire) && self.claims().is_ok()
    }

    /// Ends the claims of a session that was committed, so that the snapshot may be changed. Its outcome is for nobody: what
    /// the journal could not be told only keeps the path closed for a while after a crash.
    pub(super) async fn end(&self) {
        let Some(claims) = self.claims.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        for claim in [Some(claims.snapshot), claims.owner].into_iter().flatten() {
            // Whoever still uses it ends it.
            if let Some(claim) = Arc::into_inner(claim) {
                let _ = claim.release().await;
            }
        }
    }

    /// Ends the claims of a session that is given up, with the manifest of a commit that was not acknowledged. Its other
    /// objects are cleared later, and the group's owner, which another snapshot that nobody was told of may need: with the group, if
    /// nothing else of that is in the bucket.
    pub(super) async fn give_up(
        &self,
        BackupRequest { ns, snapshot, .. }: &BackupRequest,
    ) -> Result<(), TreeError> {
        let taken_back = match self.claims() {
            Ok(claims) if self.has_manifest.swap(false, Ordering::AcqRel) => {
                let manifest = self.layout.key(&self.layout.manifest(ns, snapshot));
                delete_if_allowed(&claims.snapshot, manifest).await
            }
            _ => Ok(()),
        };
        self.end().await;
        Ok(taken_back?)
    }
}

/// Refuses a group that is new on the disk and somebody else's in the bucket: a snapshot of theirs may be there, or on its way, that
/// nobody was told of, and the next open shows it to whoever the owner is (R17).
async fn check_owner(
    bucket: &BucketStore,
    layout: &Layout,
    BackupRequest { ns, snapshot, caller, .. }: &BackupRequest,
) -> Result<(), BeginError> {
    let group = &snapshot.group;
    let folder = layout.key(&layout.group(ns, group));
    // Asked before the listing: a manifest that arrives in between is in there.
    let may_land = !bucket.is_path_free(folder.as_str());
    let found = list_folder(bucket, &folder).await?;
    let has_snapshot = found.iter().filter_map(ContentKey::parse).any(|key| key.is_manifest());
    let owner = layout.key(&layout.owner(ns, group));
    if !(may_land || has_snapshot) || !found.contains(&owner) {
        return Ok(());
    }
    let Some((_, content)) = bucket.read_object(&owner).await? else { return Ok(()) };
    let owner = parse_owner(group, &content)?;
    if owner.is_owned_by(caller) {
        return Ok(());
    }
    Err(BeginError::NotOwner { group: group.clone(), owner: owner.into(), caller: caller.clone().into() })
}

/// Deletes an object, unless that is for later, or for another server.
async fn delete_if_allowed(claim: &PathClaim, key: ObjectKey) -> Result<(), PathError> {
    match claim.delete(&[key]).await {
        // A put of it may still take effect, so its path is closed when the claim ends (R19). And nobody changes what
        // belongs to another server (R10).
        Err(PathError::NotExpired { .. } | PathError::Closed(_)) => Ok(()),
        deleted => deleted,
    }
}
