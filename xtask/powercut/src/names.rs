//! Changes of names that are not durable yet, and which of them build on which.
//!
//! A power cut may lose any of them and keep any other, except that a change which is kept takes those with it that it
//! builds on: earlier ones of the same name in the same folder; earlier ones of the same file or folder; before a folder
//! is removed, all that happened in it; and folders move from one folder to another in the order in which they did.
//! Renames are one change of two names. Nothing builds on the folder that it happens in: a name can be durable in a folder
//! which has no durable name itself, and is then out of reach.

use std::collections::BTreeSet;

use crate::inode::InodeId;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The folder.
    pub folder: InodeId,
    /// The name.
    pub name: Vec<u8>,
}

impl Slot {
    /// The slot of this name in a folder.
    pub fn new(folder: InodeId, name: impl AsRef<[u8]>) -> Self {
        Self { folder, name: name.as_ref().to_vec() }
    }
}

/// One change of one name, or of two at once.
#[derive(Debug, Clone)]
pub(crate) struct NameChange {
    /// What each name stands for afterwards.
    pub(crate) sets: Vec<(Slot, Option<InodeId>)>,
    /// Whose names change.
    pub(crate) inodes: Vec<InodeId>,
    /// The folder that is no more afterwards.
    pub(crate) removes: Option<InodeId>,
    /// Whether a folder comes into another one.
    pub(crate) moves_folder: bool,
}

impl NameChange {
    pub(crate) fn happens_in(&self, folder: InodeId) -> bool {
        self.sets.iter().any(|(slot, _)| slot.folder == folder)
    }
}

/// What some changes are about.
#[derive(Default)]
struct Subjects<'a> {
    slots: BTreeSet<&'a Slot>,
    inodes: BTreeSet<InodeId>,
    folders: BTreeSet<InodeId>,
    removed: BTreeSet<InodeId>,
    moves_folder: bool,
}

impl<'a> Subjects<'a> {
    fn add(&mut self, change: &'a NameChange) {
        self.slots.extend(change.sets.iter().map(|(slot, _)| slot));
        self.inodes.extend(&change.inodes);
        self.folders.extend(change.sets.iter().map(|(slot, _)| slot.folder));
        self.removed.extend(change.removes);
        self.moves_folder |= change.moves_folder;
    }

    fn are_shared_with(&self, change: &NameChange) -> bool {
        change.sets.iter().any(|(slot, _)| self.slots.contains(slot))
            || change.inodes.iter().any(|inode| self.inodes.contains(inode))
            || (self.moves_folder && change.moves_folder)
    }

    /// Whether one of these changes builds on an earlier one.
    fn build_on(&self, earlier: &NameChange) -> bool {
        self.are_shared_with(earlier)
            || earlier.sets.iter().any(|(slot, _)| self.removed.contains(&slot.folder))
    }

    /// Whether a later change builds on one of these.
    fn carry(&self, later: &NameChange) -> bool {
        self.are_shared_with(later) || later.removes.is_some_and(|folder| self.folders.contains(&folder))
    }
}

/// Marks the changes that are wanted, and all that these build on.
pub(crate) fn with_foundations(changes: &[NameChange], wanted: impl Fn(&NameChange) -> bool) -> Vec<bool> {
    let mut marked = vec![false; changes.len()];
    let mut subjects = Subjects::default();
    for (mark, change) in marked.iter_mut().zip(changes).rev() {
        if wanted(change) || subjects.build_on(change) {
            *mark = true;
            subjects.add(change);
        }
    }
    marked
}

/// Marks the changes that are chosen, less those that build on one that is not.
pub(crate) fn without_orphans(changes: &[NameChange], mut choose: impl FnMut(usize) -> bool) -> Vec<bool> {
    let mut marked = vec![false; changes.len()];
    let mut lost = Subjects::default();
    for (number, (mark, change)) in marked.iter_mut().zip(changes).enumerate() {
        *mark = choose(number) && !lost.carry(change);
        if !*mark {
            lost.add(change);
        }
    }
    marked
}
