//! Access lists as the kernel keeps them in extended attributes (`acl(5)`, Linux `posix_acl_xattr.h`).

use crate::pxar::{AclEntry, DefaultAcl, Metadata};

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

/// What stands in the place of a number where an entry names nobody.
const NOBODY: u64 = u32::MAX as u64;

/// Returns the attribute with the access list of a file, if its mode does not say it all (spec `client.md` §6): where the owning group has
/// rights of its own, those of the mode are the mask.
pub(crate) fn access_value(metadata: &Metadata) -> Option<(&'static [u8], Vec<u8>)> {
    let acl = &metadata.acl;
    if acl.users.is_empty() && acl.groups.is_empty() && acl.group_obj.is_none() {
        return None;
    }
    let [owner, group, others] = [6, 3, 0].map(|shift| u64::from(metadata.mode >> shift & 0o7));
    let base = DefaultAcl {
        owner: Some(owner),
        group: Some(acl.group_obj.unwrap_or(group)),
        others: Some(others),
        // Named ones need a mask.
        mask: Some(group),
    };
    let list = List { users: acl.users.clone(), groups: acl.groups.clone(), base };
    Some((ACCESS_NAME, list.to_value()))
}

/// Returns the attribute with what new files in a directory get, if there is anything.
pub(crate) fn default_value(metadata: &Metadata) -> Option<(&'static [u8], Vec<u8>)> {
    let acl = &metadata.acl;
    let (users, groups) = (acl.default_users.clone(), acl.default_groups.clone());
    acl.default.map(|base| (DEFAULT_NAME, List { users, groups, base }.to_value()))
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

    /// Writes the value of the attribute, in the order that Linux wants.
    fn to_value(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        let one =
            |permissions: Option<u64>| permissions.map(|permissions| AclEntry { id: NOBODY, permissions });
        let DefaultAcl { owner, group, others, mask } = self.base;
        let mut put = |tag: u16, entries: &mut dyn Iterator<Item = AclEntry>| {
            for AclEntry { id, permissions } in entries {
                value.extend(tag.to_le_bytes());
                value.extend((permissions as u16 & 0o7).to_le_bytes());
                value.extend((id as u32).to_le_bytes());
            }
        };
        put(tag::USER_OBJ, &mut one(owner).into_iter());
        put(tag::USER, &mut self.users.iter().copied());
        put(tag::GROUP_OBJ, &mut one(group).into_iter());
        put(tag::GROUP, &mut self.groups.iter().copied());
        put(tag::MASK, &mut one(mask).into_iter());
        put(tag::OTHER, &mut one(others).into_iter());
        value
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
        // Users were not in the order of their numbers.
        let [owner, second_user, first_user, rest @ ..] = &entries;
        let sorted = [owner, first_user, second_user].into_iter().chain(rest).flatten().copied();
        let sorted: Vec<u8> =
            VERSION.to_le_bytes().into_iter().chain(sorted).chain(entry(32, 0, none)).collect();
        assert_eq!(List::parse(&value).unwrap().to_value(), sorted);
        value.pop();
        assert_eq!(List::parse(&value), None);
        assert_eq!(List::parse(&[VERSION.to_le_bytes().to_vec(), entry(3, 0, 0)].concat()), None);
        assert_eq!(List::parse(&1_u32.to_le_bytes()), None);
        assert_eq!(List::parse(b""), None);
    }

    #[test]
    fn a_mode_with_a_list_is_a_list() {
        let mut metadata = Metadata { mode: 0o100_754, ..Metadata::default() };
        assert_eq!((access_value(&metadata), default_value(&metadata)), (None, None));
        metadata.acl.group_obj = Some(4);
        metadata.acl.users = vec![AclEntry { id: 7, permissions: 6 }];
        let (name, value) = access_value(&metadata).unwrap();
        let base = DefaultAcl { owner: Some(7), group: Some(4), others: Some(4), mask: Some(5) };
        let expected = List { users: metadata.acl.users.clone(), groups: Vec::new(), base };
        assert_eq!((name, List::parse(&value)), (ACCESS_NAME, Some(expected)));
        metadata.acl.group_obj = None;
        let (_, value) = access_value(&metadata).unwrap();
        assert_eq!(List::parse(&value).unwrap().base.group, Some(5));
        metadata.acl.default = Some(DefaultAcl { mask: None, ..base });
        let (name, value) = default_value(&metadata).unwrap();
        assert_eq!(
            (name, List::parse(&value).unwrap().base),
            (DEFAULT_NAME, DefaultAcl { mask: None, ..base })
        );
    }
}
