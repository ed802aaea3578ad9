//! The disk by itself, and mounted where this machine allows it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod files;
mod folders;
mod mounted;
mod names;

use std::collections::BTreeSet;

use coldkeep_powercut::{Disk, FileKind, InodeId, Owner, Slot};

/// Enough for every style of a cut to come often.
const SEEDS: u64 = 300;

const OWNER: Owner = Owner { mode: 0o644, uid: 0, gid: 0 };

fn top(name: &str) -> Slot {
    Slot::new(InodeId::ROOT, name)
}

/// What is at each path, by name: the content of files, a slash for folders.
fn tree(disk: &Disk) -> BTreeSet<(String, String)> {
    let (mut found, mut pending) = (BTreeSet::new(), vec![(String::new(), InodeId::ROOT)]);
    while let Some((path, folder)) = pending.pop() {
        for (name, id) in disk.list(folder).unwrap() {
            let path = format!("{path}{}", String::from_utf8(name).unwrap());
            let what = match disk.stat(id).unwrap().kind {
                FileKind::File => String::from_utf8(disk.read(id, 0, 1000).unwrap().to_vec()).unwrap(),
                FileKind::Link => String::from_utf8(disk.target(id).unwrap().to_vec()).unwrap(),
                FileKind::Folder => {
                    pending.push((format!("{path}/"), id));
                    "/".to_owned()
                }
            };
            found.insert((path, what));
        }
    }
    found
}

/// Everything that a power cut can leave of what `work` did to an empty disk, each as `name=content name=content`.
fn left_by(work: impl Fn(&mut Disk)) -> BTreeSet<String> {
    let left = |seed| {
        let mut disk = Disk::new(1 << 20);
        work(&mut disk);
        disk.lose_power(seed);
        let once = tree(&disk);
        // What is left is durable: nothing more can be lost.
        disk.lose_power(seed + 1);
        assert_eq!(tree(&disk), once);
        once.iter().map(|(path, what)| format!("{path}={what}")).collect::<Vec<_>>().join(" ")
    };
    (0..SEEDS).map(left).collect()
}

/// Makes a file that is durable, name and all.
fn durable(disk: &mut Disk, name: &str, content: &str) -> InodeId {
    let file = disk.create(top(name), OWNER).unwrap();
    disk.write(file, 0, content.as_bytes()).unwrap();
    disk.sync_file(file).unwrap();
    disk.sync_folder(InodeId::ROOT).unwrap();
    file
}

fn all_of<'a>(expected: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    expected.into_iter().map(str::to_owned).collect()
}
