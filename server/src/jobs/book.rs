//! The jobs of a server and what became of them: in memory for requests and the scheduler, in two files for the next start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use coldkeep_client::JobId;
use coldkeep_datastore::StoreName;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::{Job, JobError, JobState, JobUpdate};
use crate::auth::root;
use crate::state::json_file::{self, PUBLIC_MODE, SECRET_MODE};
use crate::state::{DataDir, StateError};

/// Most jobs; enough for any real server, and a bound for files and lists.
const JOBS_MAX: usize = 1000;
/// Most jobs that run as one user or their tokens, but for root: nobody uses up those of all.
const JOBS_PER_USER_MAX: usize = 100;

/// The jobs of a server.
pub struct Jobs {
    shared: Arc<Shared>,
    // Held over a whole change, so that changes follow one another.
    changing: Arc<tokio::sync::Mutex<()>>,
    running: Arc<Running>,
    /// Those who wait for the end of a run, and tell of it.
    pub(super) followers: TaskTracker,
}

struct Shared {
    config: PathBuf,
    states: PathBuf,
    view: RwLock<Arc<View>>,
}

#[derive(Clone)]
struct View {
    jobs: BTreeMap<JobId, Arc<Job>>,
    states: BTreeMap<JobId, JobState>,
}

/// The jobs that run, each with its datastore.
#[derive(Default)]
struct Running {
    jobs: Mutex<BTreeMap<JobId, StoreName>>,
    // Told when one has ended, and when jobs change.
    changed: Notify,
}

/// The turn of a job in its datastore: until this is dropped it is not started again, and no other one there.
pub(crate) struct Turn {
    running: Arc<Running>,
    id: JobId,
}

impl Jobs {
    /// Reads the files; none there are empty lists. Blocks.
    ///
    /// # Errors
    /// [`StateError`] if a file cannot be read or is malformed.
    pub fn open(data_dir: &DataDir) -> Result<Self, StateError> {
        let (config, states) = (data_dir.config("jobs.json"), data_dir.tasks().join("jobs.json"));
        let jobs = read(&config)?;
        let mut view = View { jobs, states: json_file::read(&states)? };
        // A crash may have come between the two files.
        view.states.retain(|id, _| view.jobs.contains_key(id));
        let shared = Arc::new(Shared { config, states, view: RwLock::new(Arc::new(view)) });
        let (changing, running, followers) = (Arc::default(), Arc::default(), TaskTracker::new());
        Ok(Self { shared, changing, running, followers })
    }

    /// Lists the jobs, by id.
    pub fn list(&self) -> Vec<Arc<Job>> {
        self.shared.view().jobs.values().cloned().collect()
    }

    /// Lists the jobs, by id, each with what became of it.
    pub(crate) fn known(&self) -> Vec<(Arc<Job>, JobState)> {
        let view = self.shared.view();
        let state = |id: &JobId| view.states.get(id).cloned().unwrap_or_default();
        view.jobs.iter().map(|(id, job)| (Arc::clone(job), state(id))).collect()
    }

    /// Finds a job.
    ///
    /// # Errors
    /// [`JobError::Unknown`].
    pub fn get(&self, id: &JobId) -> Result<Arc<Job>, JobError> {
        let found = self.shared.view().jobs.get(id).cloned();
        found.ok_or_else(|| JobError::Unknown { id: id.clone() })
    }

    /// Returns what became of a job.
    pub(crate) fn state(&self, id: &JobId) -> JobState {
        self.shared.view().states.get(id).cloned().unwrap_or_default()
    }

    /// Adds a job at a time in Unix seconds.
    ///
    /// # Errors
    /// [`JobError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn add(&self, job: Job, now: i64) -> Result<(), JobError> {
        job.check()?;
        self.change(|view| {
            let id = job.id.clone();
            if view.jobs.contains_key(&id) {
                return Err(JobError::Exists { id });
            }
            if view.jobs.len() >= JOBS_MAX {
                return Err(JobError::TooMany { max: JOBS_MAX });
            }
            view.check_room(&job)?;
            view.states.insert(id.clone(), JobState { changed_at: Some(now), ..JobState::default() });
            view.jobs.insert(id, Arc::new(job));
            Ok(())
        })
        .await
    }

    /// Changes a job at a time in Unix seconds, if it is still as it was `seen`: what the change makes of it was checked by that.
    ///
    /// # Errors
    /// [`JobError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn update(&self, seen: &Job, update: JobUpdate, now: i64) -> Result<(), JobError> {
        self.change(|view| {
            view.check_unchanged(seen)?;
            let changed = seen.with(update)?;
            if changed.run_as.user() != seen.run_as.user() {
                view.check_room(&changed)?;
            }
            let state = view.states.entry(seen.id.clone()).or_default();
            if changed.is_timed_otherwise(seen) {
                state.changed_at = Some(now);
            }
            if !changed.enabled || changed.retries == 0 || changed.is_timed_otherwise(seen) {
                state.retry_at = None;
            }
            view.jobs.insert(seen.id.clone(), Arc::new(changed));
            Ok(())
        })
        .await
    }

    /// Removes a job, if it is still as it was `seen`. A run that is under way goes on.
    ///
    /// # Errors
    /// [`JobError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn remove(&self, seen: &Job) -> Result<(), JobError> {
        self.change(|view| {
            view.check_unchanged(seen)?;
            view.states.remove(&seen.id);
            view.jobs.remove(&seen.id);
            Ok(())
        })
        .await
    }

    /// Makes a change to a copy, saves it, and only then lets others see it.
    async fn change(&self, change: impl FnOnce(&mut View) -> Result<(), JobError>) -> Result<(), JobError> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let mut new = View::clone(&self.shared.view());
        change(&mut new)?;
        let shared = Arc::clone(&self.shared);
        // All of it goes with the thread: whoever asked may go away meanwhile, and files and memory must not differ.
        let save = move || {
            let _turn = turn;
            // The state first: a job without one is one that was just added, whatever it missed.
            json_file::write(&shared.states, &new.states, PUBLIC_MODE)?;
            let jobs: Vec<&Job> = new.jobs.values().map(AsRef::as_ref).collect();
            json_file::write(&shared.config, &jobs, SECRET_MODE)?;
            shared.set(new);
            Ok::<(), StateError>(())
        };
        tokio::task::spawn_blocking(save).await.map_err(|_| StateError::Lost)??;
        self.running.changed.notify_one();
        Ok(())
    }

    /// Notes what becomes of a job. It counts even if it cannot be saved: else a job would be started again and again.
    pub(super) async fn note(&self, id: &JobId, note: impl FnOnce(&mut JobState)) {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let mut new = View::clone(&self.shared.view());
        if !new.jobs.contains_key(id) {
            return;
        }
        note(new.states.entry(id.clone()).or_default());
        self.shared.set(new.clone());
        let shared = Arc::clone(&self.shared);
        let save = move || {
            let _turn = turn;
            json_file::write(&shared.states, &new.states, PUBLIC_MODE)
        };
        let saved = tokio::task::spawn_blocking(save).await.unwrap_or(Err(StateError::Lost));
        if let Err(error) = saved {
            tracing::warn!(job = %id, error = %crate::api::chain(&error), "cannot save the state of a job");
        }
    }

    /// Takes the turn of a job in its datastore.
    ///
    /// # Errors
    /// [`JobError::Runs`], [`JobError::Busy`].
    pub(crate) fn take_turn(&self, job: &Job) -> Result<Turn, JobError> {
        let mut running = self.running.lock();
        if running.contains_key(&job.id) {
            return Err(JobError::Runs { id: job.id.clone() });
        }
        if let Some((other, _)) = running.iter().find(|(_, store)| **store == job.store) {
            return Err(JobError::Busy { other: other.clone() });
        }
        running.insert(job.id.clone(), job.store.clone());
        Ok(Turn { running: Arc::clone(&self.running), id: job.id.clone() })
    }

    /// Lists the jobs that run, with their datastores.
    pub(crate) fn running(&self) -> BTreeMap<JobId, StoreName> {
        self.running.lock().clone()
    }

    /// Completes when a run has ended or a job was changed since the last call.
    ///
    /// # Cancel safety
    /// Nothing is missed if the future is dropped before it completes.
    pub(super) async fn changed(&self) {
        self.running.changed.notified().await;
    }

    /// Waits until everything is noted that ended, and told, if that takes no longer than `grace`. No job may be started any
    /// more.
    ///
    /// # Cancel safety
    /// Dropping the future ends the waiting only.
    pub(crate) async fn settle(&self, grace: std::time::Duration) {
        self.followers.close();
        if tokio::time::timeout(grace, self.followers.wait()).await.is_err() {
            tracing::warn!("ends of jobs are not told");
        }
    }
}

impl Shared {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

impl View {
    /// Refuses one more job of a user who has as many as one may have.
    fn check_room(&self, job: &Job) -> Result<(), JobError> {
        let user = job.run_as.user();
        let count = self.jobs.values().filter(|other| other.run_as.user() == user).count();
        if count < JOBS_PER_USER_MAX || user == root().user() {
            return Ok(());
        }
        Err(JobError::TooManyOfUser { user: user.to_owned(), max: JOBS_PER_USER_MAX })
    }

    /// Refuses a change of a job that is no longer as whoever wants the change saw it.
    fn check_unchanged(&self, seen: &Job) -> Result<(), JobError> {
        match self.jobs.get(&seen.id) {
            Some(job) if **job == *seen => Ok(()),
            Some(_) => Err(JobError::Changed { id: seen.id.clone() }),
            None => Err(JobError::Unknown { id: seen.id.clone() }),
        }
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, StoreName>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
        self.running.changed.notify_one();
    }
}

/// Reads the list of jobs. It holds secrets, so only the place of what is wrong is told.
fn read(path: &Path) -> Result<BTreeMap<JobId, Arc<Job>>, StateError> {
    let Some(text) = json_file::read_bytes(path)?.map(Zeroizing::new) else { return Ok(BTreeMap::new()) };
    let malformed = |line, column| StateError::MalformedSecrets { path: path.to_owned(), line, column };
    let jobs: Vec<Job> =
        serde_json::from_slice(&text).map_err(|error| malformed(error.line(), error.column()))?;
    // What no request would have been allowed to add.
    for job in &jobs {
        job.check().map_err(|source| StateError::Job {
            path: path.to_owned(),
            id: job.id.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(jobs.into_iter().map(|job| (job.id.clone(), Arc::new(job))).collect())
}

#[cfg(test)]
mod tests;
