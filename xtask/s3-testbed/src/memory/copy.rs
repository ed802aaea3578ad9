//! `CopyObject`.

use std::sync::Arc;

use super::answer::{Answered, S3Error, document, set};
use super::object::Object;
use super::objects::{stored_headers, unquoted};
use super::request::decode;
use super::store::{Call, Store};
use crate::clock::xml_date;

/// Copies within the server; metadata as `x-amz-metadata-directive` says.
pub(crate) fn copy(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    let source = request.header("x-amz-copy-source").unwrap_or_default();
    let source = source.split_once('?').map_or(source, |(path, _)| path);
    let source = decode(source.strip_prefix('/').unwrap_or(source))?;
    let (bucket, key) =
        source.split_once('/').ok_or_else(|| S3Error::new(400, "InvalidArgument", "x-amz-copy-source"))?;
    let objects = &store.bucket(bucket)?.objects;
    let original = Arc::clone(objects.get(key).ok_or_else(|| S3Error::no_such_key(key))?);
    let expected = request.header("x-amz-copy-source-if-match");
    if expected.is_some_and(|etag| unquoted(etag) != original.etag) {
        return Err(S3Error::precondition_failed("x-amz-copy-source-If-Match"));
    }
    let replaces = request.header("x-amz-metadata-directive") == Some("REPLACE");
    if !replaces && (bucket, key) == (request.bucket.as_str(), request.key.as_str()) {
        let message = "This copy request is illegal because it is trying to copy an object to itself without changing \
                       the object's metadata, storage class, website redirect location or encryption attributes.";
        return Err(S3Error::invalid_request(message));
    }
    let headers = if replaces { stored_headers(request) } else { original.headers.clone() };
    let object = Object { headers, modified_at: call.now, ..Object::clone(&original) };
    let body = format!(
        "<CopyObjectResult><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag></CopyObjectResult>",
        xml_date(object.modified_at),
        object.etag
    );
    store.bucket(&request.bucket)?.objects.insert(request.key.clone(), Arc::new(object));
    let mut answer = document(&body);
    set(&mut answer, "x-amz-copy-source-version-id", "null");
    Ok(answer)
}
