//! The table at the end of a directory: where its entries are, by a hash of their names (spec `pxar.md` §4.2).

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::item::{HEADER_BYTES, Header, Kind, u64_at};

/// Length of one row.
pub(super) const ROW_BYTES: usize = 24;

/// What the last row has in the place of a hash.
const TAIL_HASH: u64 = 0xef5e_ed5b_753e_1555;

/// Hashes the name of an entry.
pub(super) fn hash(name: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(0x83ac_3f1c_fbb4_50db, 0xaa4f_1b68_7936_9fbd);
    hasher.write(name);
    hasher.finish()
}

/// A row: an entry, or the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) hash: u64,
    /// Distance from the start of the table back to that of the entry's name; in the last row, to that of the directory.
    pub(super) offset: u64,
    /// Length of the entry from its name on; in the last row, of the table.
    pub(super) size: u64,
}

impl Row {
    /// Reads a row.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self { hash: u64_at(bytes, 0), offset: u64_at(bytes, 8), size: u64_at(bytes, 16) }
    }

    /// Tells whether this is the last row.
    pub(super) const fn is_tail(&self) -> bool {
        self.hash == TAIL_HASH
    }

    fn put(&self, out: &mut Vec<u8>) {
        for value in [self.hash, self.offset, self.size] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Appends the table of a directory; `rows` are its entries in any order, `start` is how far back the directory begins.
pub(super) fn put_table(out: &mut Vec<u8>, mut rows: Vec<Row>, start: u64) {
    // Stable, so that one tree makes one archive whatever its hashes are.
    rows.sort_by_key(|row| row.hash);
    let content_len = (ROW_BYTES * (rows.len() + 1)) as u64;
    out.extend(Header { kind: Kind::Goodbye, content_len }.to_bytes());
    let mut tree = vec![0; rows.len()];
    number_in_order(&mut tree);
    for sorted in tree {
        rows[sorted].put(out);
    }
    Row { hash: TAIL_HASH, offset: start, size: content_len + HEADER_BYTES as u64 }.put(out);
}

/// Numbers the nodes of a complete binary tree in the order of a walk from left to right; node i has the children 2i + 1 and 2i + 2.
fn number_in_order(tree: &mut [usize]) {
    let mut node = leftmost(0, tree.len());
    for number in 0..tree.len() {
        tree[node] = number;
        let right = 2 * node + 2;
        if right < tree.len() {
            node = leftmost(right, tree.len());
        } else {
            // Up, until that was a left child.
            while node > 0 && node.is_multiple_of(2) {
                node = (node - 1) / 2;
            }
            node = node.saturating_sub(1) / 2;
        }
    }
}

fn leftmost(mut node: usize, len: usize) -> usize {
    while 2 * node + 1 < len {
        node = 2 * node + 1;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_published_ones() {
        // Spec §4.4.
        for (name, expected) in [
            (&b"a"[..], 0x0c26_e906_7c2c_7bcf_u64),
            (b"file", 0x2a22_6963_b447_9b15),
            (b"0123456", 0xe72f_f475_67a4_e7e2),
            (b"01234567", 0xf908_9653_8219_3a1f),
            (b".pxarexclude-cli", 0x0469_75ce_672e_09eb),
            ("caf\u{e9}".as_bytes(), 0x4978_aaf7_78ac_b468),
            (b"\xff\xfe\xfd", 0xb983_74c3_0a2e_f6c6),
        ] {
            assert_eq!(hash(name), expected, "{name:?}");
        }
    }

    #[test]
    fn trees_are_in_the_order_of_the_specification() {
        // Spec §4.2.
        for expected in [
            &[0][..],
            &[1, 0],
            &[1, 0, 2],
            &[2, 1, 3, 0],
            &[3, 1, 4, 0, 2],
            &[3, 1, 5, 0, 2, 4],
            &[3, 1, 5, 0, 2, 4, 6],
            &[6, 3, 8, 1, 5, 7, 9, 0, 2, 4],
        ] {
            let mut tree = vec![0; expected.len()];
            number_in_order(&mut tree);
            assert_eq!(tree, expected);
        }
    }

    #[test]
    fn every_node_of_a_tree_is_right_of_its_left_child_and_left_of_its_right_one() {
        for len in 0..300 {
            let mut tree = vec![usize::MAX; len];
            number_in_order(&mut tree);
            for node in 0..len {
                let child = |at: usize| tree.get(at).copied();
                assert!(child(2 * node + 1).is_none_or(|left| left < tree[node]), "{len}");
                assert!(child(2 * node + 2).is_none_or(|right| right > tree[node]), "{len}");
            }
        }
    }
}
