//! Giving files and directories their metadata back.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Gid, IFlags, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::options::ExtractOptions;
use crate::directory::{access_acl_value, attribute_bits, default_acl_value};
use crate::pxar::{FileType, Metadata};

/// A step that failed, and why.
pub(super) type Failed = (&'static str, io::Error);

/// Applies everything to an open file or directory, in the order of spec `client.md` §6.
pub(super) fn apply(file: impl AsFd, metadata: &Metadata, options: &ExtractOptions) -> Result<(), Failed> {
    if !options.ignore_ownership {
        let owned = rustix::fs::fchown(&file, Some(uid(metadata)), Some(gid(metadata)));
        unless_unsupported("set the owner of", owned)?;
    }
    if !options.ignore_xattrs {
        for xattr in &metadata.xattrs {
            match set_xattr(&file, &xattr.name, &xattr.value) {
                // The remaining ones would meet the same.
                Err(Errno::NOTSUP) => break,
                set => set.map_err(|error| ("set an attribute of", error.into()))?,
            }
        }
        if let Some(fcaps) = &metadata.fcaps {
            unless_unsupported("set the capabilities of", set_xattr(&file, b"security.capability", fcaps))?;
        }
    }
    if !options.ignore_acls && !metadata.acl.is_empty() {
        for (name, value) in [access_acl_value(metadata), default_acl_value(metadata)].into_iter().flatten() {
            unless_unsupported("set the access list of", set_xattr(&file, name, &value))?;
        }
    }
    if !options.ignore_permissions {
        // Without its owner, a file must not run as whoever restores it.
        let kept = if options.ignore_ownership { 0o1777 } else { 0o7777 };
        let mode = Mode::from_raw_mode(metadata.mode & kept);
        unless_unsupported("set the permissions of", rustix::fs::fchmod(&file, mode))?;
    }
    unless_unsupported("set the time of", rustix::fs::futimens(&file, &times(metadata)))?;
    let bits = attribute_bits(metadata.flags);
    if bits != 0 {
        // Others than those that archives know stay.
        let flags = rustix::fs::ioctl_getflags(&file).map(|flags| flags | IFlags::from_bits_retain(bits));
        unless_unsupported(
            "set the flags of",
            flags.and_then(|flags| rustix::fs::ioctl_setflags(&file, flags)),
        )?;
    }
    Ok(())
}

/// Applies what a link, device, pipe or socket has, by its name in its directory.
pub(super) fn apply_by_name(
    parent: impl AsFd,
    name: &[u8],
    metadata: &Metadata,
    options: &ExtractOptions,
) -> Result<(), Failed> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if !options.ignore_ownership {
        let owned = rustix::fs::chownat(&parent, name, Some(uid(metadata)), Some(gid(metadata)), flags);
        unless_unsupported("set the owner of", owned)?;
    }
    if !options.ignore_permissions && metadata.file_type() != Some(FileType::Symlink) {
        let mode = Mode::from_raw_mode(metadata.mode & 0o7777);
        // It was made here, in a directory of ours, and is no link.
        unless_unsupported(
            "set the permissions of",
            rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()),
        )?;
    }
    unless_unsupported("set the time of", rustix::fs::utimensat(&parent, name, &times(metadata), flags))
}

fn set_xattr(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

fn uid(metadata: &Metadata) -> Uid {
    Uid::from_raw(metadata.uid)
}

fn gid(metadata: &Metadata) -> Gid {
    Gid::from_raw(metadata.gid)
}

fn times(metadata: &Metadata) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: metadata.mtime.seconds,
            tv_nsec: metadata.mtime.nanoseconds.into(),
        },
    }
}

fn unless_unsupported(what: &'static str, done: Result<(), Errno>) -> Result<(), Failed> {
    match done {
        Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOTTY) => Ok(()),
        Err(error) => Err((what, error.into())),
    }
}
