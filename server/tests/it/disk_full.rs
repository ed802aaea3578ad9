//! A disk that is full in the middle of a backup; `replication` has it in the middle of a pull.
//!
//! Method: the data folder lies on a small file system in memory, mounted for the test. Without the right to mount
//! there is no way to make one full for this process alone; the test then says that it was skipped.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use coldkeep_client::{BackupError, ImageSource, Store, TransferLimits};

use crate::site::{
    Content, Site, archive, assert_restores, assert_verifies, begin_when_free, collect, group, small,
    snapshot,
};

const TIME: i64 = 1_700_000_000;
const MIB: usize = 1 << 20;

/// A mounted file system in memory; unmounted when dropped.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn mount(mib: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "coldkeep-test"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        let page = [1; 4096];
        while file.write_all(&page).is_ok() {}
    }

    /// Gives some of the space back that [`Self::fill`] took.
    pub(crate) fn give_back(&self, bytes: u64) {
        let file = File::options().write(true).open(self.ballast()).unwrap();
        let left = file.metadata().unwrap().len().checked_sub(bytes).unwrap();
        file.set_len(left).unwrap();
    }

    /// Gives all of it back.
    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

async fn back_up(store: &Store, id: &str, content: &Content) -> Result<(), BackupError> {
    let session = begin_when_free(store, &snapshot(id, TIME)).await;
    let image = ImageSource::reader(content.reader(), content.len() as u64);
    session.upload_image(&archive("d.img.fidx"), image).await?;
    session.finish().await.map(drop)
}

fn assert_says_why(error: &BackupError) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    assert!(text.to_lowercase().contains("no space left"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_backup_and_nothing_else() {
    let Some(disk) = SmallDisk::mount(48) else {
        println!("SKIPPED disk_full: no right to mount a file system");
        return;
    };
    let site = Site::at(&disk.path().join("data"));
    let store = site.store();
    let kept = Content { pieces: vec![(0, 9 * MIB)] };
    back_up(&store, "kept", &kept).await.unwrap();

    // Nine times what fits, no chunk like another.
    let large = Content { pieces: (0..90).map(|number| (number * 54_321 + 7, 4 * MIB)).collect() };
    assert_says_why(&back_up(&store, "large", &large).await.unwrap_err());
    assert_eq!(store.newest(&group("large")).await.unwrap(), None);
    assert_kept(&store, &kept).await;
    // What the failed backup left gives its space back, and the server goes on as it is.
    collect(&store).await.unwrap();
    let fits = Content { pieces: vec![(10 * MIB, 9 * MIB)] };
    back_up(&store, "large", &fits).await.unwrap();

    // With not a byte left no backup begins or ends, but what is there can be read and removed.
    disk.fill();
    if let Ok(session) = store.begin_backup(&snapshot("next", TIME), small()).await {
        let blob = session.upload_blob(&archive("c.conf.blob"), vec![7; MIB].into()).await;
        assert!(blob.is_err() || session.finish().await.is_err(), "a backup into nowhere");
    }
    assert_eq!(store.newest(&group("next")).await.unwrap(), None);
    assert_kept(&store, &kept).await;
    // The way out of a full disk: forget, and collect. It must work with not a byte to spare.
    store.forget(&snapshot("large", TIME)).await.unwrap();
    collect(&store).await.unwrap();
    let next = Content { pieces: vec![(10 * MIB, 4 * MIB)] };
    back_up(&store, "next", &next).await.unwrap();
    let reader = store.open_snapshot(&snapshot("next", TIME), TransferLimits::default()).await.unwrap();
    assert_restores(&reader, "d.img.fidx", &next).await;
    assert_kept(&store, &kept).await;
    assert_verifies(&store).await;
}

async fn assert_kept(store: &Store, content: &Content) {
    let reader = store.open_snapshot(&snapshot("kept", TIME), TransferLimits::default()).await.unwrap();
    assert_restores(&reader, "d.img.fidx", content).await;
}
