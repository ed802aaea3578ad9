//! Folders, and what is in them.

use coldkeep_powercut::{Disk, InodeId, Slot};
use rustix::io::Errno;

use crate::{OWNER, all_of, durable, left_by, top};

fn folder(disk: &mut Disk, name: &str) -> InodeId {
    let folder = disk.make_folder(top(name), OWNER).unwrap();
    disk.sync_folder(InodeId::ROOT).unwrap();
    folder
}

#[test]
fn a_name_in_a_folder_without_a_durable_name_can_be_out_of_reach() {
    let left = left_by(|disk| {
        let folder = disk.make_folder(top("d"), OWNER).unwrap();
        let file = disk.create(Slot::new(folder, "a"), OWNER).unwrap();
        disk.write(file, 0, b"new").unwrap();
        disk.sync_file(file).unwrap();
        disk.sync_folder(folder).unwrap();
    });
    assert_eq!(left, all_of(["", "d=/ d/a=new"]));
}

#[test]
fn a_folder_can_be_there_without_what_is_in_it() {
    let left = left_by(|disk| {
        let folder = disk.make_folder(top("d"), OWNER).unwrap();
        disk.create(Slot::new(folder, "a"), OWNER).unwrap();
    });
    assert_eq!(left, all_of(["", "d=/", "d=/ d/a="]));
}

#[test]
fn a_folder_goes_only_with_all_that_was_in_it() {
    let left = left_by(|disk| {
        let folder = folder(disk, "d");
        for name in ["a", "b"] {
            disk.create(Slot::new(folder, name), OWNER).unwrap();
        }
        disk.sync_all();
        for name in ["a", "b"] {
            disk.unlink(Slot::new(folder, name)).unwrap();
        }
        disk.remove_folder(top("d")).unwrap();
    });
    assert_eq!(left, all_of(["d=/ d/a= d/b=", "d=/ d/a=", "d=/ d/b=", "d=/", ""]));
}

#[test]
fn what_happens_in_a_folder_can_overtake_its_renaming() {
    let left = left_by(|disk| {
        let folder = folder(disk, "d");
        disk.create(Slot::new(folder, "a"), OWNER).unwrap();
        disk.sync_all();
        disk.rename(top("d"), top("hidden")).unwrap();
        disk.unlink(Slot::new(folder, "a")).unwrap();
    });
    assert_eq!(left, all_of(["d=/ d/a=", "d=/", "hidden=/ hidden/a=", "hidden=/"]));
}

#[test]
fn a_sync_of_one_folder_makes_both_sides_of_a_move_durable() {
    let left = left_by(|disk| {
        let folder = folder(disk, "d");
        durable(disk, "a", "1");
        disk.rename(top("a"), Slot::new(folder, "a")).unwrap();
        disk.create(top("b"), OWNER).unwrap();
        disk.sync_folder(folder).unwrap();
    });
    assert_eq!(left, all_of(["d=/ d/a=1", "b= d=/ d/a=1"]));
}

#[test]
fn folders_never_come_to_lie_in_each_other() {
    let left = left_by(|disk| {
        let outer = folder(disk, "outer");
        let inner = disk.make_folder(Slot::new(outer, "inner"), OWNER).unwrap();
        disk.sync_all();
        disk.rename(Slot::new(outer, "inner"), top("inner")).unwrap();
        disk.rename(top("outer"), Slot::new(inner, "outer")).unwrap();
    });
    assert_eq!(left, all_of(["outer=/ outer/inner=/", "inner=/ outer=/", "inner=/ inner/outer=/"]));
}

#[test]
fn an_empty_folder_is_replaced_and_a_full_one_is_not() {
    let mut disk = Disk::new(1000);
    let (full, empty) = (folder(&mut disk, "full"), folder(&mut disk, "empty"));
    disk.create(Slot::new(full, "a"), OWNER).unwrap();
    assert_eq!(disk.rename(top("empty"), top("full")), Err(Errno::NOTEMPTY));
    assert_eq!(disk.remove_folder(top("full")), Err(Errno::NOTEMPTY));
    disk.rename(top("full"), top("empty")).unwrap();
    // Somebody may still have it open, but nothing comes into it any more.
    assert_eq!(disk.create(Slot::new(empty, "b"), OWNER), Err(Errno::NOENT));
    disk.sync_all();
    assert_eq!(disk.stat(empty), Err(Errno::NOENT));
    assert_eq!(crate::tree(&disk).len(), 2);
}
