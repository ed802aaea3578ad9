//! The power goes: what was not durable is lost, or not.

use std::collections::{BTreeMap, BTreeSet};

use super::Disk;
use crate::content::Fate;
use crate::dice::Dice;
use crate::inode::{InodeId, Kind};
use crate::names::without_orphans;

/// What a power cut found and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Changes of names that were not durable.
    pub changes: usize,
    /// Of those, how many the disk has all the same.
    pub changes_kept: usize,
    /// Files and folders whose content or attributes were not durable.
    pub dirty: usize,
}

/// How a cut treats what was not durable.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// As if nothing was ever written back by itself.
    LoseAll,
    /// As if all was, just before.
    KeepAll,
    /// A journal that had come this far; file content each for itself.
    KeepFirst(usize),
    /// Each change for itself, so many of a thousand.
    KeepEach(usize),
}

impl Style {
    fn choose(changes: usize, dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 => Self::LoseAll,
            1 => Self::KeepAll,
            2 | 3 => Self::KeepFirst(dice.below(changes + 1)),
            _ => Self::KeepEach(dice.pick(&[100, 500, 900, 990])),
        }
    }

    fn keeps(self, number: usize, dice: &mut Dice) -> bool {
        match self {
            Self::LoseAll => false,
            Self::KeepAll => true,
            Self::KeepFirst(first) => number < first,
            Self::KeepEach(per_mille) => dice.per_mille(per_mille),
        }
    }

    fn fate(self, dice: &mut Dice) -> Fate {
        match self {
            Self::LoseAll => Fate::Lost,
            Self::KeepAll => Fate::Kept,
            Self::KeepFirst(_) | Self::KeepEach(_) => {
                dice.pick(&[Fate::Lost, Fate::Kept, Fate::Torn, Fate::Torn])
            }
        }
    }
}

impl Disk {
    /// Cuts the power: what is visible afterwards is what is durable, and of all else what the seed decides. The same
    /// disk and the same seed give the same.
    ///
    /// Nobody may hold anything of the disk any more: what has no name then is gone.
    pub fn lose_power(&mut self, seed: u64) -> Loss {
        let mut dice = Dice::new(seed);
        let changes = self.changes.len();
        let dirty = self.inodes.values().filter(|inode| inode.is_dirty()).count();
        let style = Style::choose(changes, &mut dice);
        let kept = without_orphans(&self.changes, |number| style.keeps(number, &mut dice));
        self.make_durable(&kept);
        self.changes.clear();
        for inode in self.inodes.values_mut() {
            let (data, attributes) = (style.fate(&mut dice), style.fate(&mut dice));
            inode.lose(data, attributes, &mut dice);
            if let Kind::Folder { now, disk } = &mut inode.kind {
                now.clone_from(disk);
            }
        }
        self.keep_what_is_named();
        Loss { changes, changes_kept: kept.iter().filter(|kept| **kept).count(), dirty }
    }

    /// Drops what cannot be reached from the top, as a check of a filesystem does, and counts names afresh.
    fn keep_what_is_named(&mut self) {
        let mut names = BTreeMap::from([(InodeId::ROOT, 1)]);
        let (mut seen, mut pending) = (BTreeSet::from([InodeId::ROOT]), vec![InodeId::ROOT]);
        while let Some(folder) = pending.pop() {
            for id in self.names(folder).into_iter().flat_map(|names| names.values()) {
                *names.entry(*id).or_insert(0) += 1;
                let is_folder = self.inodes.get(id).is_some_and(super::Inode::is_folder);
                if is_folder && seen.insert(*id) {
                    pending.push(*id);
                }
            }
        }
        self.inodes.retain(|id, _| names.contains_key(id));
        for (id, inode) in &mut self.inodes {
            (inode.names_now, inode.names_disk) = (names[id], names[id]);
            (inode.changes, inode.lookups) = (0, 0);
        }
        let lens = self.inodes.values().map(|inode| match &inode.kind {
            Kind::File(content) => content.len(),
            _ => 0,
        });
        self.bytes = lens.sum();
    }
}
