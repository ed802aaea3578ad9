//! The state, and which operation a request asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;

use super::answer::{Answered, S3Error};
use super::hashes;
use super::object::Object;
use super::options::{Lack, Options};
use super::request::Request;
use super::{auth::PayloadHash, buckets, copy, deletion, listing, multipart, objects};

/// All buckets.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// Keys that multi-delete refuses, with the code.
    pub(crate) undeletable: BTreeMap<String, String>,
    /// For upload ids, and for `ETag`s where nothing is hashed.
    counter: u64,
}

pub(crate) struct Bucket {
    pub(crate) created_at: SystemTime,
    pub(crate) objects: BTreeMap<String, Arc<Object>>,
    pub(crate) uploads: BTreeMap<String, multipart::Upload>,
    /// Answers to `GET ?versioning` and the like, by the name of the sub-resource.
    pub(crate) documents: BTreeMap<String, String>,
}

impl Bucket {
    pub(crate) fn new(created_at: SystemTime) -> Bucket {
        Bucket { created_at, objects: BTreeMap::new(), uploads: BTreeMap::new(), documents: BTreeMap::new() }
    }
}

impl Store {
    pub(crate) fn bucket(&mut self, name: &str) -> Result<&mut Bucket, S3Error> {
        let missing = || S3Error::new(404, "NoSuchBucket", "The specified bucket does not exist");
        self.buckets.get_mut(name).ok_or_else(|| missing().with("BucketName", name))
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// What was computed from a body, outside the lock.
#[derive(Default)]
pub(crate) struct Sums {
    /// Of the body; empty where nothing is hashed.
    pub(crate) md5: Vec<u8>,
    /// Header and value of the checksums that the request carried.
    pub(crate) checksums: Vec<(String, String)>,
}

/// Compares the body with every hash that the request carries.
pub(crate) fn verify(request: &Request, hash: &PayloadHash, options: &Options) -> Result<Sums, S3Error> {
    if let PayloadHash::Sha256(stated) = hash {
        let computed = hashes::hex(&hashes::sha256(&request.pages));
        if *stated != computed {
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            return Err(S3Error::new(400, "XAmzContentSHA256Mismatch", message)
                .with("ClientComputedContentSHA256", stated)
                .with("S3ComputedContentSHA256", computed));
        }
    }
    let md5 = hashes::md5(&request.pages);
    if let Some(stated) = request.header("content-md5")
        && stated != hashes::base64(&md5)
    {
        return Err(S3Error::new(
            400,
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
        ));
    }
    let mut checksums = Vec::new();
    // On a CompleteMultipartUpload they are of the object, not of the body.
    let is_of_body = !request.query.has("uploadId") || request.query.has("partNumber");
    if is_of_body && !options.lacks(Lack::Checksums) {
        for algorithm in hashes::ALGORITHMS {
            let name = format!("x-amz-checksum-{algorithm}");
            let Some(stated) = request.header(&name) else { continue };
            let computed = hashes::checksum(algorithm, &request.pages).map(|sum| hashes::base64(&sum));
            if computed.as_deref() != Some(stated) {
                let message = format!(
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.to_uppercase()
                );
                return Err(S3Error::new(400, "BadDigest", message));
            }
            checksums.push((name, stated.to_owned()));
        }
    }
    Ok(Sums { md5, checksums })
}

/// Everything an operation looks at beside the store.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) sums: Sums,
    pub(crate) options: &'a Options,
    pub(crate) now: SystemTime,
}

/// Carries out one request.
pub(crate) fn dispatch(store: &mut Store, call: Call<'_>) -> Answered {
    let request = call.request;
    let method = &request.method;
    if request.bucket.is_empty() {
        return if *method == Method::GET { Ok(buckets::list(store)) } else { Err(method_not_allowed()) };
    }
    if request.key.is_empty() {
        return dispatch_bucket(store, &call);
    }
    if request.key.len() > KEY_BYTES_MAX {
        return Err(S3Error::new(400, "KeyTooLongError", "Your key is too long"));
    }
    match method.as_str() {
        "PUT" if request.query.has("partNumber") => multipart::upload_part(store, &call),
        "PUT" if request.header("x-amz-copy-source").is_some() => copy::copy(store, &call),
        "PUT" => objects::put(store, call),
        "GET" | "HEAD" => objects::get(store, &call),
        "DELETE" if request.query.has("uploadId") => multipart::abort(store, &call),
        "DELETE" => objects::delete(store, &call),
        "POST" if request.query.has("uploads") => multipart::create(store, &call),
        "POST" if request.query.has("uploadId") => multipart::complete(store, &call),
        _ => Err(method_not_allowed()),
    }
}

/// S3 user guide, "Naming Amazon S3 objects".
const KEY_BYTES_MAX: usize = 1024;

fn dispatch_bucket(store: &mut Store, call: &Call<'_>) -> Answered {
    let query = &call.request.query;
    match call.request.method.as_str() {
        "HEAD" => buckets::head(store, call),
        "PUT" => buckets::create(store, call),
        "DELETE" => buckets::delete(store, call),
        "POST" if query.has("delete") => deletion::delete_many(store, call),
        "GET" if query.value("list-type") == Some("2") => listing::list(store, call),
        "GET" => buckets::document(store, call),
        _ => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> S3Error {
    S3Error::new(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
}
