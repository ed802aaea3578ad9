//! The folder that a server keeps everything in.
//!
//! ```text
//! <data-dir>/
//!   .lock  .coldkeep/owner    one process at a time; the second holds its process id
//!   config/datastores.json    names and folders of the stores
//!   config/users.json         users with Argon2id hashes of their passwords     0600
//!   config/tokens.json        API tokens with hashes of their secrets           0600
//!   config/acl.json           who may do what where                             0600
//!   config/instance-id        32 hexadecimal digits that name this server
//!   config/remotes.json       other servers, with the secrets that are shown there        0600
//!   config/jobs.json          what is done by itself, with the secrets of webhooks        0600
//!   secrets/ticket.key        32 random bytes that sign tickets                 0600
//!   secrets/tls.key, tls.pem  private key (0600) and certificate; your own pair may take their place
//!   tasks/list, tasks/log/    what ran, and its logs
//!   tasks/jobs.json           when jobs ran last, and how that ended
//!   log/audit.log             who changed what, was let in, was refused; older ones with numbers   0600
//!   stores/<name>/            the datastores, unless they were created elsewhere
//! ```

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::{OwnerError, OwnerLock};

/// The opened folder; nobody else has it open while this exists.
#[derive(Debug)]
pub struct DataDir {
    folder: PathBuf,
    _owner: OwnerLock,
}

/// The folder, or something in it, could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has it open, or it could not be locked.
    #[error("cannot take the data folder for this process")]
    Owner {
        /// Why, with the other's process id if it is known.
        #[source]
        source: OwnerError,
    },
    /// A file or folder could not be read or made.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file could not be replaced; the old one stands.
    #[error("cannot save the configuration")]
    Write {
        /// Which file, and why it failed.
        #[source]
        source: DirError,
    },
    /// A file does not hold what it should.
    #[error("{} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file with secrets does not hold what it should. Only the place is told: the parser's own message may quote them.
    #[error("{} is malformed at line {line}, column {column}", path.display())]
    MalformedSecrets {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A job stands in a file that cannot be run.
    #[error("the job {id} in {} cannot be run", path.display())]
    Job {
        /// The file.
        path: PathBuf,
        /// The job.
        id: coldkeep_client::JobId,
        /// What is wrong with it.
        #[source]
        source: Box<crate::jobs::JobError>,
    },
    /// A key file does not hold a key.
    #[error("{} does not hold a usable key or certificate; remove it to have a new one made", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A file of the operator's does not hold a key or certificate.
    #[error("{} does not hold a key or certificate in PEM form", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The file with the server's identifier holds something else.
    #[error("{} does not hold 32 hexadecimal digits; remove it to have a new identifier made", path.display())]
    InstanceId {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The system gave no random bytes.
    #[error("no random bytes")]
    Random(#[source] getrandom::Error),
    /// The list of tasks could not be opened.
    #[error("cannot open the list of tasks")]
    Tasks(#[source] crate::tasks::TaskError),
    /// The thread that writes the audit log could not be had.
    #[error("cannot start the audit log")]
    Audit(#[source] io::Error),
    /// The thread that did the work was lost.
    #[error("the work was cut short")]
    Lost,
}

impl StateError {
    /// Returns the id of the process that has the folder open, if that is the reason; the inner `None` means unknown.
    pub fn owner(&self) -> Option<Option<u32>> {
        match self {
            Self::Owner { source: OwnerError::Owned { process, .. } } => Some(*process),
            _ => None,
        }
    }
}

impl DataDir {
    /// Opens the folder for this process alone; makes it if it is not there. Blocks.
    ///
    /// # Errors
    /// [`StateError::Owner`] while another process has it open; [`StateError::Io`].
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        for (name, mode) in [
            ("", 0o750),
            (".coldkeep", 0o750),
            ("config", 0o750),
            ("secrets", 0o700),
            ("tasks", 0o750),
            ("log", 0o750),
            ("stores", 0o755),
        ] {
            let path = folder.join(name);
            let made = DirBuilder::new().recursive(true).mode(mode).create(&path);
            made.map_err(|source| StateError::Io { action: "make the folder", path, source })?;
        }
        let owner = OwnerLock::take(folder).map_err(|source| StateError::Owner { source })?;
        Ok(Self { folder: folder.to_owned(), _owner: owner })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.folder.join("config").join(name)
    }

    pub(crate) fn secret(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn tasks(&self) -> PathBuf {
        self.folder.join("tasks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(&folder.path().join("a/b")).unwrap();
        let error = DataDir::open(first.folder()).unwrap_err();
        assert_eq!(error.owner(), Some(Some(std::process::id())));
        let path = first.folder().to_owned();
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }
}
