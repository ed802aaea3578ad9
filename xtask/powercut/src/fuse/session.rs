//! The thread that answers the kernel.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::reply::Reply;
use super::request::{Head, NewAttributes, NewTime, Request};
use crate::disk::{Disk, FileKind, Owner};
use crate::inode::{InodeId, Time};
use crate::names::Slot;

/// Largest write that the kernel hands over at once, in bytes; 4 MiB chunks then take four.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// What a request has beside the data of a write, with room to spare.
const REQUEST_BYTES: usize = WRITE_BYTES_MAX as usize + 8192;

/// Whether the disk has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    /// Nothing takes effect and nothing is answered.
    Off,
    /// Nothing takes effect; whoever waits gets an error.
    Gone,
}

/// What the thread and its owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    power: Power,
    /// How many `syncfs` came.
    pub(crate) whole_syncs: u64,
    /// Open folders, as they were when their listing began.
    folders: BTreeMap<u64, Vec<(Vec<u8>, InodeId, FileKind)>>,
    last_handle: u64,
}

impl Shared {
    pub(crate) fn new(disk: Disk) -> Self {
        let folders = BTreeMap::new();
        let state = State { disk, power: Power::On, whole_syncs: 0, folders, last_handle: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn switch(&self, power: Power) {
        self.lock().power = power;
        self.changed.notify_all();
    }

    fn answer(&self, head: &Head, request: &Request<'_>) -> Result<Reply, Errno> {
        let state = self.lock();
        let waiting = self.changed.wait_while(state, |state| state.power == Power::Off);
        waiting.unwrap_or_else(PoisonError::into_inner).answer(head, request)
    }
}

/// Answers until the disk is unmounted.
pub(crate) fn serve(mut device: &File, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; REQUEST_BYTES];
    loop {
        let len = match device.read(&mut buffer) {
            Ok(len) => len,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NODEV) => return Ok(()),
                // The asker gave up before its request was read.
                Some(Errno::INTR | Errno::NOENT | Errno::AGAIN) => continue,
                _ => return Err(error),
            },
        };
        let Some((head, body)) = Head::parse(&buffer[..len]) else { continue };
        let request = Request::parse(&head, body);
        let result = match &request {
            Ok(Request::Interrupt) => continue,
            Ok(request) => shared.answer(&head, request),
            Err(error) => Err(*error),
        };
        if matches!(request, Ok(Request::Forget { .. })) {
            continue;
        }
        match device.write(&Reply::finish(head.unique, &result)) {
            // The asker gave up.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(()),
            written => written.map(drop)?,
        }
    }
}

impl State {
    fn answer(&mut self, head: &Head, request: &Request<'_>) -> Result<Reply, Errno> {
        match request {
            Request::Init { minor } if *minor < 31 => return Err(Errno::PROTO),
            Request::Init { .. } => return Ok(Reply::init(WRITE_BYTES_MAX)),
            Request::Close | Request::Flush | Request::Destroy => return Ok(Reply::default()),
            Request::Forget { forgotten } => {
                for (id, times) in forgotten {
                    self.disk.forget(*id, *times);
                }
                return Ok(Reply::default());
            }
            Request::CloseFolder { handle } => {
                self.folders.remove(handle);
                return Ok(Reply::default());
            }
            _ if self.power != Power::On => return Err(Errno::IO),
            _ => {}
        }
        self.disk.set_time(now());
        self.look(head, request).unwrap_or_else(|| self.change(head, request))
    }

    /// Answers what changes nothing.
    fn look(&mut self, head: &Head, request: &Request<'_>) -> Option<Result<Reply, Errno>> {
        let disk = &mut self.disk;
        Some(match request {
            Request::Lookup { name } => {
                disk.lookup(&Slot::new(head.node, name)).and_then(|id| entry(disk, id))
            }
            Request::Stat => disk.stat(head.node).map(|stat| Reply::attributes(head.node, &stat)),
            Request::ReadLink => disk.target(head.node).map(Reply::bytes),
            Request::Open => Ok(Reply::default().opened()),
            Request::Read { at, len } => size(*at).and_then(|at| {
                let bytes = disk.read(head.node, at, *len as usize)?;
                Ok(Reply::bytes(bytes))
            }),
            Request::Usage => {
                let (used, max) = disk.usage();
                Ok(Reply::usage(used, max))
            }
            Request::OpenFolder => self.open_folder(head.node),
            Request::ReadFolder { handle, at, len } => self.read_folder(*handle, *at, *len as usize),
            _ => return None,
        })
    }

    fn change(&mut self, head: &Head, request: &Request<'_>) -> Result<Reply, Errno> {
        let Head { node, uid, gid, .. } = *head;
        let owner = |mode: u32| Owner { mode: mode & 0o7777, uid, gid };
        let slot = |name: &[u8]| Slot::new(node, name);
        let disk = &mut self.disk;
        match request {
            Request::SetAttributes(new) => return set_attributes(disk, node, new),
            Request::MakeLink { name, target } => {
                let id = disk.make_link(slot(name), target, owner(0o777))?;
                return entry(disk, id);
            }
            Request::MakeFile { name, mode } => {
                let id = disk.create(slot(name), owner(*mode))?;
                return entry(disk, id);
            }
            Request::Create { name, mode } => {
                let id = disk.create(slot(name), owner(*mode))?;
                return Ok(entry(disk, id)?.opened());
            }
            Request::MakeFolder { name, mode } => {
                let id = disk.make_folder(slot(name), owner(*mode))?;
                return entry(disk, id);
            }
            Request::Link { node: id, name } => {
                disk.link(*id, slot(name))?;
                return entry(disk, *id);
            }
            Request::Write { at, bytes } => {
                disk.write(node, size(*at)?, bytes)?;
                return Ok(Reply::written(bytes.len()));
            }
            Request::Unlink { name } => disk.unlink(slot(name))?,
            Request::RemoveFolder { name } => disk.remove_folder(slot(name))?,
            Request::Rename { name, to, to_name } => disk.rename(slot(name), Slot::new(*to, to_name))?,
            Request::Sync { data_only: true } => disk.sync_data(node)?,
            Request::Sync { data_only: false } => disk.sync_file(node)?,
            Request::SyncFolder => disk.sync_folder(node)?,
            Request::SyncAll => {
                disk.sync_all();
                self.whole_syncs += 1;
            }
            _ => return Err(Errno::NOSYS),
        }
        Ok(Reply::default())
    }

    fn open_folder(&mut self, folder: InodeId) -> Result<Reply, Errno> {
        let mut names =
            vec![(b".".to_vec(), folder, FileKind::Folder), (b"..".to_vec(), folder, FileKind::Folder)];
        for (name, id) in self.disk.list(folder)? {
            names.push((name, id, self.disk.stat(id)?.kind));
        }
        self.last_handle += 1;
        self.folders.insert(self.last_handle, names);
        Ok(Reply::opened_folder(self.last_handle))
    }

    fn read_folder(&mut self, handle: u64, at: u64, len_max: usize) -> Result<Reply, Errno> {
        let names = self.folders.get(&handle).ok_or(Errno::BADF)?;
        let mut reply = Reply::default();
        for (number, (name, id, kind)) in names.iter().enumerate().skip(size(at)?) {
            if !reply.add_name((name, *id, *kind), number as u64 + 1, len_max) {
                break;
            }
        }
        Ok(reply)
    }
}

/// Tells the kernel of an inode, which it then knows.
fn entry(disk: &mut Disk, id: InodeId) -> Result<Reply, Errno> {
    let stat = disk.stat(id)?;
    disk.hold(id);
    Ok(Reply::entry(id, &stat))
}

fn set_attributes(disk: &mut Disk, id: InodeId, new: &NewAttributes) -> Result<Reply, Errno> {
    if let Some(len) = new.len {
        disk.resize(id, size(len)?)?;
    }
    let time = |new: &NewTime| match new {
        NewTime::Now => now(),
        NewTime::At(time) => *time,
    };
    disk.change_attributes(id, |attributes| {
        attributes.mode = new.mode.map_or(attributes.mode, |mode| mode & 0o7777);
        attributes.uid = new.uid.unwrap_or(attributes.uid);
        attributes.gid = new.gid.unwrap_or(attributes.gid);
        attributes.accessed = new.accessed.as_ref().map_or(attributes.accessed, time);
        attributes.modified = new.modified.as_ref().map_or(attributes.modified, time);
    })?;
    disk.stat(id).map(|stat| Reply::attributes(id, &stat))
}

fn size(number: u64) -> Result<usize, Errno> {
    usize::try_from(number).map_err(|_| Errno::FBIG)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
}
