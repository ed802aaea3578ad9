//! What the keys of snapshot objects mean (spec `s3-backend.md` §2).

use std::path::PathBuf;

use coldkeep_chunk_store::backend::ObjectKey;

use crate::name::{ArchiveName, GroupName, Namespace, SnapshotName};
use crate::tree::Layout;

/// What an object below `.cnt/` is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It stands for the namespace.
    Namespace,
    /// Owner or notes of a group.
    Group(GroupName),
    /// A file of a snapshot, or its protection.
    Snapshot(SnapshotName),
}

/// An object below `.cnt/` whose key is one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentKey {
    pub(crate) ns: Namespace,
    pub(crate) place: Place,
    /// The last part of the key.
    pub(crate) file: String,
}

impl ContentKey {
    /// Takes a key apart; `None` if it is none of ours.
    pub(crate) fn parse(key: &ObjectKey) -> Option<Self> {
        let mut parts: Vec<&str> = key.as_str().strip_prefix(Layout::CONTENT)?.split('/').collect();
        let file = parts.pop()?.to_owned();
        let mut ns = Namespace::root();
        let mut rest = parts.as_slice();
        while let [Layout::NAMESPACES, component, inner @ ..] = rest {
            ns = ns.child(component).ok()?;
            rest = inner;
        }
        let place = match rest {
            [] if file == Layout::NAMESPACE && !ns.is_root() => Place::Namespace,
            [ty, id] if file == Layout::OWNER || file == Layout::NOTES => {
                Place::Group(GroupName::new(ty.parse().ok()?, id.parse().ok()?))
            }
            [ty, id, time] if file == Layout::PROTECTED || file.parse::<ArchiveName>().is_ok() => {
                let group = GroupName::new(ty.parse().ok()?, id.parse().ok()?);
                Place::Snapshot(SnapshotName::new(group, time.parse().ok()?))
            }
            _ => return None,
        };
        let parsed = Self { ns, place, file };
        // Another spelling of the same name would end up in the same file.
        (parsed.spell() == key.as_str()).then_some(parsed)
    }

    fn spell(&self) -> String {
        let inside = self.path();
        format!("{}{}", Layout::CONTENT, inside.display())
    }

    /// Returns the snapshot if the object belongs to one.
    pub(crate) fn snapshot(&self) -> Option<(&Namespace, &SnapshotName)> {
        match &self.place {
            Place::Snapshot(snapshot) => Some((&self.ns, snapshot)),
            Place::Namespace | Place::Group(_) => None,
        }
    }

    /// Tells whether the object is the manifest that makes a snapshot of it.
    pub(crate) fn is_manifest(&self) -> bool {
        matches!(self.place, Place::Snapshot(_)) && self.file == ArchiveName::MANIFEST
    }

    /// Tells whether the object keeps others of its snapshot from being cleared: the manifest, or the protection.
    pub(crate) fn keeps_snapshot(&self) -> bool {
        matches!(self.place, Place::Snapshot(_)) && (self.is_manifest() || self.file == Layout::PROTECTED)
    }

    /// Returns the path of the file that mirrors it, inside the datastore's folder.
    pub(crate) fn path(&self) -> PathBuf {
        let layout = Layout::new(PathBuf::new());
        let folder = match &self.place {
            Place::Namespace => layout.namespace(&self.ns),
            Place::Group(group) => layout.group(&self.ns, group),
            Place::Snapshot(snapshot) => layout.snapshot(&self.ns, snapshot),
        };
        folder.join(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<ContentKey> {
        ContentKey::parse(&ObjectKey::new(text).unwrap())
    }

    #[test]
    fn keys_of_the_documented_layout_are_ours() {
        let snapshot = "ns/a/vm/100/2025-07-14T14:20:02Z";
        for file in ["drive-scsi0.img.fidx", "index.json.blob", ".protected", "client.log.blob"] {
            let key = parse(&format!(".cnt/{snapshot}/{file}")).unwrap();
            assert_eq!(key.ns.as_str(), "a");
            assert_eq!(key.path(), PathBuf::from(snapshot).join(file));
            assert_eq!(key.is_manifest(), file == "index.json.blob");
        }
        assert_eq!(parse(".cnt/vm/100/owner").unwrap().place, Place::Group("vm/100".parse().unwrap()));
        assert_eq!(parse(".cnt/ns/a/ns/b/.namespace").unwrap().place, Place::Namespace);
    }

    #[test]
    fn other_keys_are_not() {
        for text in [
            ".cnt/vm/100/other",
            ".cnt/.namespace",
            ".cnt/xx/100/owner",
            ".cnt/vm/100/2025-07-14T14:20:02Z/a.txt",
            ".cnt/vm/100/2025-07-14/a.fidx",
            ".cnt/vm/100/2025-07-14T14:20:02Z/deeper/a.fidx",
            ".cnt/ns/.x/vm/100/owner",
            ".chunks/0000/owner",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
