//! Access lists as the kernel keeps them in extended attributes (`acl(5)`, Linux `posix_acl_xattr.h`).

use crate::pxar::{AclEntry, DefaultAcl};

/// Extended attribute with the access list of a file.
pub(super) const ACCESS_NAME: &[u8] = b"system.posix_acl_access";
/// Extended attribute with what new files in a directory get.
pub(super) const DEFAULT_NAME: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;

/// Whom an entry is about.
mod tag {
    pub(super) const USER_OBJ: u16 = 0x01;
    pub(super) const USER: u16 = 0x02;
    pub(super) const GROUP_OBJ: u16 = 0x04;
    pub(super) const GROUP: u16 = 0x08;
    pub(super) const MASK: u16 = 0x10;
    pub(super) const OTHER: u16 = 0x20;
}

/// An access list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List {
    pub(super) users: Vec<AclEntry>,
    pub(super) groups: Vec<AclEntry>,
    /// Rights of those that have no name in it.
    pub(super) base: DefaultAcl,
}

impl List {
    /// Reads the value of the attribute; `None` if it is none that Linux writes.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk()?;
        if u32::from_le_bytes(*version) != VERSION || !entries.len().is_multiple_of(ENTRY_BYTES) {
            return None;
        }
        let mut list = Self::default();
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let permissions = u64::from(u16::from_le_bytes([entry[2], entry[3]]));
            let id = u64::from(u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]));
            match u16::from_le_bytes([entry[0], entry[1]]) {
                tag::USER_OBJ => list.base.owner = Some(permissions),
                tag::USER => list.users.push(AclEntry { id, permissions }),
                tag::GROUP_OBJ => list.base.group = Some(permissions),
                tag::GROUP => list.groups.push(AclEntry { id, permissions }),
                tag::MASK => list.base.mask = Some(permissions),
                tag::OTHER => list.base.others = Some(permissions),
                _ => return None,
            }
        }
        // As archives have them (spec `pxar.md` §3).
        list.users.sort_unstable();
        list.groups.sort_unstable();
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    }

    #[test]
    fn a_list_of_the_kernel_is_read() {
        let none = u32::MAX;
        let entries = [
            entry(1, 7, none),
            entry(2, 6, 1001),
            entry(2, 5, 1000),
            entry(4, 5, none),
            entry(8, 4, 50),
            entry(16, 7, none),
        ];
        let mut value = [&VERSION.to_le_bytes()[..], &entries.concat(), &entry(32, 0, none)].concat();
        let base = DefaultAcl { owner: Some(7), group: Some(5), others: Some(0), mask: Some(7) };
        let [first, second] = [(1000, 5), (1001, 6)].map(|(id, permissions)| AclEntry { id, permissions });
        let groups = vec![AclEntry { id: 50, permissions: 4 }];
        assert_eq!(List::parse(&value), Some(List { users: vec![first, second], groups, base }));
        value.pop();
        assert_eq!(List::parse(&value), None);
        assert_eq!(List::parse(&[VERSION.to_le_bytes().to_vec(), entry(3, 0, 0)].concat()), None);
        assert_eq!(List::parse(&1_u32.to_le_bytes()), None);
        assert_eq!(List::parse(b""), None);
    }
}
