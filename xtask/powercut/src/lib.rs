//! A disk whose power can be cut, for the tests of Coldkeep.
//!
//! - [`Disk`] keeps two things apart: what processes see, and what is durable. Every change waits until a sync that POSIX
//!   promises something for makes it durable. [`Disk::lose_power`] leaves what is durable, and of the rest what a seed
//!   decides: any of it, in parts, as filesystems may have written it back by then.
//! - [`PowerDisk`] mounts such a disk through FUSE, so that a process can be run on it, its power be cut at any instant, and
//!   the process be started again on what is left.
//!
//! The README says what is modelled and what is not.
//!
//! What it is not: a filesystem for data that anybody needs. All of it is in memory.
//!
//! ```
//! use coldkeep_powercut::{Disk, InodeId, Owner, Slot};
//!
//! let mut disk = Disk::new(1 << 20);
//! let owner = Owner { mode: 0o644, uid: 0, gid: 0 };
//! let file = disk.create(Slot::new(InodeId::ROOT, "a"), owner)?;
//! disk.write(file, 0, b"content")?;
//! disk.sync_file(file)?;
//! disk.sync_folder(InodeId::ROOT)?;
//! disk.write(file, 0, b"CONTENT")?;
//! disk.lose_power(7);
//! let content = disk.read(file, 0, 100)?;
//! assert!(content == b"content" || content == b"CONTENT");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod content;
mod dice;
mod disk;
mod fuse;
mod inode;
mod mount;
mod names;

pub use crate::disk::{Disk, FileKind, Loss, Owner, Stat};
pub use crate::inode::{Attributes, InodeId, Time};
pub use crate::mount::{MountError, PowerDisk};
pub use crate::names::Slot;
