//! Data folders whose store `default` is in a bucket.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::live::{self, Live};

/// For how long requests are good, in seconds: a rebuild waits so long. Long enough for a busy machine.
const REQUEST_LIFETIME: &str = "5";
/// What a `Date`, which is whole seconds, must show beyond that.
const EXPIRY_MARGIN: &str = "2";

/// Files of a data folder, below it.
const STORES: &str = "config/datastores.json";
const KEYS: &str = "secrets/s3-default.json";

/// What `coldkeep datastore create` made of the first store.
static FIRST: Mutex<Option<First>> = Mutex::new(None);

struct First {
    stores: Value,
    keys: Vec<u8>,
}

/// Makes a data folder with the store `default` at a place of its own in this bucket.
///
/// The first of a process is made by the command, with all its checks. They take seconds and find the same for each, so
/// the others are given what they found.
pub(crate) fn create(folder: &Path, live: &Live, cache_bytes: u64) {
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*first {
        Some(first) => first.repeat(folder, live, cache_bytes),
        None => *first = Some(First::create(folder, live, cache_bytes)),
    }
}

impl First {
    fn create(folder: &Path, live: &Live, cache_bytes: u64) -> Self {
        let (prefix, cache_bytes) = (live::random(), cache_bytes.to_string());
        let mut arguments =
            vec!["datastore", "create", "default", "--backend", "s3", "--access-key", &live.access_key];
        arguments.extend(["--endpoint", &live.endpoint, "--bucket", &live.bucket, "--region", &live.region]);
        arguments.extend(["--prefix", &prefix, "--cache-size", &cache_bytes]);
        arguments.extend(["--request-lifetime", REQUEST_LIFETIME, "--expiry-margin", EXPIRY_MARGIN]);
        arguments.extend(live.is_path_style.then_some("--path-style"));
        arguments.extend((!live.bounds_requests()).then_some("--accept-late-requests"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.args(&arguments).arg("--data-dir").arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", live.secret_key).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
        println!("{}", String::from_utf8_lossy(&said));
        let stores = serde_json::from_slice(&std::fs::read(folder.join(STORES)).unwrap()).unwrap();
        Self { stores, keys: std::fs::read(folder.join(KEYS)).unwrap() }
    }

    fn repeat(&self, folder: &Path, live: &Live, cache_bytes: u64) {
        let mut stores = self.stores.clone();
        let bucket = &mut stores[0]["backend"];
        bucket["endpoint"] = json!(live.endpoint);
        bucket["prefix"] = json!(live::random());
        bucket["cache-size"] = json!(cache_bytes);
        for (name, content) in [(STORES, stores.to_string().as_bytes()), (KEYS, &self.keys)] {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.write_all(content).unwrap();
        }
    }
}
