//! What the calls return (spec `rest-api.md` §3–§5); unknown fields are ignored.

use coldkeep_datastore::{ArchiveName, BackupTime, GroupName, Namespace, Owner, SnapshotName, StoreName};
use serde::{Deserialize, Serialize};

/// The server's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `major.minor`.
    pub version: String,
    /// Patch level.
    pub release: String,
    /// The build.
    #[serde(default)]
    pub repoid: String,
}

/// A datastore that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatastoreItem {
    /// Its name.
    pub store: StoreName,
    /// A comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// `filesystem` or `s3`, where the server tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_type: Option<String>,
}

/// Space and, if asked for, counts of a datastore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStatus {
    /// Bytes there are.
    pub total: u64,
    /// Bytes taken.
    pub used: u64,
    /// Bytes free.
    pub avail: u64,
    /// `filesystem` or `s3`, where the server tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_type: Option<String>,
    /// Groups and snapshots by type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TypeCounts>,
    /// The last collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_status: Option<GcStatus>,
    /// What a Coldkeep server tells of a datastore in a bucket, for people.
    #[serde(rename = "coldkeep-bucket", default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<serde_json::Value>,
}

/// Groups and snapshots of each backup type; `None` where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCounts {
    /// Containers.
    #[serde(default)]
    pub ct: Option<TypeCount>,
    /// Hosts.
    #[serde(default)]
    pub host: Option<TypeCount>,
    /// Virtual machines.
    #[serde(default)]
    pub vm: Option<TypeCount>,
}

/// Groups and snapshots of one backup type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCount {
    /// Groups.
    pub groups: u64,
    /// Snapshots.
    pub snapshots: u64,
}

/// A past collection of a datastore, however it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GcRun {
    /// Its task.
    pub upid: String,
    /// When it ended, in Unix seconds.
    pub ended_at: i64,
    /// `OK`, `WARNINGS: n`, `stopped`, or what went wrong.
    pub state: String,
    /// Whether it was to remove nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The whole report, as `coldkeep-gc` defines it; null if the run did not begin.
    #[serde(default)]
    pub report: serde_json::Value,
}

/// The last collection of a datastore; all zero before the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct GcStatus {
    /// Its task.
    pub upid: Option<String>,
    /// Indexes read.
    pub index_file_count: u64,
    /// Bytes that the indexes describe.
    pub index_data_bytes: u64,
    /// Bytes of chunks kept.
    pub disk_bytes: u64,
    /// Chunks kept.
    pub disk_chunks: u64,
    /// Bytes freed.
    pub removed_bytes: u64,
    /// Chunks removed.
    pub removed_chunks: u64,
    /// Bytes of chunks that are unused but too young.
    pub pending_bytes: u64,
    /// Chunks that are unused but too young.
    pub pending_chunks: u64,
    /// Bad chunks removed.
    pub removed_bad: u64,
    /// Bad chunks left.
    pub still_bad: u64,
    /// Length of the last run in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    /// When the last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_endtime: Option<i64>,
    /// How the last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_state: Option<String>,
    /// The calendar event that collections run by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// When the next collection runs by itself, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<i64>,
}

/// A backup group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupItem {
    /// Its name.
    #[serde(flatten)]
    pub group: GroupName,
    /// Time of the newest finished snapshot; 0 if there is none.
    pub last_backup: i64,
    /// Snapshots, unfinished ones included.
    pub backup_count: u64,
    /// Files of the newest snapshot.
    pub files: Vec<String>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// First line of its notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotItem {
    /// Its group.
    #[serde(flatten)]
    pub group: GroupName,
    /// Its time.
    pub backup_time: BackupTime,
    /// Its files.
    pub files: Vec<FileItem>,
    /// Sum of the files' sizes; `None` while it is unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether it is protected from removal.
    #[serde(default)]
    pub protected: bool,
    /// First line of its notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The key that its manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The last verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// The group's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl SnapshotItem {
    /// Returns the snapshot's name.
    pub fn name(&self) -> SnapshotName {
        SnapshotName::new(self.group.clone(), self.backup_time)
    }

    /// Tells whether the snapshot was committed: its manifest is there.
    pub fn is_finished(&self) -> bool {
        self.files.iter().any(|file| file.filename == ArchiveName::MANIFEST)
    }
}

/// How a verification ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// `ok` or `failed`.
    pub state: String,
    /// Its task.
    pub upid: String,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileItem {
    /// Its name.
    pub filename: String,
    /// `none`, `encrypt` or `sign-only`; `None` if the manifest does not list the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crypt_mode: Option<String>,
    /// Plain size of an archive, encoded size of a blob; `None` if the manifest does not list the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What a removal removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DeleteStats {
    /// Groups removed.
    pub removed_groups: u64,
    /// Snapshots kept because they are protected.
    pub protected_snapshots: u64,
    /// Snapshots removed.
    pub removed_snapshots: u64,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceItem {
    /// Its path; empty for the root.
    pub ns: Namespace,
    /// A comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a prune does with one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneItem {
    /// The snapshot's group.
    #[serde(flatten)]
    pub group: GroupName,
    /// The snapshot's time.
    pub backup_time: BackupTime,
    /// Whether it stays.
    pub keep: bool,
    /// Whether it is protected.
    #[serde(default)]
    pub protected: bool,
    /// What decided, as a Coldkeep server tells it: a rule by the name of its option, `keep-daily`, or another word, `protected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskItem {
    /// Its unique id.
    pub upid: String,
    /// The node it runs on.
    pub node: String,
    /// When it started, Unix time.
    pub starttime: i64,
    /// What kind of work.
    pub worker_type: String,
    /// On what.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// For whom.
    pub user: String,
    /// When it ended, Unix time; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endtime: Option<i64>,
    /// How it ended; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Whether a task still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It runs.
    Running,
    /// It ended.
    Stopped,
}

/// The state of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// Its unique id.
    pub upid: String,
    /// What kind of work.
    #[serde(rename = "type")]
    pub worker_type: String,
    /// On what.
    #[serde(default)]
    pub id: Option<String>,
    /// For whom.
    pub user: String,
    /// When it started, Unix time.
    pub starttime: i64,
    /// Whether it still runs.
    pub status: TaskState,
    /// `OK`, `WARNINGS…` or the error, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitstatus: Option<String>,
    /// When it ended, Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endtime: Option<i64>,
}

impl TaskStatus {
    /// Tells whether the task ended well; warnings count as well.
    pub fn is_success(&self) -> bool {
        self.exitstatus.as_deref().is_some_and(|status| status == "OK" || status.starts_with("WARNINGS"))
    }
}
