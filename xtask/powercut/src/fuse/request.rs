//! What the kernel asks, taken apart.

use rustix::io::Errno;

use crate::inode::{InodeId, Time};

/// Bytes before the body of every request.
const HEAD_BYTES: usize = 40;

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    opcode: u32,
    /// What the answer must name.
    pub(crate) unique: u64,
    pub(crate) node: InodeId,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Init {
        minor: u32,
    },
    Lookup {
        name: &'a [u8],
    },
    Forget {
        forgotten: Vec<(InodeId, u64)>,
    },
    Stat,
    SetAttributes(NewAttributes),
    ReadLink,
    MakeLink {
        name: &'a [u8],
        target: &'a [u8],
    },
    /// A file that is not opened.
    MakeFile {
        name: &'a [u8],
        mode: u32,
    },
    MakeFolder {
        name: &'a [u8],
        mode: u32,
    },
    Unlink {
        name: &'a [u8],
    },
    RemoveFolder {
        name: &'a [u8],
    },
    Rename {
        name: &'a [u8],
        to: InodeId,
        to_name: &'a [u8],
    },
    Link {
        node: InodeId,
        name: &'a [u8],
    },
    Open,
    /// A file that is made and opened.
    Create {
        name: &'a [u8],
        mode: u32,
    },
    Read {
        at: u64,
        len: u32,
    },
    Write {
        at: u64,
        bytes: &'a [u8],
    },
    Usage,
    Close,
    Flush,
    Sync {
        data_only: bool,
    },
    OpenFolder,
    ReadFolder {
        handle: u64,
        at: u64,
        len: u32,
    },
    CloseFolder {
        handle: u64,
    },
    SyncFolder,
    SyncAll,
    Interrupt,
    Destroy,
}

/// Which attributes change, to what.
#[derive(Debug, Default)]
pub(crate) struct NewAttributes {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) len: Option<u64>,
    pub(crate) accessed: Option<NewTime>,
    pub(crate) modified: Option<NewTime>,
}

/// A time that is set.
#[derive(Debug)]
pub(crate) enum NewTime {
    Now,
    At(Time),
}

impl Head {
    /// Takes the head off a request; nothing if there is none, which the kernel never sends.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, body) = bytes.split_at_checked(HEAD_BYTES)?;
        let mut fields = Fields(head);
        let (_len, opcode) = (fields.u32().ok()?, fields.u32().ok()?);
        let (unique, node) = (fields.u64().ok()?, fields.u64().ok()?);
        let (uid, gid) = (fields.u32().ok()?, fields.u32().ok()?);
        Some((Self { opcode, unique, node: InodeId(node), uid, gid }, body))
    }
}

impl<'a> Request<'a> {
    /// Takes the body of a request apart.
    ///
    /// # Errors
    /// `ENOSYS` for what is not supported, `EPERM` for devices, `EINVAL` for what makes no sense.
    pub(crate) fn parse(head: &Head, body: &'a [u8]) -> Result<Self, Errno> {
        let mut fields = Fields(body);
        Ok(match head.opcode {
            1 => Self::Lookup { name: fields.name()? },
            2 => Self::Forget { forgotten: vec![(head.node, fields.u64()?)] },
            3 => Self::Stat,
            4 => Self::SetAttributes(NewAttributes::parse(&mut fields)?),
            5 => Self::ReadLink,
            6 => Self::MakeLink { name: fields.name()?, target: fields.name()? },
            8 => {
                let [mode, _device, _mask, _padding] = fields.words()?;
                if mode & 0o170_000 != 0o100_000 {
                    return Err(Errno::PERM);
                }
                Self::MakeFile { name: fields.name()?, mode }
            }
            9 => {
                let [mode, _mask] = fields.words()?;
                Self::MakeFolder { name: fields.name()?, mode }
            }
            10 => Self::Unlink { name: fields.name()? },
            11 => Self::RemoveFolder { name: fields.name()? },
            12 => Self::rename(InodeId(fields.u64()?), &mut fields)?,
            13 => Self::Link { node: InodeId(fields.u64()?), name: fields.name()? },
            14 => Self::Open,
            15 => {
                let (_handle, at, len) = (fields.u64()?, fields.u64()?, fields.u32()?);
                Self::Read { at, len }
            }
            16 => {
                let (_handle, at, len, _flags) = (fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?);
                let _owner_and_flags = fields.take(16)?;
                Self::Write { at, bytes: fields.take(len as usize)? }
            }
            17 => Self::Usage,
            18 => Self::Close,
            20 => {
                let (_handle, flags) = (fields.u64()?, fields.u32()?);
                Self::Sync { data_only: flags & 1 != 0 }
            }
            25 => Self::Flush,
            26 => {
                let [_major, minor] = fields.words()?;
                Self::Init { minor }
            }
            27 => Self::OpenFolder,
            28 => Self::ReadFolder { handle: fields.u64()?, at: fields.u64()?, len: fields.u32()? },
            29 => Self::CloseFolder { handle: fields.u64()? },
            30 => Self::SyncFolder,
            35 => {
                let [_flags, mode, _mask, _open_flags] = fields.words()?;
                Self::Create { name: fields.name()?, mode }
            }
            36 => Self::Interrupt,
            38 => Self::Destroy,
            42 => {
                let [count, _padding] = fields.words()?;
                let mut forgotten = Vec::new();
                for _ in 0..count {
                    forgotten.push((InodeId(fields.u64()?), fields.u64()?));
                }
                Self::Forget { forgotten }
            }
            45 => {
                let to = InodeId(fields.u64()?);
                let [flags, _padding] = fields.words()?;
                // The kernel looks itself whether the name is free (`RENAME_NOREPLACE`) and sends no flag for it that a
                // filesystem must know. To swap names is not supported.
                if flags & !1 != 0 {
                    return Err(Errno::INVAL);
                }
                Self::rename(to, &mut fields)?
            }
            50 => Self::SyncAll,
            _ => return Err(Errno::NOSYS),
        })
    }

    fn rename(to: InodeId, fields: &mut Fields<'a>) -> Result<Self, Errno> {
        Ok(Self::Rename { name: fields.name()?, to, to_name: fields.name()? })
    }
}

impl NewAttributes {
    fn parse(fields: &mut Fields<'_>) -> Result<Self, Errno> {
        let [valid, _padding] = fields.words()?;
        let (_handle, len, _owner) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (accessed, modified, _changed) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let [accessed_nanos, modified_nanos, _changed_nanos, mode, _unused, uid, gid] = fields.words()?;
        let is_set = |bit: u32| valid & (1 << bit) != 0;
        let time = |bit: u32, now_bit: u32, seconds: u64, nanos: u32| {
            let at = Time { seconds: seconds.cast_signed(), nanos };
            is_set(bit).then_some(if is_set(now_bit) { NewTime::Now } else { NewTime::At(at) })
        };
        Ok(Self {
            mode: is_set(0).then_some(mode),
            uid: is_set(1).then_some(uid),
            gid: is_set(2).then_some(gid),
            len: is_set(3).then_some(len),
            accessed: time(4, 7, accessed, accessed_nanos),
            modified: time(5, 8, modified, modified_nanos),
        })
    }
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u32::from_ne_bytes(*taken))
    }

    fn u64(&mut self) -> Result<u64, Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*taken))
    }

    fn words<const COUNT: usize>(&mut self) -> Result<[u32; COUNT], Errno> {
        let mut words = [0; COUNT];
        for word in &mut words {
            *word = self.u32()?;
        }
        Ok(words)
    }

    /// A name, which ends with a zero.
    fn name(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let name = self.take(end)?;
        self.take(1)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((HEAD_BYTES as u32 + body.len() as u32).to_ne_bytes());
        bytes.extend(opcode.to_ne_bytes());
        bytes.extend([77u64, 5].iter().flat_map(|number| number.to_ne_bytes()));
        bytes.extend([1000u32, 100, 4711, 0].iter().flat_map(|number| number.to_ne_bytes()));
        bytes.extend(body);
        bytes
    }

    #[test]
    fn heads_and_names_are_taken_apart() {
        let bytes = request(1, b"name\0");
        let (head, body) = Head::parse(&bytes).unwrap();
        assert_eq!((head.unique, head.node, head.uid, head.gid), (77, InodeId(5), 1000, 100));
        let Request::Lookup { name: b"name" } = Request::parse(&head, body).unwrap() else {
            panic!("{body:?}")
        };
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_an_error() {
        assert!(Head::parse(&request(1, b"")[..39]).is_none());
        for (opcode, body, error) in [
            (1, &b"name"[..], Errno::INVAL),
            (16, &[0; 39], Errno::INVAL),
            (42, &[1, 0, 0, 0, 0, 0, 0, 0, 1], Errno::INVAL),
            (8, &[0; 17], Errno::PERM),
            (45, &[2; 20], Errno::INVAL),
            (99, b"", Errno::NOSYS),
        ] {
            let bytes = request(opcode, body);
            let (head, body) = Head::parse(&bytes).unwrap();
            assert_eq!(Request::parse(&head, body).unwrap_err(), error, "{opcode}");
        }
    }
}
