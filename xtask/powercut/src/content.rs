//! What a file holds: now, on the disk, and what happened in between.

use std::sync::Arc;

use crate::dice::Dice;

/// Disks write sectors as a whole, in bytes.
const SECTOR: usize = 512;
/// Filesystems write back pages, in bytes, each when they please.
const PAGE: usize = 4096;

/// What a power cut does to the changes of one file since it was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Each page for itself, and the size for itself.
    Torn,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// The bytes of a file. What is visible and what is durable share their memory while they are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    now: Arc<Vec<u8>>,
    disk: Arc<Vec<u8>>,
    changes: Vec<Change>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Returns what is visible from `at` on, at most `len` bytes of it.
    pub(crate) fn read(&self, at: usize, len: usize) -> &[u8] {
        let start = at.min(self.now.len());
        &self.now[start..at.saturating_add(len).min(self.now.len()).max(start)]
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        place(Arc::make_mut(&mut self.now), at, bytes);
        self.changes.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    /// Cuts the file, or fills it up with zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        if len != self.now.len() {
            Arc::make_mut(&mut self.now).resize(len, 0);
            self.changes.push(Change::Resize(len));
        }
    }

    /// Makes what is visible durable.
    pub(crate) fn sync(&mut self) {
        self.disk = Arc::clone(&self.now);
        self.changes.clear();
    }

    /// Leaves what the disk has after a power cut.
    pub(crate) fn lose(&mut self, fate: Fate, dice: &mut Dice) {
        match fate {
            Fate::Lost => self.now = Arc::clone(&self.disk),
            Fate::Kept => {}
            Fate::Torn => self.now = Arc::new(self.torn(dice)),
        }
        self.sync();
    }

    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut content = self.disk.to_vec();
        // Small files have few pages and large ones many: both are to come out whole but for a page, and in shreds.
        let kept_per_mille = dice.pick(&[100, 500, 900, 998]);
        for change in &self.changes {
            match change {
                Change::Resize(len) if dice.one_in(2) => content.resize(*len, 0),
                Change::Resize(_) => {}
                Change::Write { at, bytes } => {
                    write_torn(&mut content, *at, bytes, kept_per_mille, dice);
                    // The size was kept, whatever became of the pages: where there is none, zeros are read.
                    if content.len() < at + bytes.len() && dice.one_in(2) {
                        content.resize(at + bytes.len(), 0);
                    }
                }
            }
        }
        content
    }
}

fn place(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// Writes the pages that are kept; of a page that is not, perhaps its first sectors.
fn write_torn(content: &mut Vec<u8>, at: usize, bytes: &[u8], kept_per_mille: usize, dice: &mut Dice) {
    let mut done = 0;
    while done < bytes.len() {
        let offset = at + done;
        let page = (PAGE - offset % PAGE).min(bytes.len() - done);
        let sectors = dice.below(PAGE / SECTOR);
        let kept = if dice.per_mille(kept_per_mille) {
            page
        } else if dice.one_in(2) {
            (sectors * SECTOR).saturating_sub(offset % SECTOR).min(page)
        } else {
            0
        };
        place(content, offset, &bytes[done..done + kept]);
        done += page;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirty() -> Content {
        let mut content = Content::default();
        content.write(0, &vec![1; 5 * PAGE]);
        content.sync();
        content.write(PAGE / 2, &[2; 2 * PAGE]);
        content.write(5 * PAGE, &[3; 2 * PAGE]);
        content
    }

    fn after(fate: Fate, seed: u64) -> Vec<u8> {
        let mut content = dirty();
        content.lose(fate, &mut Dice::new(seed));
        assert!(!content.is_dirty());
        content.read(0, usize::MAX).to_vec()
    }

    #[test]
    fn what_is_lost_is_the_old_and_what_is_kept_the_new() {
        assert_eq!(after(Fate::Lost, 0), vec![1; 5 * PAGE]);
        assert_eq!(after(Fate::Kept, 0), dirty().read(0, usize::MAX));
    }

    #[test]
    fn torn_files_are_made_of_whole_sectors_of_old_new_and_nothing() {
        let (mut sizes, mut torn_pages) = (std::collections::BTreeSet::new(), 0);
        for seed in 0..200 {
            let content = after(Fate::Torn, seed);
            sizes.insert(content.len() / SECTOR);
            for (number, sector) in content.chunks(SECTOR).enumerate() {
                let first = sector[0];
                assert!(sector.iter().all(|byte| *byte == first), "sector {number} of seed {seed}");
                let possible: &[u8] = match number * SECTOR {
                    at if at >= 5 * PAGE => &[0, 3],
                    at if (PAGE / 2..PAGE * 5 / 2).contains(&at) => &[1, 2],
                    _ => &[1],
                };
                assert!(possible.contains(&first), "{first} in sector {number} of seed {seed}");
            }
            let is_torn = |page: &&[u8]| page.contains(&0) && page.contains(&3);
            torn_pages += content[5 * PAGE..].chunks(PAGE).filter(is_torn).count();
        }
        // Nothing of the new size, all of it, and sizes between pages.
        assert!(
            sizes.contains(&40) && sizes.contains(&56) && sizes.iter().any(|size| size % 8 != 0),
            "{sizes:?}"
        );
        assert!(torn_pages > 0, "no page is torn");
    }

    #[test]
    fn a_cut_file_is_short_or_as_long_as_before() {
        let lens: std::collections::BTreeSet<usize> = (0..50)
            .map(|seed| {
                let mut content = Content::default();
                content.write(0, &[1; 100]);
                content.sync();
                content.resize(0);
                content.lose(Fate::Torn, &mut Dice::new(seed));
                content.len()
            })
            .collect();
        assert!(lens.into_iter().eq([0, 100]));
    }

    #[test]
    fn reads_end_with_the_file() {
        let content = dirty();
        assert_eq!(content.read(7 * PAGE - 1, 10), [3]);
        assert!(content.read(7 * PAGE, 10).is_empty() && content.read(usize::MAX, 10).is_empty());
    }

    #[test]
    fn a_write_behind_the_end_leaves_zeros() {
        let mut content = Content::default();
        content.write(2, &[1]);
        content.write(9, &[]);
        assert_eq!(content.read(0, 10), [0, 0, 1]);
    }
}
