//! What lists show of snapshots, kept in memory: a list of ten thousand snapshots need not read ten thousand manifests.
//!
//! What is kept of a snapshot holds as long as its folder is the same by inode and change time, which nothing but the kernel sets.
//! Every file of a snapshot is put there by a rename and taken away by an unlink, which change the folder: so it does not matter who
//! changed what, nor is there a change that has to tell. Change times have the grain of the kernel's clock, some milliseconds, or of the
//! filesystem's, so what has changed a moment ago is not kept: a second change could look like the first.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Layout, SnapshotInfo, TreeError, snapshot_info};
use crate::file::Context as _;
use crate::name::{BackupTime, GroupName, Namespace, Owner, SnapshotName};

/// Most bytes that are kept: some hundred for a snapshot, unless its client has put much into its manifest.
const BYTES_MAX: usize = 64 << 20;
/// Most bytes that are kept of one snapshot.
const SNAPSHOT_BYTES_MAX: usize = 16 << 10;
/// Age of a change from which on a further one has another time, on any filesystem.
const GRAIN: Duration = Duration::from_secs(3);

/// What was read of the snapshots of groups.
#[derive(Debug, Default)]
pub(crate) struct KeptInfos {
    groups: Mutex<Groups>,
}

#[derive(Debug, Default)]
struct Groups {
    by_name: HashMap<(Namespace, GroupName), Arc<Vec<Kept>>>,
    bytes: usize,
}

/// What was read of a snapshot, without the owner, and of what it was read.
#[derive(Debug, Clone)]
struct Kept {
    time: BackupTime,
    stamp: Stamp,
    info: Arc<SnapshotInfo>,
}

/// What changes of a folder with any change of the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds since the Unix epoch.
    changed_at: (i64, i64),
}

impl KeptInfos {
    /// Gathers what lists show of the snapshots of a group, oldest first; `now` is the system's time.
    pub(crate) fn of_group(
        &self,
        layout: &Layout,
        (ns, group): (&Namespace, &GroupName),
        now: SystemTime,
    ) -> Result<Vec<SnapshotInfo>, TreeError> {
        let owner = super::read_owner(layout, ns, group).ok();
        let known = self.get(ns, group);
        let (mut infos, mut kept) = (Vec::new(), Vec::new());
        let mut has_news = false;
        let listed = super::snapshots(layout, ns, group);
        if matches!(&listed, Err(error) if error.is_not_found()) {
            self.put(ns, group, Vec::new());
        }
        for snapshot in listed? {
            // The stamp is older than what is read: a change in between shows by the next one.
            let Some(stamp) = Stamp::of(&layout.snapshot(ns, &snapshot))? else { continue };
            if let Some(same) = find(&known, &snapshot, stamp) {
                infos.push(SnapshotInfo { owner: owner.clone(), ..(*same.info).clone() });
                kept.push(same.clone());
                continue;
            }
            let info = match snapshot_info(layout, ns, &snapshot, None::<Owner>) {
                // Removed since the folder was listed.
                Err(error) if error.is_not_found() => continue,
                info => info?,
            };
            if stamp.is_settled(now) && bytes_of(&info) <= SNAPSHOT_BYTES_MAX {
                has_news = true;
                kept.push(Kept { time: snapshot.time, stamp, info: Arc::new(info.clone()) });
            }
            infos.push(SnapshotInfo { owner: owner.clone(), ..info });
        }
        if has_news || kept.len() != known.len() {
            self.put(ns, group, kept);
        }
        Ok(infos)
    }

    fn get(&self, ns: &Namespace, group: &GroupName) -> Arc<Vec<Kept>> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.by_name.get(&(ns.clone(), group.clone())).cloned().unwrap_or_default()
    }

    fn put(&self, ns: &Namespace, group: &GroupName, kept: Vec<Kept>) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).put(
            (ns.clone(), group.clone()),
            kept,
            BYTES_MAX,
        );
    }
}

impl Groups {
    fn put(&mut self, name: (Namespace, GroupName), kept: Vec<Kept>, bytes_max: usize) {
        if let Some(old) = self.by_name.remove(&name) {
            self.bytes -= bytes_of_all(&old);
        }
        let bytes = bytes_of_all(&kept);
        if kept.is_empty() || bytes > bytes_max {
            return;
        }
        while self.bytes + bytes > bytes_max {
            // Any group will do: whoever lists more than fits gains nothing from an order.
            let Some(other) = self.by_name.keys().next().cloned() else { break };
            self.bytes -= self.by_name.remove(&other).map_or(0, |old| bytes_of_all(&old));
        }
        self.bytes += bytes;
        self.by_name.insert(name, Arc::new(kept));
    }
}

fn bytes_of_all(kept: &[Kept]) -> usize {
    kept.iter().map(|kept| bytes_of(&kept.info)).sum()
}

/// Returns about how much memory what is kept of a snapshot takes.
fn bytes_of(info: &SnapshotInfo) -> usize {
    let files = info.files.iter().map(|file| size_of_val(file) + file.filename.as_str().len());
    let texts = [
        info.comment.as_ref().map(String::len),
        info.fingerprint.as_ref().map(String::len),
        info.verification.as_ref().map(|verified| verified.upid.len()),
    ];
    size_of::<Kept>() + size_of_val(info) + files.sum::<usize>() + texts.into_iter().flatten().sum::<usize>()
}

fn find<'a>(known: &'a [Kept], snapshot: &SnapshotName, stamp: Stamp) -> Option<&'a Kept> {
    let position = known.binary_search_by_key(&snapshot.time, |kept| kept.time).ok()?;
    known.get(position).filter(|kept| kept.stamp == stamp)
}

impl Stamp {
    /// Looks at a folder; none if it is gone.
    fn of(folder: &Path) -> Result<Option<Self>, TreeError> {
        match std::fs::symlink_metadata(folder) {
            Ok(metadata) => Ok(Some(Self {
                device: metadata.dev(),
                inode: metadata.ino(),
                changed_at: (metadata.ctime(), metadata.ctime_nsec()),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Ok(Err(error).context("look at", folder)?),
        }
    }

    /// Tells whether a change from now on would give another stamp.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let latest = now.saturating_sub(GRAIN).as_secs();
        u64::try_from(self.changed_at.0).is_ok_and(|second| second < latest)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::manifest::Manifest;

    /// A time at which all changes of this test are settled.
    fn later() -> SystemTime {
        let made = tempfile::tempfile().unwrap().metadata().unwrap().modified().unwrap();
        made + Duration::from_hours(1)
    }

    struct Scene {
        folder: tempfile::TempDir,
        layout: Layout,
        kept: KeptInfos,
        snapshot: SnapshotName,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path().to_owned());
            let snapshot: SnapshotName = "vm/100/2026-01-01T00:00:00Z".parse().unwrap();
            fs::create_dir_all(layout.snapshot(&Namespace::root(), &snapshot)).unwrap();
            let scene = Self { folder, layout, kept: KeptInfos::default(), snapshot };
            scene.write_manifest("first");
            scene
        }

        fn write_manifest(&self, notes: &str) {
            let mut manifest = Manifest::new(&self.snapshot);
            manifest.set_notes(notes);
            self.rename_in("index.json.blob", &manifest.to_blob().unwrap().into_bytes());
        }

        fn rename_in(&self, name: &str, content: &[u8]) {
            let temporary = self.folder.path().join("new");
            fs::write(&temporary, content).unwrap();
            let path = self.layout.snapshot(&Namespace::root(), &self.snapshot).join(name);
            fs::rename(temporary, path).unwrap();
        }

        fn list(&self, now: SystemTime) -> Vec<SnapshotInfo> {
            self.kept.of_group(&self.layout, (&Namespace::root(), &self.snapshot.group), now).unwrap()
        }

        fn comment(&self, now: SystemTime) -> String {
            self.list(now)[0].comment.clone().unwrap()
        }

        /// Puts another comment into what is kept, which shows where the next answer comes from.
        fn mark_kept(&self) {
            let mut groups = self.kept.groups.lock().unwrap();
            for kept in groups.by_name.values_mut() {
                for kept in Arc::make_mut(kept) {
                    Arc::make_mut(&mut kept.info).comment = Some("kept".to_owned());
                }
            }
        }
    }

    #[test]
    fn what_has_not_changed_is_not_read_again() {
        let scene = Scene::new();
        assert_eq!(scene.comment(later()), "first");
        scene.mark_kept();
        assert_eq!(scene.comment(later()), "kept");
        // What can change without the manifest is shown as it is.
        fs::write(scene.layout.owner(&Namespace::root(), &scene.snapshot.group), "joe@pbs\n").unwrap();
        assert_eq!(scene.list(later())[0].owner.as_ref().unwrap().to_string(), "joe@pbs");
    }

    #[test]
    fn every_change_is_seen() {
        let scene = Scene::new();
        scene.list(later());
        scene.mark_kept();
        scene.write_manifest("second");
        assert_eq!(scene.comment(later()), "second");
        scene.mark_kept();
        scene.rename_in("a.conf.blob", b"");
        let info = &scene.list(later())[0];
        assert_eq!((info.files.len(), info.protected), (2, false));
        scene.mark_kept();
        fs::write(scene.layout.protected(&Namespace::root(), &scene.snapshot), "").unwrap();
        assert!(scene.list(later())[0].protected);
        fs::remove_dir_all(scene.layout.snapshot(&Namespace::root(), &scene.snapshot)).unwrap();
        assert_eq!(scene.list(later()), []);
        assert_eq!(scene.kept.groups.lock().unwrap().by_name.len(), 0);
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_kept() {
        let scene = Scene::new();
        let now = later() - Duration::from_hours(1);
        scene.list(now);
        assert_eq!(scene.kept.groups.lock().unwrap().by_name.len(), 0);
        scene.list(now + 2 * GRAIN);
        assert_eq!(scene.kept.groups.lock().unwrap().by_name.len(), 1);
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let scene = Scene::new();
        scene.list(later());
        let one = scene.kept.get(&Namespace::root(), &scene.snapshot.group)[0].clone();
        let max = 5 * bytes_of(&one.info);
        let mut groups = Groups::default();
        let name = |id: &str| (Namespace::root(), format!("vm/{id}").parse::<GroupName>().unwrap());
        groups.put(name("1"), vec![one.clone(); 3], max);
        groups.put(name("2"), vec![one.clone(); 2], max);
        assert_eq!((groups.bytes, groups.by_name.len()), (max, 2));
        groups.put(name("3"), vec![one.clone(); 3], max);
        assert!(groups.bytes <= max && groups.by_name.contains_key(&name("3")));
        groups.put(name("3"), vec![one; 6], max);
        assert!(!groups.by_name.contains_key(&name("3")));
        let counted: usize = groups.by_name.values().map(|kept| bytes_of_all(kept)).sum();
        assert_eq!(groups.bytes, counted);
    }

    #[test]
    fn a_client_cannot_fill_the_memory_with_its_notes() {
        let scene = Scene::new();
        scene.write_manifest(&"x".repeat(SNAPSHOT_BYTES_MAX));
        assert_eq!(scene.comment(later()).len(), SNAPSHOT_BYTES_MAX);
        assert_eq!(scene.kept.groups.lock().unwrap().bytes, 0);
    }
}
