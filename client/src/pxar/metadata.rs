//! What an archive holds of a file besides its name and content (spec `pxar.md` §2.1, §3.1).

use super::error::{DecodeError, EncodeError};
use super::item::{Kind, put, u32_at, u64_at};

/// Bits of [`Metadata::mode`] that tell what a file is (`stat(2)`, `S_IFMT`).
pub const FILE_TYPE_MASK: u32 = 0o170_000;

/// Most bytes of extended attributes and access lists that one entry may have: the kernel gives 64 KiB of names (`listxattr(2)`), and
/// no file system more than some times that of values.
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 64 << 20;

/// Stands for a permission that is not there.
const ABSENT: u64 = u64::MAX;

/// What kind of file an entry is, as its mode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// Reads the type off a mode; `None` if it has none that exists.
    pub const fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & FILE_TYPE_MASK {
            0o100_000 => Self::Regular,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o060_000 => Self::BlockDevice,
            0o020_000 => Self::CharDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
}

/// A time as in `struct timespec`: nanoseconds count forward from the seconds, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct FileTime {
    /// Seconds since 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

const SECOND: u32 = 1_000_000_000;

/// Metadata of one entry. The default is a file without a type, rights, owner or time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// `st_mode`: type and permission bits.
    pub mode: u32,
    /// File attributes, as the format numbers them (spec §2.2).
    pub flags: u64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: FileTime,
    /// Extended attributes, in the order of the kernel; without access lists and capabilities.
    pub xattrs: Vec<Xattr>,
    /// Access lists.
    pub acl: Acl,
    /// Value of the `security.capability` attribute.
    pub fcaps: Option<Vec<u8>>,
    /// Quota project.
    pub project_id: Option<u64>,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Xattr {
    /// Its name, with the name space.
    pub name: Vec<u8>,
    /// Its value, possibly empty.
    pub value: Vec<u8>,
}

/// POSIX access lists of an entry, as far as the mode does not say it (spec §3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acl {
    /// Named users.
    pub users: Vec<AclEntry>,
    /// Named groups.
    pub groups: Vec<AclEntry>,
    /// Rights of the owning group, where the mode's bits of the group are the mask.
    pub group_obj: Option<u64>,
    /// What new files in a directory get.
    pub default: Option<DefaultAcl>,
    /// Named users in it.
    pub default_users: Vec<AclEntry>,
    /// Named groups in it.
    pub default_groups: Vec<AclEntry>,
}

/// Rights of one user or group: 4 to read, 2 to write, 1 to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclEntry {
    /// Number of the user or group.
    pub id: u64,
    /// The rights.
    pub permissions: u64,
}

/// The part of a default access list that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultAcl {
    /// Rights of the owner.
    pub owner: Option<u64>,
    /// Rights of the owning group.
    pub group: Option<u64>,
    /// Rights of all others.
    pub others: Option<u64>,
    /// The mask.
    pub mask: Option<u64>,
}

impl Acl {
    /// Tells whether the mode says it all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Metadata {
    /// Reads the file's type off the mode.
    pub const fn file_type(&self) -> Option<FileType> {
        FileType::of_mode(self.mode)
    }

    /// Appends the items, in the order of spec §3.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (mode, seconds) = (u64::from(self.mode), self.mtime.seconds);
        let nanoseconds = self.mtime.nanoseconds.min(SECOND - 1);
        let ids = [self.uid.to_le_bytes(), self.gid.to_le_bytes()].concat();
        let time = [&seconds.to_le_bytes()[..], &nanoseconds.to_le_bytes(), &[0; 4]].concat();
        put(out, Kind::Entry, &[&mode.to_le_bytes(), &self.flags.to_le_bytes(), &ids, &time]);
        for Xattr { name, value } in &self.xattrs {
            if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > 65536 {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(EncodeError::Xattr { name, value_len: value.len() });
            }
            put(out, Kind::Xattr, &[name, &[0], value]);
        }
        let Acl { users, groups, group_obj, default, default_users, default_groups } = &self.acl;
        put_entries(out, Kind::AclUser, users);
        put_entries(out, Kind::AclGroup, groups);
        if let Some(permissions) = group_obj {
            put(out, Kind::AclGroupObj, &[&permissions.to_le_bytes()]);
        }
        if let Some(default) = default {
            let all = [default.owner, default.group, default.others, default.mask];
            let all = all.map(|permissions| permissions.unwrap_or(ABSENT).to_le_bytes());
            put(out, Kind::AclDefault, &[&all.concat()]);
        }
        put_entries(out, Kind::AclDefaultUser, default_users);
        put_entries(out, Kind::AclDefaultGroup, default_groups);
        if let Some(fcaps) = &self.fcaps {
            if fcaps.len() > 65536 {
                let name = "security.capability".to_owned();
                return Err(EncodeError::Xattr { name, value_len: fcaps.len() });
            }
            put(out, Kind::Fcaps, &[fcaps]);
        }
        if let Some(id) = self.project_id {
            put(out, Kind::ProjectId, &[&id.to_le_bytes()]);
        }
        Ok(())
    }

    /// Reads an entry's first item.
    pub(super) fn parse(kind: Kind, content: &[u8], at: u64) -> Result<Self, DecodeError> {
        let value = |what| DecodeError::Value { at, what };
        let mode = u32::try_from(u64_at(content, 0)).map_err(|_| value("mode"))?;
        FileType::of_mode(mode).ok_or(value("mode"))?;
        let mtime = if kind == Kind::OldEntry {
            let nanoseconds = u64_at(content, 24);
            let (seconds, rest) = (nanoseconds / u64::from(SECOND), nanoseconds % u64::from(SECOND));
            FileTime { seconds: seconds.cast_signed(), nanoseconds: rest as u32 }
        } else {
            FileTime { seconds: u64_at(content, 24).cast_signed(), nanoseconds: u32_at(content, 32) }
        };
        if mtime.nanoseconds >= SECOND {
            return Err(value("time"));
        }
        let (uid, gid) = (u32_at(content, 16), u32_at(content, 20));
        Ok(Self { mode, flags: u64_at(content, 8), uid, gid, mtime, ..Self::default() })
    }

    /// Takes one more item of the entry; `false` if it is none of an entry's attributes.
    pub(super) fn take(&mut self, kind: Kind, content: &[u8], at: u64) -> Result<bool, DecodeError> {
        let acl = &mut self.acl;
        match kind {
            Kind::Xattr => self.xattrs.push(parse_xattr(content, at)?),
            Kind::AclUser => acl.users.push(parse_entry(content)),
            Kind::AclGroup => acl.groups.push(parse_entry(content)),
            Kind::AclGroupObj => set(&mut acl.group_obj, u64_at(content, 0), at)?,
            Kind::AclDefault => {
                let [owner, group, others, mask] = [0, 8, 16, 24]
                    .map(|offset| Some(u64_at(content, offset)).filter(|value| *value != ABSENT));
                set(&mut acl.default, DefaultAcl { owner, group, others, mask }, at)?;
            }
            Kind::AclDefaultUser => acl.default_users.push(parse_entry(content)),
            Kind::AclDefaultGroup => acl.default_groups.push(parse_entry(content)),
            Kind::Fcaps => set(&mut self.fcaps, content.to_vec(), at)?,
            Kind::ProjectId => set(&mut self.project_id, u64_at(content, 0), at)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Refuses a second one (spec §3).
fn set<T>(field: &mut Option<T>, value: T, at: u64) -> Result<(), DecodeError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Misplaced { at }),
    }
}

fn put_entries(out: &mut Vec<u8>, kind: Kind, entries: &[AclEntry]) {
    for AclEntry { id, permissions } in entries {
        put(out, kind, &[&id.to_le_bytes(), &permissions.to_le_bytes()]);
    }
}

fn parse_entry(content: &[u8]) -> AclEntry {
    AclEntry { id: u64_at(content, 0), permissions: u64_at(content, 8) }
}

fn parse_xattr(content: &[u8], at: u64) -> Result<Xattr, DecodeError> {
    let end = content.iter().take(256).position(|byte| *byte == 0).filter(|end| *end > 0);
    let end = end.ok_or(DecodeError::Value { at, what: "name of an attribute" })?;
    Ok(Xattr { name: content[..end].to_vec(), value: content[end + 1..].to_vec() })
}
