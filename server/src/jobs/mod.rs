//! Jobs: what a server does by itself, when (spec `calendar.md` §1.4), and what becomes of it.
//!
//! A job is a request ([`crate::operation`]) with a calendar event. What is to be started is decided by a pure function
//! ([`decide`]) from the jobs, their states and the time; the scheduler ([`scheduler`]) gathers these, starts what comes out, and
//! sleeps until the next full minute. A run is an ordinary task; when it has ended, its job's state is noted and somebody is told
//! ([`webhook`]).
//!
//! # Order and limits
//!
//! - One job at a time runs in a datastore, and none while a collection, a prune, a verification, a pull or a push that somebody
//!   with Datastore.Modify on all of it started by hand does. A busy store lets jobs wait; that is no failure.
//! - Jobs that wait start in this order: pull, push, prune, verify, gc. What is copied is there before the rules judge it, what
//!   they remove need not be verified, and the collection, last, frees what all of them left. Of the same kind the one that was due
//!   first starts first.
//! - A job that ran while another one was waiting lets that one go first: however long jobs take, and however often they are due,
//!   each waits for one run of every other at most.
//! - In the whole server [`crate::Limits::jobs_at_once`] jobs run at a time; the store goes first in which one has been waiting
//!   longest.

mod as_text;
mod book;
mod decide;
mod error;
mod job;
mod options;
mod run;
mod scheduler;
mod state;
mod update;
mod webhook;

pub use book::Jobs;
use book::Turn;
pub(crate) use decide::{Cause, next_run};
pub use error::JobError;
pub(crate) use job::RETRY_WAIT_SECONDS;
pub use job::{Job, NotifySecret, ParseNotifySecretError};
pub(crate) use options::OPTIONS;
pub(crate) use run::start;
pub(crate) use scheduler::run as run_scheduler;
pub(crate) use state::JobState;
pub use update::{JobProperty, JobUpdate, UnknownJobProperty};
pub use webhook::{WebhookUrl, WebhookUrlError};
