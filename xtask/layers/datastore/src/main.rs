//! The datastore alone: a snapshot is made, listed and removed.

use std::error::Error;
use std::sync::Arc;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::{Digest, StoreOptions, SystemClock};
use coldkeep_datastore::manifest::{CryptMode, FileInfo, Manifest};
use coldkeep_datastore::{BackupRequest, Datastore, Namespace, SnapshotName};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = StoreOptions::new(Arc::new(SystemClock::new()));
    let store = Datastore::create(&folder.path().join("store"), "default".parse()?, options).await?;
    let snapshot: SnapshotName = "host/web/2026-01-01T00:00:00Z".parse()?;
    let writer = store
        .begin_backup(BackupRequest {
            ns: Namespace::root(),
            snapshot: snapshot.clone(),
            caller: "root@pam".parse()?,
            benchmark: false,
            no_cache: false,
        })
        .await?;
    let conf = Blob::encode(b"key = value", Compression::None)?.into_bytes();
    let mut manifest = Manifest::new(&snapshot);
    let csum = Digest::of(&conf);
    manifest.push(FileInfo::new("web.conf.blob".parse()?, CryptMode::None, conf.len() as u64, csum));
    writer.upload_blob(&"web.conf.blob".parse()?, conf).await?;
    writer.upload_blob(&"index.json.blob".parse()?, manifest.to_blob()?.into_bytes()).await?;
    writer.finish().await?;
    drop(writer);
    assert_eq!(store.snapshots(&Namespace::root(), None, None).await?.len(), 1);
    store.forget(&Namespace::root(), &snapshot).await?;
    assert!(store.snapshots(&Namespace::root(), None, None).await?.is_empty());
    Ok(())
}
