//! Copies all objects whose keys begin with a prefix into a local folder: `mirror_prefix PREFIX FOLDER`
//!
//! Which server, which bucket and as whom stands in the environment; see `connect/mod.rs`, or run it without. Bodies are streamed, so
//! memory does not grow with the objects, and a file gets its name only once its content is complete.
//!
//! A key is anything, `../../etc/passwd` included, so it is no path: every component is encoded such that no key leads out of the folder
//! and no two keys to one file. Of `x` and `x/y` only one can be a file; the other is reported. Nobody else should be able to put symbolic
//! links into the folder meanwhile.

mod connect;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use coldkeep_s3_client::ops::ListObjectsV2;
use coldkeep_s3_client::{Client, GetObject, ObjectKey, ObjectStream, RequestError};
use connect::BoxError;
use percent_encoding::percent_encode_byte;
use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

/// Objects copied at once.
const COPIES_MAX: usize = 16;
/// How often one object is begun anew: a stream that broke off repeats nothing by itself.
const TRIES_MAX: u32 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    connect::finish(run().await)
}

async fn run() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [prefix, folder] = arguments.as_slice() else {
        return Err("usage: mirror_prefix PREFIX FOLDER (an empty prefix is all of the bucket)".into());
    };
    let client = connect::client()?;
    let mut listing = client.list(ListObjectsV2::new().with_prefix(prefix));
    let (mut copies, mut tally) = (JoinSet::new(), Tally::default());
    while let Some(object) = listing.next_object().await? {
        if copies.len() >= COPIES_MAX
            && let Some(copied) = copies.join_next().await
        {
            tally.add(copied?);
        }
        copies.spawn(copy(client.clone(), object.key, PathBuf::from(folder)));
    }
    while let Some(copied) = copies.join_next().await {
        tally.add(copied?);
    }
    let Tally { copied, bytes, failed } = tally;
    println!("{copied} objects copied, {bytes} bytes; {failed} failed");
    if failed > 0 { Err("some objects were not copied".into()) } else { Ok(()) }
}

#[derive(Default)]
struct Tally {
    copied: u64,
    bytes: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, (key, copied): (ObjectKey, Result<u64, BoxError>)) {
        match copied {
            Ok(bytes) => {
                self.copied += 1;
                self.bytes += bytes;
                println!("{:?}: {bytes} bytes", key.as_str());
            }
            Err(error) => {
                self.failed += 1;
                let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
                eprintln!("{:?}: {error}{source}", key.as_str());
            }
        }
    }
}

async fn copy(client: Client, key: ObjectKey, folder: PathBuf) -> (ObjectKey, Result<u64, BoxError>) {
    let path = path_of(&folder, &key);
    for _ in 1..TRIES_MAX {
        match download(&client, &key, &path).await {
            Err(error) if error.downcast_ref().is_some_and(RequestError::is_retryable) => {}
            done => return (key, done),
        }
    }
    let done = download(&client, &key, &path).await;
    (key, done)
}

async fn download(client: &Client, key: &ObjectKey, path: &Path) -> Result<u64, BoxError> {
    let mut object = client.stream(&GetObject::new(key.clone())).await?.into_value();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).await?;
    }
    // No key leads here: `%pa` is no encoded byte.
    let mut part = path.as_os_str().to_owned();
    part.push("%part");
    let written = write(&mut object, part.as_ref()).await;
    let done = match written {
        Ok(bytes) => fs::rename(&part, path).await.map(|()| bytes).map_err(BoxError::from),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // What failed is what the caller hears of, not that there was nothing to tidy up.
        let _ = fs::remove_file(&part).await;
    }
    done
}

async fn write(object: &mut ObjectStream, part: &Path) -> Result<u64, BoxError> {
    let mut file = fs::File::create(part).await?;
    let mut bytes = 0;
    while let Some(piece) = object.next().await? {
        bytes += piece.len() as u64;
        file.write_all(&piece).await?;
    }
    // Without this, an error of the last write would be lost.
    file.flush().await?;
    Ok(bytes)
}

/// Returns the file for a key: below `folder`, and another one for every key.
fn path_of(folder: &Path, key: &ObjectKey) -> PathBuf {
    key.as_str().split('/').fold(folder.to_owned(), |path, component| path.join(encode(component)))
}

/// Encodes what no file name may hold on some system, and dots and spaces at the end: that covers `.` and `..`, and what some systems
/// read as such. Nothing at all becomes `%`, so that `a//b` is not `a/b`.
fn encode(component: &str) -> String {
    if component.is_empty() {
        return "%".to_owned();
    }
    let end = component.len();
    let mut name = String::with_capacity(end);
    for (at, char) in component.char_indices() {
        let is_last = at + char.len_utf8() == end;
        if char.is_control() || "%\\:*?\"<>|".contains(char) || (is_last && matches!(char, '.' | ' ')) {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                name.push_str(percent_encode_byte(byte));
            }
        } else {
            name.push(char);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    #[test]
    fn no_key_leads_out_of_the_folder_and_no_two_to_one_file() {
        let keys = [
            "a",
            "/a",
            "//a",
            "a/",
            "a//",
            "a/b",
            "a//b",
            "a/./b",
            "a/../b",
            ".",
            "..",
            "../..",
            "/etc/passwd",
            "../../etc/passwd",
            "...",
            ".. ",
            "a.",
            "a ",
            "C:\\x",
            "..\\x",
            "%2E%2E/x",
            "%",
            "/",
            "a\0b",
            "a\nb",
            "é",
        ];
        let folder = Path::new("/mirror");
        let mut paths: Vec<_> =
            keys.iter().map(|key| path_of(folder, &ObjectKey::new(*key).unwrap())).collect();
        for path in &paths {
            let below = path.strip_prefix(folder).unwrap();
            assert!(below.components().count() > 0, "{path:?}");
            assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
            assert!(!path.to_str().unwrap().contains(['\0', '\\', ':', '\n']), "{path:?}");
        }
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), keys.len());
    }
}
