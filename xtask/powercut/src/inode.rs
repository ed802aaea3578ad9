//! One file, folder or symbolic link: what it is now, and what of that is durable.

use std::collections::BTreeMap;

use crate::content::{Content, Fate};
use crate::dice::Dice;

/// The number of a file, folder or symbolic link; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeId(pub(crate) u64);

impl InodeId {
    /// The folder that everything is below.
    pub const ROOT: Self = Self(1);
}

/// An instant since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds beyond them.
    pub nanos: u32,
}

/// What `stat` tells beside the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// Last access. Reading does not move it.
    pub accessed: Time,
    /// Last change of the content.
    pub modified: Time,
    /// Last change of anything.
    pub changed: Time,
}

/// The names in a folder.
pub(crate) type Names = BTreeMap<Vec<u8>, InodeId>;

#[derive(Debug)]
pub(crate) enum Kind {
    File(Content),
    Folder {
        now: Names,
        disk: Names,
    },
    /// A symbolic link and its target, which never changes.
    Link(Vec<u8>),
}

/// Older attributes kept in mind; more would only take memory.
const STALE_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    attributes: Attributes,
    /// What the attributes were since they were last durable, that value first.
    stale: Vec<Attributes>,
    /// How many names it has, visible and durable.
    pub(crate) names_now: u32,
    pub(crate) names_disk: u32,
    /// How many changes of names that are not durable are about it.
    pub(crate) changes: u32,
    /// How often the kernel was told of it and has not forgotten it.
    pub(crate) lookups: u64,
}

impl Inode {
    pub(crate) fn new(kind: Kind, attributes: Attributes) -> Self {
        Self { kind, attributes, stale: Vec::new(), names_now: 0, names_disk: 0, changes: 0, lookups: 0 }
    }

    pub(crate) fn folder(attributes: Attributes) -> Self {
        Self::new(Kind::Folder { now: Names::new(), disk: Names::new() }, attributes)
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub(crate) fn change_attributes(&mut self, change: impl FnOnce(&mut Attributes)) {
        if self.stale.len() == STALE_MAX {
            self.stale.pop();
        }
        self.stale.push(self.attributes);
        change(&mut self.attributes);
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder { .. })
    }

    /// Whether nobody can come to it any more, not after a power cut either.
    pub(crate) fn is_gone(&self) -> bool {
        self.names_now == 0 && self.names_disk == 0 && self.changes == 0 && self.lookups == 0
    }

    pub(crate) fn is_dirty(&self) -> bool {
        let is_dirty = matches!(&self.kind, Kind::File(content) if content.is_dirty());
        is_dirty || !self.stale.is_empty()
    }

    /// Makes content and size durable (`fdatasync`).
    pub(crate) fn sync_data(&mut self) {
        if let Kind::File(content) = &mut self.kind {
            content.sync();
        }
    }

    /// Makes content, size and attributes durable (`fsync`); not its names, nor those in it.
    pub(crate) fn sync(&mut self) {
        self.sync_data();
        self.stale.clear();
    }

    /// Leaves what the disk has after a power cut, names aside.
    pub(crate) fn lose(&mut self, data: Fate, attributes: Fate, dice: &mut Dice) {
        if let Kind::File(content) = &mut self.kind {
            content.lose(data, dice);
        }
        let kept = match attributes {
            Fate::Lost => self.stale.first(),
            Fate::Kept => None,
            Fate::Torn => self.stale.get(dice.below(self.stale.len() + 1)),
        };
        self.attributes = kept.copied().unwrap_or(self.attributes);
        self.stale.clear();
    }
}
