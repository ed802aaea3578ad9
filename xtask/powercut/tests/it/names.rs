//! Names of files in one folder.

use coldkeep_powercut::{Disk, InodeId};
use rustix::io::Errno;

use crate::{OWNER, all_of, durable, left_by, top};

#[test]
fn an_unsynced_rename_leaves_the_old_or_the_new_never_both_or_neither() {
    let left = left_by(|disk| {
        durable(disk, "a", "old");
        durable(disk, "a.tmp", "new");
        disk.rename(top("a.tmp"), top("a")).unwrap();
    });
    assert_eq!(left, all_of(["a=old a.tmp=new", "a=new"]));
}

#[test]
fn a_synced_rename_stays() {
    let left = left_by(|disk| {
        durable(disk, "a", "old");
        durable(disk, "a.tmp", "new");
        disk.rename(top("a.tmp"), top("a")).unwrap();
        disk.sync_folder(InodeId::ROOT).unwrap();
    });
    assert_eq!(left, all_of(["a=new"]));
}

#[test]
fn a_rename_can_overtake_the_content() {
    let left = left_by(|disk| {
        durable(disk, "a", "old");
        let file = disk.create(top("a.tmp"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
        disk.rename(top("a.tmp"), top("a")).unwrap();
        disk.sync_folder(InodeId::ROOT).unwrap();
    });
    assert_eq!(left, all_of(["a=", "a=\0\0\0", "a=new"]));
}

#[test]
fn an_unsynced_removal_can_be_undone() {
    let left = left_by(|disk| {
        durable(disk, "a", "old");
        disk.unlink(top("a")).unwrap();
    });
    assert_eq!(left, all_of(["", "a=old"]));
}

#[test]
fn names_are_lost_in_any_order() {
    let left = left_by(|disk| {
        durable(disk, "a", "1");
        durable(disk, "b", "2");
        disk.unlink(top("a")).unwrap();
        disk.unlink(top("b")).unwrap();
    });
    assert_eq!(left, all_of(["", "a=1", "b=2", "a=1 b=2"]));
}

#[test]
fn changes_of_one_name_are_lost_from_the_last_on() {
    let left = left_by(|disk| {
        durable(disk, "a", "1");
        durable(disk, "b", "2");
        disk.unlink(top("a")).unwrap();
        disk.rename(top("b"), top("a")).unwrap();
    });
    assert_eq!(left, all_of(["a=1 b=2", "b=2", "a=2"]));
}

#[test]
fn a_file_that_is_renamed_twice_is_at_one_place() {
    let left = left_by(|disk| {
        durable(disk, "a", "1");
        disk.rename(top("a"), top("b")).unwrap();
        disk.rename(top("b"), top("c")).unwrap();
    });
    assert_eq!(left, all_of(["a=1", "b=1", "c=1"]));
}

#[test]
fn a_second_name_outlives_the_first() {
    let left = left_by(|disk| {
        let file = durable(disk, "a", "1");
        disk.link(file, top("b")).unwrap();
        disk.unlink(top("a")).unwrap();
    });
    assert_eq!(left, all_of(["a=1", "a=1 b=1", "b=1"]));
}

#[test]
fn symbolic_links_are_names_like_others() {
    let left = left_by(|disk| {
        disk.make_link(top("l"), b"there", OWNER).unwrap();
    });
    assert_eq!(left, all_of(["", "l=there"]));
}

#[test]
fn refusals_are_those_of_linux() {
    let mut disk = Disk::new(1000);
    let file = durable(&mut disk, "a", "1");
    let folder = disk.make_folder(top("d"), OWNER).unwrap();
    assert_eq!(disk.create(top("a"), OWNER), Err(Errno::EXIST));
    assert_eq!(disk.create(top(&"n".repeat(256)), OWNER), Err(Errno::NAMETOOLONG));
    assert_eq!(disk.unlink(top("d")), Err(Errno::ISDIR));
    assert_eq!(disk.remove_folder(top("a")), Err(Errno::NOTDIR));
    assert_eq!(disk.rename(top("a"), top("d")), Err(Errno::ISDIR));
    assert_eq!(disk.rename(top("d"), top("a")), Err(Errno::NOTDIR));
    assert_eq!(disk.rename(top("b"), top("a")), Err(Errno::NOENT));
    assert_eq!(disk.link(folder, top("e")), Err(Errno::PERM));
    assert_eq!(disk.write(folder, 0, b"x"), Err(Errno::INVAL));
    assert_eq!(disk.sync_folder(file), Err(Errno::NOTDIR));
}
