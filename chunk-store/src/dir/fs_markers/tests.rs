use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::blob::{Blob, Compression};
use crate::locks::DigestLocks;
use crate::testing::check_marker_dir;

fn at(seconds: i64) -> StoreTime {
    StoreTime::from_unix(seconds, 5)
}

fn content() -> Bytes {
    Blob::encode(&vec![7; 50_000], Compression::None).unwrap().into_bytes()
}

/// A store with one digest, whose lock is held.
struct Site {
    dir: FsChunkDir,
    held: DigestGuard,
    digest: Digest,
}

impl Site {
    async fn at(folder: &Path) -> Self {
        let digest = Digest::of(b"abc");
        let held = DigestLocks::new().lock(&digest).await;
        Self { dir: FsChunkDir::create(folder).unwrap(), held, digest }
    }

    fn path(&self, kind: EntryKind) -> PathBuf {
        self.dir.paths.entry(EntryName::new(self.digest, kind))
    }

    async fn place(&self, content: Option<Bytes>, class: Option<ChunkClass>) -> Result<(), DirError> {
        let marker = NewMarker { digest: self.digest, content, class, at: at(10) };
        self.dir.place_marker(&self.held, marker).await
    }

    async fn marker(&self) -> Option<Marker> {
        self.dir.marks(&self.held, vec![self.digest]).await.unwrap()[0].marker
    }

    fn files(&self) -> Vec<String> {
        let folder = self.path(EntryKind::Chunk);
        let Ok(entries) = fs::read_dir(folder.parent().unwrap()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    check_marker_dir(&FsChunkDir::create(folder.path()).unwrap()).await;
}

#[test]
fn no_mask_of_a_process_turns_one_class_into_the_other() {
    for mask in 0..=0o777 {
        for class in [ChunkClass::Plain, ChunkClass::Encrypted] {
            let read = class_of_mode(mode_of(Some(class)) & !mask);
            assert!(read.is_none_or(|read| read == class), "{class:?} under {mask:o} is {read:?}");
        }
        assert_eq!(class_of_mode(UNKNOWN_MODE & !mask), None, "{mask:o}");
    }
    assert_eq!(
        class_of_mode(0o100_650),
        Some(ChunkClass::Plain),
        "the bits for the type of the file do not count"
    );
    for usual in [0o600, 0o640, 0o644, 0o660, 0o664, 0o700, 0o750, 0o755, 0o770, 0o777, 0o4740] {
        assert_eq!(class_of_mode(usual), None, "{usual:o}");
    }
}

#[tokio::test]
async fn the_class_survives_all_but_a_change_of_the_mode() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::at(folder.path()).await;
    site.place(None, Some(ChunkClass::Encrypted)).await.unwrap();
    let reopened = Site::at(folder.path()).await;
    assert_eq!(reopened.marker().await.unwrap().class, Some(ChunkClass::Encrypted));
    set_mode(&site.path(EntryKind::Chunk), 0o644);
    assert_eq!(site.marker().await.unwrap().class, None);
    // Content still tells.
    site.place(Some(content()), None).await.unwrap();
    set_mode(&site.path(EntryKind::Chunk), 0o644);
    assert_eq!(site.marker().await.unwrap().class, Some(ChunkClass::Plain));
    site.dir.empty_marker(&site.held, site.digest).await.unwrap();
    assert_eq!(site.marker().await, Some(Marker { len: 0, used_at: at(10), class: Some(ChunkClass::Plain) }));
}

#[test]
fn what_a_crash_left_half_written_lends_neither_mode_nor_content() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    fs::write(&left, b"half-written").unwrap();
    set_mode(&left, ENCRYPTED_MODE);
    let metadata = create_new(&left, UNKNOWN_MODE).unwrap().metadata().unwrap();
    assert_eq!((metadata.len(), class_of_mode(metadata.mode())), (0, None));
}

#[tokio::test]
async fn a_reader_that_has_a_marker_open_keeps_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::at(folder.path()).await;
    site.place(Some(content()), None).await.unwrap();
    let mut open = File::open(site.path(EntryKind::Chunk)).unwrap();
    site.dir.empty_marker(&site.held, site.digest).await.unwrap();
    let mut read = Vec::new();
    open.read_to_end(&mut read).unwrap();
    assert_eq!(read, content());
}

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Returns `None` without the right to mount.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "coldkeep-test"]).arg(folder.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                println!("SKIPPED: no right to mount a file system");
                None
            }
        }
    }

    fn fill(&self) {
        let mut file = File::create(self.0.path().join("ballast")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    /// Takes all that new files need.
    fn fill_with_files(&self) {
        let full = (0..1000).any(|i: u32| File::create(self.0.path().join(i.to_string())).is_err());
        assert!(full, "the disk takes any number of files");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn h14_a_disk_without_room_for_content_takes_empty_markers() {
    let Some(disk) = SmallDisk::mount("size=256k") else { return };
    let site = Site::at(disk.0.path()).await;
    site.dir.put_upload_marker(&site.held, site.digest, at(5)).await.unwrap();
    disk.fill();
    site.place(Some(content()), None).await.unwrap();
    let empty = Some(Marker { len: 0, used_at: at(10), class: Some(ChunkClass::Plain) });
    assert_eq!(site.marker().await, empty);
    assert!(site.dir.fill_marker(&site.held, site.digest, content()).await.unwrap());
    assert_eq!(site.marker().await, empty);
    assert_eq!(site.files(), [site.digest.to_string()], "something half-written is left");

    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    assert!(site.dir.fill_marker(&site.held, site.digest, content()).await.unwrap());
    disk.fill();
    // Damaged content that cannot be replaced goes.
    assert!(site.dir.fill_marker(&site.held, site.digest, content()).await.unwrap());
    assert_eq!(site.marker().await, empty);
}

#[tokio::test]
async fn h14_a_disk_without_room_for_files_ends_what_began_and_evicts() {
    let Some(disk) = SmallDisk::mount("size=1m,nr_inodes=40") else { return };
    let site = Site::at(disk.0.path()).await;
    site.place(Some(content()), None).await.unwrap();
    disk.fill_with_files();
    let uploaded = || site.dir.put_upload_marker(&site.held, site.digest, at(5));
    let error = uploaded().await.unwrap_err();
    assert!(error.is_storage_full(), "{error:?}");
    assert_eq!(site.dir.empty_marker(&site.held, site.digest).await.unwrap(), content().len() as u64);
    let evicted = site.marker().await;
    assert_eq!(evicted, Some(Marker { len: 0, used_at: at(10), class: Some(ChunkClass::Plain) }));

    site.dir.remove_markers(&site.held, vec![site.digest]).await.unwrap();
    uploaded().await.unwrap();
    site.place(Some(content()), None).await.unwrap();
    assert_eq!(site.marker().await, evicted, "the upload marker became the marker");
    assert_eq!(site.files(), [site.digest.to_string()]);
    site.dir.remove_markers(&site.held, vec![site.digest]).await.unwrap();
    disk.fill_with_files();
    let error = site.place(Some(content()), None).await.unwrap_err();
    assert!(error.is_storage_full(), "{error:?}");
}
