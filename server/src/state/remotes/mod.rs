//! The list of remotes: in memory for requests, in a file for the next start.

mod remote;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use coldkeep_datastore::RemoteName;
use zeroize::Zeroizing;

pub use remote::{Remote, RemoteHost, RemoteHostError, RemoteUpdate};

use super::json_file::{self, SECRET_MODE};
use super::{DataDir, StateError};

/// Most remotes; enough for any real server, and a bound for file and lists.
const REMOTES_MAX: usize = 1000;

/// The other servers that this one knows, with what it shows to them.
pub struct Remotes {
    shared: Arc<Shared>,
    // Held over a whole change, so that changes follow one another.
    changing: Arc<tokio::sync::Mutex<()>>,
}

struct Shared {
    path: PathBuf,
    view: RwLock<Arc<View>>,
}

type View = BTreeMap<RemoteName, Arc<Remote>>;

/// A change of the remotes was refused, or could not be saved. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemotesError {
    /// There is one of that name already.
    #[error("the remote {name} exists already")]
    Exists {
        /// The name.
        name: RemoteName,
    },
    /// There is no such remote.
    #[error("there is no remote {name}")]
    Unknown {
        /// The name asked for.
        name: RemoteName,
    },
    /// There are too many.
    #[error("there are {REMOTES_MAX} remotes already; remove some")]
    TooMany,
    /// A remote needs a secret.
    #[error("the password or secret for a remote cannot be empty")]
    EmptySecret,
    /// The change could not be saved.
    #[error("cannot save the change")]
    Save(#[from] StateError),
}

impl Remotes {
    /// Reads the file; none there is an empty list. Blocks.
    ///
    /// # Errors
    /// [`StateError`] if the file cannot be read or is malformed.
    pub fn open(data_dir: &DataDir) -> Result<Self, StateError> {
        let path = data_dir.config("remotes.json");
        let remotes: Vec<Remote> = match json_file::read_bytes(&path)?.map(Zeroizing::new) {
            Some(text) => serde_json::from_slice(&text).map_err(|error| StateError::MalformedSecrets {
                path: path.clone(),
                line: error.line(),
                column: error.column(),
            })?,
            None => Vec::new(),
        };
        let view = remotes.into_iter().map(|remote| (remote.name.clone(), Arc::new(remote))).collect();
        let shared = Arc::new(Shared { path, view: RwLock::new(Arc::new(view)) });
        Ok(Self { shared, changing: Arc::default() })
    }

    /// Lists the remotes, by name.
    pub fn list(&self) -> Vec<Arc<Remote>> {
        self.shared.view().values().cloned().collect()
    }

    /// Finds a remote.
    ///
    /// # Errors
    /// [`RemotesError::Unknown`].
    pub fn get(&self, name: &RemoteName) -> Result<Arc<Remote>, RemotesError> {
        let view = self.shared.view();
        view.get(name).cloned().ok_or_else(|| RemotesError::Unknown { name: name.clone() })
    }

    /// Adds a remote.
    ///
    /// # Errors
    /// [`RemotesError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn add(&self, remote: Remote) -> Result<(), RemotesError> {
        self.change(|view| {
            let name = remote.name.clone();
            if view.contains_key(&name) {
                return Err(RemotesError::Exists { name });
            }
            if view.len() >= REMOTES_MAX {
                return Err(RemotesError::TooMany);
            }
            insert(view, remote)
        })
        .await
    }

    /// Changes a remote.
    ///
    /// # Errors
    /// [`RemotesError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn update(&self, name: &RemoteName, update: RemoteUpdate) -> Result<(), RemotesError> {
        self.change(|view| {
            let old = view.get(name).ok_or_else(|| RemotesError::Unknown { name: name.clone() })?;
            let changed = old.with(update);
            insert(view, changed)
        })
        .await
    }

    /// Removes a remote. What was pulled from it stays.
    ///
    /// # Errors
    /// [`RemotesError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn remove(&self, name: &RemoteName) -> Result<(), RemotesError> {
        self.change(|view| {
            let removed = view.remove(name);
            removed.map(drop).ok_or_else(|| RemotesError::Unknown { name: name.clone() })
        })
        .await
    }

    /// Makes a change to a copy, saves it, and only then lets requests see it.
    async fn change(
        &self,
        change: impl FnOnce(&mut View) -> Result<(), RemotesError>,
    ) -> Result<(), RemotesError> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let mut new = View::clone(&self.shared.view());
        change(&mut new)?;
        let shared = Arc::clone(&self.shared);
        // All of it goes with the thread: whoever asked may go away meanwhile, and file and memory must not differ.
        let save = move || {
            let _turn = turn;
            let remotes: Vec<&Remote> = new.values().map(AsRef::as_ref).collect();
            json_file::write(&shared.path, &remotes, SECRET_MODE)?;
            *shared.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            Ok::<(), StateError>(())
        };
        tokio::task::spawn_blocking(save).await.map_err(|_| StateError::Lost)??;
        Ok(())
    }
}

impl Shared {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn insert(view: &mut View, remote: Remote) -> Result<(), RemotesError> {
    if remote.secret.reveal().is_empty() {
        return Err(RemotesError::EmptySecret);
    }
    view.insert(remote.name.clone(), Arc::new(remote));
    Ok(())
}

#[cfg(test)]
mod tests;
