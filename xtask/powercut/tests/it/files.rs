//! Content and attributes of files.

use coldkeep_powercut::{Disk, InodeId, Time};
use rustix::io::Errno;

use crate::{OWNER, all_of, durable, left_by, top};

#[test]
fn an_unsynced_file_can_vanish_be_empty_or_zeros_or_whole() {
    let left = left_by(|disk| {
        let file = disk.create(top("a"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
    });
    assert_eq!(left, all_of(["", "a=", "a=\0\0\0", "a=new"]));
}

#[test]
fn a_name_alone_is_durable_without_the_content() {
    let left = left_by(|disk| {
        let file = disk.create(top("a"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
        disk.sync_folder(InodeId::ROOT).unwrap();
    });
    assert_eq!(left, all_of(["a=", "a=\0\0\0", "a=new"]));
}

#[test]
fn a_synced_file_may_lose_its_name_but_no_content() {
    let left = left_by(|disk| {
        let file = disk.create(top("a"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
        disk.sync_file(file).unwrap();
    });
    assert_eq!(left, all_of(["", "a=new"]));
}

#[test]
fn what_is_synced_with_its_name_stays() {
    let left = left_by(|disk| {
        durable(disk, "a", "new");
    });
    assert_eq!(left, all_of(["a=new"]));
}

#[test]
fn a_change_of_synced_content_is_lost_or_kept() {
    let left = left_by(|disk| {
        let file = durable(disk, "a", "old");
        disk.write(file, 0, b"new").unwrap();
    });
    assert_eq!(left, all_of(["a=old", "a=new"]));
}

#[test]
fn a_replaced_content_can_be_cut_already_and_not_written_yet() {
    let left = left_by(|disk| {
        let file = durable(disk, "a", "older");
        disk.resize(file, 0).unwrap();
        disk.write(file, 0, b"new").unwrap();
    });
    assert_eq!(left, all_of(["a=older", "a=", "a=\0\0\0", "a=new", "a=newer"]));
}

#[test]
fn everything_is_durable_after_a_sync_of_the_whole() {
    let left = left_by(|disk| {
        let folder = disk.make_folder(top("d"), OWNER).unwrap();
        let file = disk.create(coldkeep_powercut::Slot::new(folder, "a"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
        disk.unlink(top("none")).unwrap_err();
        disk.sync_all();
    });
    assert_eq!(left, all_of(["d=/ d/a=new"]));
}

#[test]
fn times_are_what_they_were_at_some_time_since_the_last_sync() {
    let at = |seconds| Time { seconds, nanos: 7 };
    let seen: std::collections::BTreeSet<i64> = (0..100)
        .map(|seed| {
            let mut disk = Disk::new(1000);
            let file = durable(&mut disk, "a", "old");
            for seconds in [1, 2, 3] {
                disk.change_attributes(file, |attributes| attributes.accessed = at(seconds)).unwrap();
                if seconds == 1 {
                    disk.sync_file(file).unwrap();
                }
            }
            disk.lose_power(seed);
            disk.stat(file).unwrap().attributes.accessed.seconds
        })
        .collect();
    assert!(seen.into_iter().eq([1, 2, 3]));
}

#[test]
fn data_alone_is_synced_without_the_times() {
    let kept = |seed| {
        let mut disk = Disk::new(1000);
        let file = durable(&mut disk, "a", "old");
        disk.write(file, 3, b"er").unwrap();
        disk.change_attributes(file, |attributes| attributes.mode = 0o600).unwrap();
        disk.sync_data(file).unwrap();
        disk.lose_power(seed);
        assert_eq!(disk.read(file, 0, 9).unwrap(), b"older");
        disk.stat(file).unwrap().attributes.mode
    };
    assert!((0..50).any(|seed| kept(seed) == 0o644) && (0..50).any(|seed| kept(seed) == 0o600));
}

#[test]
fn one_seed_leaves_one_thing() {
    let left = |seed| {
        let mut disk = Disk::new(1 << 20);
        for number in 0..50 {
            let file = disk.create(top(&format!("f{number}")), OWNER).unwrap();
            disk.write(file, 0, &[b'x'; 10_000]).unwrap();
        }
        let loss = disk.lose_power(seed);
        (loss, crate::tree(&disk))
    };
    assert_eq!(left(5), left(5));
    assert!((0..20).any(|seed| left(seed) != left(5)));
}

#[test]
fn room_is_given_back_when_a_removal_is_durable() {
    let mut disk = Disk::new(10);
    let file = durable(&mut disk, "a", "12345678");
    assert_eq!(disk.write(file, 8, b"9ab"), Err(Errno::NOSPC));
    disk.unlink(top("a")).unwrap();
    let next = disk.create(top("b"), OWNER).unwrap();
    assert_eq!(disk.resize(next, 3), Err(Errno::NOSPC));
    disk.sync_folder(InodeId::ROOT).unwrap();
    disk.resize(next, 10).unwrap();
    disk.resize(next, 0).unwrap();
    assert_eq!(disk.usage(), (0, 10));
}
