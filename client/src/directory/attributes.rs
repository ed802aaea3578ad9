//! What the system says of a file besides its content.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::acl::{self, List};
use crate::pxar::{FileTime, FileType, Metadata, Xattr};

/// Longest list of names, and longest value, that Linux gives (`xattr(7)`, `XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_BYTES_MAX: usize = 65536;

/// Attribute of the format, and the bit that `FS_IOC_GETFLAGS` has for it (spec `pxar.md` §2.2).
const FLAGS: [(u64, u32); 10] = [
    (0x1_0000, 0x20),
    (0x2_0000, 0x80),
    (0x4_0000, 0x4),
    (0x8_0000, 0x80_0000),
    (0x10_0000, 0x40),
    (0x20_0000, 0x1_0000),
    (0x40_0000, 0x10),
    (0x80_0000, 0x8),
    (0x100_0000, 0x400),
    (0x200_0000, 0x2000_0000),
];

/// Returns the bits of `FS_IOC_SETFLAGS` for the attributes of the format.
pub(crate) fn bits_of(flags: u64) -> u32 {
    FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, bit)| bit).sum()
}

/// Returns what `stat` says.
pub(super) fn of_stat(stat: &Stat) -> Metadata {
    let mtime = FileTime { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
    Metadata { mode: stat.st_mode, uid: stat.st_uid, gid: stat.st_gid, mtime, ..Metadata::default() }
}

/// Adds what only an open file or directory tells; `false` if its list of attributes is too long for the system and was left out, which
/// `may_skip_long_list` allows.
///
/// # Errors
/// What the system says; "unsupported" is no error.
pub(super) fn add_extended(
    metadata: &mut Metadata,
    file: impl AsFd,
    may_skip_long_list: bool,
) -> io::Result<bool> {
    metadata.flags = flags(&file)?;
    let names = match list(&file) {
        Err(Errno::TOOBIG) if may_skip_long_list => return Ok(false),
        names => names?,
    };
    let is_directory = metadata.file_type() == Some(FileType::Directory);
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let is_acl = name == acl::ACCESS_NAME || (name == acl::DEFAULT_NAME && is_directory);
        if !is_acl && name != b"security.capability" && !is_stored(name) {
            continue;
        }
        let Some(value) = value(&file, name)? else { continue };
        if name == acl::ACCESS_NAME {
            if let Some(list) = List::parse(&value) {
                metadata.acl.users = list.users;
                metadata.acl.groups = list.groups;
                // Without a mask the mode has the rights of the owning group.
                metadata.acl.group_obj = list.base.mask.and(list.base.group);
            }
        } else if name == acl::DEFAULT_NAME {
            if let Some(list) = List::parse(&value) {
                metadata.acl.default = Some(list.base);
                metadata.acl.default_users = list.users;
                metadata.acl.default_groups = list.groups;
            }
        } else if name == b"security.capability" {
            metadata.fcaps = Some(value);
        } else {
            metadata.xattrs.push(Xattr { name: name.to_vec(), value });
        }
    }
    Ok(true)
}

/// Tells whether archives have an attribute of that name (spec `pxar.md` §3.1).
fn is_stored(name: &[u8]) -> bool {
    let is_of_user = name.starts_with(b"user.") || name.starts_with(b"trusted.");
    (is_of_user || name == b"security.NTACL") && name.len() <= 255
}

fn flags(file: impl AsFd) -> io::Result<u64> {
    let bits = match rustix::fs::ioctl_getflags(&file) {
        Ok(flags) => flags.bits(),
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(flag, _)| flag).sum())
}

fn list(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0; 256];
    loop {
        match rustix::fs::flistxattr(&file, &mut names[..]) {
            Ok(len) => {
                names.truncate(len);
                return Ok(names);
            }
            Err(Errno::RANGE) if names.len() < XATTR_BYTES_MAX => names.resize(XATTR_BYTES_MAX, 0),
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads a value; `None` if the attribute is gone meanwhile.
fn value(file: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(&file, name, &mut value[..]) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < XATTR_BYTES_MAX => value.resize(XATTR_BYTES_MAX, 0),
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
