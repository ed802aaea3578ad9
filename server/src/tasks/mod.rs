//! Tasks: long work that outlives the request that started it, with a log, a result, and a way to stop it.

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod history;
mod log;
mod registry;
mod upid;

pub use handle::TaskHandle;
pub use history::{Finished, TASKS_KEPT};
pub use log::{LogLine, LogPart};
pub use registry::{TaskCounts, TaskError, TaskInfo, TaskSpec, Tasks};
pub use upid::{Upid, UpidError};
