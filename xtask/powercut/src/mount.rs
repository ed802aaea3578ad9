//! A disk that is mounted, so that processes can be run on it.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::disk::{Disk, Loss};
use crate::fuse::{Power, Shared, serve};

/// Bytes of the block device that a mount names; nothing is ever written to it.
const DEVICE_BYTES: u64 = 1 << 20;
/// How long those who have files open on a disk may take to end once it is unmounted.
const UNUSED_WITHIN: Duration = Duration::from_secs(30);

/// A [`Disk`] that is mounted on a folder until this is dropped.
///
/// It is mounted as `fuseblk`, because the kernel (since 6.18) sends `FUSE_SYNCFS` to such filesystems only; plain
/// `fuse` would answer a `syncfs` without asking. For that there is a block device, a loop device over an empty file.
#[derive(Debug)]
pub struct PowerDisk {
    folder: tempfile::TempDir,
    bytes_max: usize,
    mounted: Option<Mounted>,
}

/// Why a disk could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A folder or file for it could not be made.
    #[error("make a place for the disk")]
    Place(#[source] io::Error),
    /// The kernel has no FUSE, or its device is not for this user.
    #[error("open /dev/fuse")]
    Fuse(#[source] io::Error),
    /// There is no loop device, or none for this user.
    #[error("set up a loop device with losetup: {said}")]
    Loop {
        /// What losetup said.
        said: String,
    },
    /// Mounting is not allowed.
    #[error("mount the disk as fuseblk")]
    Mount(#[source] io::Error),
    /// A `syncfs` does not reach the disk.
    #[error("have the kernel pass syncfs on to the disk; it does so since Linux 6.18")]
    SyncNotPassed,
    /// A process still has files open on it.
    #[error("unmount the disk: it is still in use")]
    InUse,
}

#[derive(Debug)]
struct Mounted {
    shared: Arc<Shared>,
    /// Says so when the thread that serves it has ended.
    ended: Receiver<io::Result<()>>,
}

impl PowerDisk {
    /// Mounts an empty disk for so many bytes. Needs root, `/dev/fuse`, and a loop device.
    ///
    /// # Errors
    /// [`MountError`]; what is missing on this machine.
    pub fn mount(bytes_max: usize) -> Result<Self, MountError> {
        let folder = tempfile::tempdir().map_err(MountError::Place)?;
        let mut disk = Self { folder, bytes_max, mounted: None };
        disk.mounted = Some(Mounted::new(disk.path(), Disk::new(bytes_max))?);
        let synced = File::open(disk.path()).and_then(|top| Ok(rustix::fs::syncfs(&top)?));
        synced.map_err(MountError::Place)?;
        if disk.shared().lock().whole_syncs == 0 {
            return Err(MountError::SyncNotPassed);
        }
        Ok(disk)
    }

    /// The folder that it is mounted on.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes everything durable.
    pub fn sync(&self) {
        self.shared().lock().disk.sync_all();
    }

    /// Takes the power away: from this instant on nothing takes effect, and nobody gets an answer.
    pub fn cut(&self) {
        self.shared().switch(Power::Off);
    }

    /// Answers whoever waits with an error, so that processes which were killed can end.
    pub fn let_go(&self) {
        self.shared().switch(Power::Gone);
    }

    /// Gives the power back: what was durable is there, and of the rest what the seed decides. No process may have
    /// anything open on the disk.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn restore(&mut self, seed: u64) -> Result<Loss, MountError> {
        self.let_go();
        let Some(mounted) = self.mounted.take() else { return Err(MountError::InUse) };
        let mut disk = mounted.end(self.folder.path(), Disk::new(self.bytes_max))?;
        let loss = disk.lose_power(seed);
        self.mounted = Some(Mounted::new(self.folder.path(), disk)?);
        Ok(loss)
    }

    fn shared(&self) -> &Shared {
        // Only between a failed restore and the drop that follows it is there none.
        &self.mounted.as_ref().expect("invariant: a disk that could not be restored is not used").shared
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.shared.switch(Power::Gone);
            // Nothing can be done about a failure, which leaves a mount without a server.
            let _ = mounted.end(self.folder.path(), Disk::new(0));
        }
    }
}

impl Mounted {
    fn new(target: &Path, disk: Disk) -> Result<Self, MountError> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(MountError::Fuse)?;
        let image = tempfile::NamedTempFile::new().map_err(MountError::Place)?;
        image.as_file().set_len(DEVICE_BYTES).map_err(MountError::Place)?;
        let block_device = LoopDevice::new(image.path())?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,blksize=4096,default_permissions,allow_other",
            device.as_raw_fd()
        );
        let options = CString::new(options).map_err(|error| MountError::Mount(error.into()))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mounted = mount(&block_device.0, target, "fuseblk", flags, options.as_c_str());
        mounted.map_err(|error| MountError::Mount(error.into()))?;
        let shared = Arc::new(Shared::new(disk));
        let (sender, ended) = channel();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            // Nobody listens any more if the owner gave up waiting.
            let _ = sender.send(serve(&device, &serving));
        });
        Ok(Self { shared, ended })
    }

    /// Unmounts, and returns the disk; `instead` takes its place.
    fn end(self, target: &Path, instead: Disk) -> Result<Disk, MountError> {
        // At once for the place; the thread ends when nobody has a file open any more.
        unmount(target, UnmountFlags::DETACH).map_err(|error| MountError::Mount(error.into()))?;
        match self.ended.recv_timeout(UNUSED_WITHIN) {
            Ok(served) => served.map_err(MountError::Fuse)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(MountError::InUse),
        }
        Ok(std::mem::replace(&mut self.shared.lock().disk, instead))
    }
}

/// A loop device, which goes when it is neither held nor mounted.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn new(image: &Path) -> Result<Self, MountError> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(image).output();
        let output = output.map_err(|error| MountError::Loop { said: error.to_string() })?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(Self(said(&output.stdout).into()))
        } else {
            Err(MountError::Loop { said: said(&output.stderr) })
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // While it is mounted this only has it go with the mount.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}
