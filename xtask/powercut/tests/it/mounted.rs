//! The disk as the kernel uses it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use coldkeep_powercut::PowerDisk;

/// Mounts a disk, or says why the test is skipped.
fn mount(test: &str) -> Option<PowerDisk> {
    let mounted = PowerDisk::mount(64 << 20);
    mounted.inspect_err(|error| println!("SKIPPED {test}: cannot {error}")).ok()
}

fn write(path: &Path, content: &[u8]) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file
}

fn sync(folder: &Path) {
    File::open(folder).unwrap().sync_all().unwrap();
}

#[test]
fn files_are_what_was_written_and_listed_as_they_are() {
    let Some(disk) = mount("mounted files") else { return };
    let (top, large) = (disk.path(), vec![7; 3_000_001]);
    drop(write(&top.join("large"), &large));
    assert!(fs::read(top.join("large")).unwrap() == large);
    let folder = top.join("a/b");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..2000 {
        File::create(folder.join(format!("a rather long name with the number {number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2000);
    fs::remove_dir_all(top.join("a")).unwrap();
    let mut log = File::options().append(true).create(true).open(top.join("log")).unwrap();
    for line in ["one\n", "two\n"] {
        log.write_all(line.as_bytes()).unwrap();
    }
    let time = SystemTime::UNIX_EPOCH + Duration::new(1000, 5);
    log.set_times(fs::FileTimes::new().set_accessed(time)).unwrap();
    fs::hard_link(top.join("log"), top.join("link")).unwrap();
    fs::rename(top.join("log"), top.join("renamed")).unwrap();
    assert_eq!(fs::read_to_string(top.join("link")).unwrap(), "one\ntwo\n");
    let metadata = fs::metadata(top.join("renamed")).unwrap();
    assert_eq!((metadata.atime(), metadata.atime_nsec(), metadata.nlink()), (1000, 5, 2));
    // What is removed can be read as long as it is open.
    let mut open = File::open(top.join("link")).unwrap();
    fs::remove_file(top.join("link")).unwrap();
    fs::remove_file(top.join("renamed")).unwrap();
    assert_eq!(open.read(&mut [0; 100]).unwrap(), 8);
    assert!(fs::read_dir(top).unwrap().map(|entry| entry.unwrap().file_name()).eq(["large"]));
}

// Goal: each sync of a process is what the disk takes for it, and nothing else is.
// Method: the same files, synced in each way and in none; after many cuts those of a kind were always or not always there.
#[test]
fn syncs_of_a_process_reach_the_disk_as_what_they_are() {
    let (mut unsynced, mut unnamed) = (0, 0);
    for seed in 0..12 {
        let Some(mut disk) = mount("mounted syncs") else { return };
        let top = disk.path().to_owned();
        fs::create_dir(top.join("d")).unwrap();
        drop(write(&top.join("d/whole"), b"synced"));
        rustix::fs::syncfs(File::open(&top).unwrap()).unwrap();
        write(&top.join("file"), b"synced").sync_all().unwrap();
        sync(&top);
        write(&top.join("d/unnamed"), b"synced").sync_all().unwrap();
        drop(write(&top.join("d/unsynced"), b"unsynced"));
        disk.cut();
        let loss = disk.restore(seed).unwrap();
        assert_eq!(loss.changes, 2, "{loss:?}");
        for name in ["d/whole", "file"] {
            assert_eq!(fs::read(top.join(name)).unwrap(), b"synced", "{name} of seed {seed}");
        }
        let left = |name: &str| fs::read(top.join("d").join(name)).ok();
        unnamed += usize::from(left("unnamed").is_none_or(|content| content != b"synced"));
        unsynced += usize::from(left("unsynced").is_none_or(|content| content != b"unsynced"));
    }
    assert!((1..12).contains(&unnamed) && (1..12).contains(&unsynced), "{unnamed} {unsynced}");
}

#[test]
fn nothing_takes_effect_after_the_cut() {
    let Some(mut disk) = mount("mounted cut") else { return };
    let top = disk.path().to_owned();
    sync(&top);
    disk.cut();
    let writing = {
        let top = top.clone();
        std::thread::spawn(move || {
            let file = File::create(top.join("late"));
            file.and_then(|file| file.sync_all())
        })
    };
    assert!(!writing.is_finished());
    disk.let_go();
    writing.join().unwrap().unwrap_err();
    fs::create_dir(top.join("later")).unwrap_err();
    for seed in 0..4 {
        let loss = disk.restore(seed).unwrap();
        assert_eq!((loss.changes, fs::read_dir(&top).unwrap().count()), (0, 0));
    }
    // And it goes on.
    drop(write(&top.join("next"), b"content"));
    disk.sync();
    disk.restore(0).unwrap();
    assert_eq!(fs::read(top.join("next")).unwrap(), b"content");
}

#[test]
fn a_full_disk_says_so() {
    let Some(disk) = mount("mounted full") else { return };
    let mut file = File::create(disk.path().join("a")).unwrap();
    let error = file.write_all(&vec![1; 65 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
