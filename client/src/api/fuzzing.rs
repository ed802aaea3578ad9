//! The readers of answers, for the fuzz targets and nothing else.

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::envelope::{data, whole};
use super::{
    AclItem, DatastoreItem, DeleteStats, FileItem, GcRun, GcStatus, GroupItem, JobItem, NamespaceItem,
    PruneItem, SnapshotItem, StoreStatus, TaskItem, TaskLog, TaskStatus, TokenSecret, UserItem, Version,
};
use crate::error::{Call, RequestError};

/// Reads an answer as each of the types that calls of the REST interface return; shows what was made of it.
pub fn answers(body: &[u8]) -> Vec<Result<String, RequestError>> {
    fn shown<T: DeserializeOwned + std::fmt::Debug>(body: &[u8]) -> Result<String, RequestError> {
        data::<T>(&call(), body).map(|value| format!("{value:?}"))
    }
    vec![
        shown::<Version>(body),
        shown::<Vec<DatastoreItem>>(body),
        shown::<StoreStatus>(body),
        shown::<GcStatus>(body),
        shown::<Vec<GcRun>>(body),
        shown::<Vec<GroupItem>>(body),
        shown::<Vec<JobItem>>(body),
        shown::<Vec<SnapshotItem>>(body),
        shown::<Vec<FileItem>>(body),
        shown::<DeleteStats>(body),
        shown::<Vec<NamespaceItem>>(body),
        shown::<Vec<PruneItem>>(body),
        shown::<Vec<TaskItem>>(body),
        shown::<TaskStatus>(body),
        shown::<Vec<UserItem>>(body),
        shown::<TokenSecret>(body),
        shown::<Vec<AclItem>>(body),
        shown::<Option<String>>(body),
    ]
}

/// Reads part of a task's log.
pub fn task_log(body: &[u8]) -> Result<TaskLog, RequestError> {
    whole(&call(), body)
}

/// Makes an error of an answer that is none.
pub fn refusal(status: StatusCode, body: &[u8]) -> RequestError {
    RequestError::refused(call(), status, body)
}

fn call() -> Call {
    Call::new(Method::GET, "/fuzz")
}
