//! The list of datastores: `/config/datastore`. What takes long runs as a task, whose id is the answer.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_datastore::StoreName;
use coldkeep_s3_client::{BucketName, Credentials, Endpoint as S3Endpoint, Fingerprint, Region};

use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AclPath, Privileges};
use crate::bucket::{CACHE_SIZE_DEFAULT, Prefix, S3Config, describe_rebuild};
use crate::state::{BucketUpdate, NewBucket, StoreConfig, StoresError};
use crate::tasks::{TaskHandle, TaskSpec};

/// Longest comment.
const COMMENT_BYTES_MAX: usize = 512;
/// Longest path of a folder; the system takes no longer one.
const PATH_BYTES_MAX: usize = 4095;
/// Longest key of a bucket.
const KEY_BYTES_MAX: usize = 1024;
/// The longest that a request may be good for: S3 takes none for longer than 15 minutes.
const LIFETIME_SECONDS_MAX: i64 = 900;

const STORE: Param =
    Param::required("store", Kind::name::<StoreName>("datastore name"), "Name of the datastore.");
const COMMENT: Param =
    Param::optional("comment", Kind::Text { bytes_max: COMMENT_BYTES_MAX }, "Free text; empty: none.");
const SIZE: Kind = Kind::Integer { min: 0, max: i64::MAX };
const CACHE_SIZE: Param =
    Param::optional("cache-size", SIZE, "Most bytes of the bucket's content that the folder caches.");
const QUOTA: Param =
    Param::optional("quota", SIZE, "Bytes that there is room for in the bucket; 0: as good as endless.");
const REQUEST_LIFETIME: Param = Param::optional(
    "request-lifetime",
    Kind::Integer { min: 1, max: LIFETIME_SECONDS_MAX },
    "Seconds for which requests are good that must not take effect late.",
);
const EXPIRY_MARGIN: Param = Param::optional(
    "expiry-margin",
    // A `Date` is whole seconds: less would be no margin.
    Kind::Integer { min: 2, max: LIFETIME_SECONDS_MAX },
    "Seconds that the bucket's clock must show beyond that.",
);
const ACCESS_KEY: Param = Param::optional(
    "access-key",
    Kind::Text { bytes_max: KEY_BYTES_MAX },
    "Access key of the bucket; without one, those of the server's environment are used.",
)
.secret();
const SECRET_KEY: Param = Param::optional(
    "secret-key",
    Kind::Text { bytes_max: KEY_BYTES_MAX },
    "The secret key that goes with it; no answer ever has it.",
)
.secret();
const TAKE_OVER: Param = Param::with_default(
    "take-over",
    Kind::Boolean,
    "false",
    "Take the bucket over from the server that has it open.",
);

/// Who may see an entry.
const SEE: Privileges = Privileges::DATASTORE_AUDIT.union(Privileges::DATASTORE_ALLOCATE);
/// Who may change and remove an entry.
const CHANGE: Access = Access::Datastore { full: Privileges::DATASTORE_ALLOCATE, own: Privileges::NONE };

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/config/datastore",
        doc: "Lists the settings of the datastores that the caller has Datastore.Audit or Datastore.Allocate on, by name.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/config/datastore",
        doc: "Makes a datastore, or takes one that is there, and lists it; returns the id of the task.",
        params: &[
            Param::required("name", Kind::name::<StoreName>("datastore name"), "Its name."),
            Param::optional(
                "path",
                Kind::name::<Folder>("folder"),
                "Its folder on the server; without it, one below the data folder. With a bucket it holds markers and the cache.",
            ),
            COMMENT,
            Param::with_default(
                "backend-type",
                Kind::name::<BackendType>("backend"),
                "filesystem",
                "Where chunks and snapshots are kept: `filesystem` or `s3`.",
            ),
            Param::optional("endpoint", Kind::name::<S3Endpoint>("endpoint"), "URL of the bucket's server."),
            Param::optional("bucket", Kind::name::<BucketName>("bucket name"), "The bucket; it must exist."),
            Param::with_default(
                "region",
                Kind::name::<Region>("region"),
                "us-east-1",
                "The bucket's region.",
            ),
            Param::with_default("path-style", Kind::Boolean, "false", "Put the bucket into the path."),
            Param::optional(
                "prefix",
                Kind::name::<Prefix>("prefix"),
                "What all keys begin with; without it, the datastore's name.",
            ),
            Param::optional(
                "fingerprint",
                Kind::name::<Fingerprint>("fingerprint"),
                "SHA-256 of the certificate of the bucket's server.",
            ),
            CACHE_SIZE,
            QUOTA,
            REQUEST_LIFETIME,
            EXPIRY_MARGIN,
            ACCESS_KEY,
            SECRET_KEY,
            Param::with_default(
                "check",
                Kind::Boolean,
                "true",
                "Find out what the bucket's server does first.",
            ),
            Param::with_default(
                "accept-late-requests",
                Kind::Boolean,
                "false",
                "Take a server that bounds the age of no request: that no chunk is ever lost is then not guaranteed.",
            ),
            TAKE_OVER,
        ],
        body: BodyKind::Params,
        access: Access::At { path: "/datastore", any: Privileges::DATASTORE_ALLOCATE },
        handler: |call| Box::pin(add(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/datastore/{store}",
        doc: "Returns the settings of a datastore.",
        params: &[STORE],
        body: BodyKind::Params,
        access: Access::Datastore { full: SEE, own: Privileges::NONE },
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/datastore/{store}",
        doc: "Changes the settings of a datastore. What they say of cache and requests counts from the next open on.",
        params: &[STORE, COMMENT, CACHE_SIZE, QUOTA, REQUEST_LIFETIME, EXPIRY_MARGIN, ACCESS_KEY, SECRET_KEY],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(update(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/config/datastore/{store}",
        doc: "Takes a datastore off the list, and gives its bucket free for other servers; returns the id of the task.",
        params: &[
            STORE,
            Param::with_default(
                "destroy-data",
                Kind::Boolean,
                "false",
                "Remove everything in it too: all snapshots, all chunks, its folder.",
            ),
            TAKE_OVER,
        ],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(remove(call)),
    },
];

/// A folder of the server, by its whole path.
struct Folder(PathBuf);

/// A text that is no path of a folder.
#[derive(Debug, thiserror::Error)]
#[error("a folder is named by its whole path, without `.` and `..`")]
struct FolderError;

/// Where chunks and snapshots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BackendType {
    Filesystem,
    S3,
}

/// A text that names no backend.
#[derive(Debug, thiserror::Error)]
#[error("there are filesystem and s3")]
struct BackendTypeError;

impl FromStr for Folder {
    type Err = FolderError;

    fn from_str(text: &str) -> Result<Self, FolderError> {
        let path = Path::new(text);
        let is_plain =
            path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let is_good = path.is_absolute() && is_plain && text.len() <= PATH_BYTES_MAX && !text.contains('\0');
        is_good.then(|| Self(path.to_owned())).ok_or(FolderError)
    }
}

impl FromStr for BackendType {
    type Err = BackendTypeError;

    fn from_str(text: &str) -> Result<Self, BackendTypeError> {
        match text {
            "filesystem" => Ok(Self::Filesystem),
            "s3" => Ok(Self::S3),
            _ => Err(BackendTypeError),
        }
    }
}

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let is_seen = |config: &StoreConfig| {
        call.caller.privileges(&AclPath::datastore(config.name.as_str(), "")).has_any(SEE)
    };
    let mut configs = call.state.datastore_configs();
    configs.retain(is_seen);
    Reply::json(&configs)
}

async fn show(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let found = call.state.datastore_configs().into_iter().find(|config| config.name == name);
    Reply::json(&found.ok_or_else(|| ApiError::failed(&StoresError::Unknown { name }))?)
}

async fn add(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let name: StoreName = params.get("name")?;
    let path = params.find::<Folder>("path")?.map(|folder| folder.0);
    let comment = params.text("comment").filter(|text| !text.is_empty()).map(str::to_owned);
    let server = call.state.clone();
    let id = name.clone();
    if params.get::<BackendType>("backend-type")? == BackendType::S3 {
        let (config, credentials) = (bucket(params, &name)?, keys(params)?);
        let (is_checked, takeover) = (params.get("check")?, takeover(params)?);
        let new = NewBucket { config, path, comment, credentials, is_checked, takeover };
        return start(&call, "create-datastore", &id, |task: TaskHandle| async move {
            let at = task.clone();
            let tell = move |progress| at.log(describe_rebuild(Some(progress)));
            let created = Box::pin(server.create_bucket_datastore(name, new, tell)).await?;
            let caveats = created.config.bucket().map(S3Config::caveats).unwrap_or_default();
            for caveat in caveats {
                task.log(format!("note: {caveat}"));
            }
            Ok::<(), StoresError>(())
        });
    }
    if params.text("endpoint").is_some() || params.text("bucket").is_some() {
        return Err(ApiError::bad_request("endpoint and bucket go with the backend-type s3"));
    }
    let create = |_task| async move { server.create_datastore(name, path, comment).await };
    start(&call, "create-datastore", &id, create)
}

async fn update(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let name: StoreName = params.get("store")?;
    let update = BucketUpdate {
        comment: params.find("comment")?,
        cache_size: params.find("cache-size")?,
        quota: params.find("quota")?,
        request_lifetime: params.find("request-lifetime")?,
        expiry_margin: params.find("expiry-margin")?,
        credentials: keys(params)?,
    };
    // It goes on if the caller goes away: the list on disk and the one in memory must not differ.
    let server = call.state.clone();
    let updated = tokio::spawn(async move { server.update_datastore(&name, update).await });
    let updated = updated.await.map_err(|_| ApiError::bad_request("the change was cut short"))?;
    updated.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: StoreName = call.params.get("store")?;
    let (destroys, takeover): (bool, _) = (call.params.get("destroy-data")?, takeover(&call.params)?);
    let server = call.state.clone();
    let id = name.clone();
    start(&call, "delete-datastore", &id, |task: TaskHandle| async move {
        if !destroys {
            return server.remove_datastore(&name).await;
        }
        let tell = |count: u64| task.log(format!("{count} objects gone"));
        server.destroy_datastore(&name, takeover, tell).await.map(drop)
    })
}

/// Starts a task on a datastore.
fn start<W, F>(
    call: &Call<Server>,
    worker_type: &'static str,
    name: &StoreName,
    work: W,
) -> Result<Reply, ApiError>
where
    W: FnOnce(TaskHandle) -> F,
    F: Future<Output = Result<(), StoresError>> + Send + 'static,
{
    let auth_id = call.caller.auth_id().clone();
    let spec = TaskSpec { worker_type, worker_id: Some(name.to_string()), auth_id };
    let upid = call.state.tasks().start(spec, work).map_err(|error| ApiError::failed(&error))?;
    Reply::json(&upid)
}

/// Takes what is said of a bucket.
fn bucket(params: &Params, name: &StoreName) -> Result<S3Config, ApiError> {
    let of_name = || name.as_str().parse::<Prefix>().map_err(|error| ApiError::failed(&error));
    Ok(S3Config {
        endpoint: params.get("endpoint")?,
        bucket: params.get("bucket")?,
        region: params.get("region")?,
        path_style: params.get("path-style")?,
        prefix: params.find("prefix")?.map_or_else(of_name, Ok)?,
        fingerprint: params.find("fingerprint")?,
        cache_size: params.find("cache-size")?.unwrap_or(CACHE_SIZE_DEFAULT),
        accept_late_requests: params.get("accept-late-requests")?,
        quota: params.find("quota")?.filter(|quota| *quota > 0),
        request_lifetime: params.find("request-lifetime")?,
        expiry_margin: params.find("expiry-margin")?,
        probe: None,
    })
}

/// Takes the keys of a bucket, both or none.
fn keys(params: &Params) -> Result<Option<Credentials>, ApiError> {
    match (params.text("access-key"), params.text("secret-key")) {
        (Some(access_key), Some(secret_key)) => {
            Credentials::new(access_key, secret_key).map(Some).map_err(|error| ApiError::failed(&error))
        }
        (None, None) => Ok(None),
        _ => Err(ApiError::bad_request("access-key and secret-key go together")),
    }
}

fn takeover(params: &Params) -> Result<Takeover, ApiError> {
    let takes_over: bool = params.get("take-over")?;
    Ok(if takes_over { Takeover::Force } else { Takeover::Refuse })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_table_is_sound() {
        assert_tables_are_sound(ENDPOINTS);
    }

    #[test]
    fn folders_are_named_by_their_whole_paths() {
        assert!("/srv/backup".parse::<Folder>().is_ok());
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for bad in ["", "srv", "./srv", "/srv/../etc", "/a\0b", &long] {
            assert!(bad.parse::<Folder>().is_err(), "{bad:?} was taken");
        }
    }
}
