//! What can be wrong with a job.

use coldkeep_client::{JobId, JobKind};
use coldkeep_datastore::FilterError;

use crate::state::StateError;

/// A job was refused, or could not be found, changed or started. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// There is one of that id already.
    #[error("parameter 'id': the job {id} exists already")]
    Exists {
        /// The id.
        id: JobId,
    },
    /// There is no such job.
    #[error("there is no job {id}")]
    Unknown {
        /// The id asked for.
        id: JobId,
    },
    /// It is not what it was when somebody decided to change or remove it.
    #[error("the job {id} was changed meanwhile; look at it and try again")]
    Changed {
        /// The job.
        id: JobId,
    },
    /// There are too many.
    #[error("there are {max} jobs already; remove some")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
    /// One user has too many.
    #[error("{max} jobs run as {user} or their tokens already; remove some")]
    TooManyOfUser {
        /// The user.
        user: String,
        /// How many there may be.
        max: usize,
    },
    /// An option does not go with the kind.
    #[error("parameter '{option}': it does not go with {kind} jobs")]
    Foreign {
        /// The option.
        option: String,
        /// What the job does.
        kind: JobKind,
    },
    /// An option is needed.
    #[error("parameter '{option}' is missing: a {kind} job needs it")]
    Missing {
        /// The option.
        option: &'static str,
        /// What the job does.
        kind: JobKind,
    },
    /// A value is not one that the option takes.
    #[error("parameter '{option}': {reason}")]
    Value {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A prune without a rule would keep everything.
    #[error("parameter 'keep-last' is missing: a prune job needs it, or another of the keep rules")]
    KeepsAll,
    /// There is nobody to show the secret to.
    #[error("parameter 'notify-secret': there is no notify-url to show it to")]
    SecretForNobody,
    /// A filter of groups is malformed, or there are too many.
    #[error("parameter 'group-filter'")]
    Filter(#[from] FilterError),
    /// It runs already.
    #[error("the job {id} runs already")]
    Runs {
        /// The job.
        id: JobId,
    },
    /// Another job runs in its store.
    #[error("the job {other} runs in the same datastore; one job at a time does")]
    Busy {
        /// The job that runs.
        other: JobId,
    },
    /// The change could not be saved.
    #[error("cannot save the change")]
    Save(#[from] StateError),
}
