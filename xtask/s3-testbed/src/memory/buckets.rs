//! Buckets and their configuration.

use std::fmt::Write;

use http::StatusCode;

use super::answer::{Answer, Answered, S3Error, document as xml_document, empty, set};
use super::store::{Bucket, Call, Store};
use super::xml::escape;
use crate::clock::xml_date;

/// `ListBuckets`.
pub(crate) fn list(store: &Store) -> Answer {
    let mut body = String::from(
        "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>testbed</ID></Owner><Buckets>",
    );
    for (name, bucket) in &store.buckets {
        let (name, created) = (escape(name), xml_date(bucket.created_at));
        let _ = write!(body, "<Bucket><Name>{name}</Name><CreationDate>{created}</CreationDate></Bucket>");
    }
    body.push_str("</Buckets></ListAllMyBucketsResult>");
    xml_document(&body)
}

/// `CreateBucket`.
pub(crate) fn create(store: &mut Store, call: &Call<'_>) -> Answered {
    let name = &call.request.bucket;
    if store.buckets.contains_key(name) {
        let message = "Your previous request to create the named bucket succeeded and you already own it.";
        return Err(S3Error::new(409, "BucketAlreadyOwnedByYou", message).with("BucketName", name));
    }
    store.buckets.insert(name.clone(), Bucket::new(call.now));
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, "location", &format!("/{name}"));
    Ok(answer)
}

/// `HeadBucket`.
pub(crate) fn head(store: &mut Store, call: &Call<'_>) -> Answered {
    store.bucket(&call.request.bucket)?;
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, "x-amz-bucket-region", call.options.region.as_deref().unwrap_or("us-east-1"));
    Ok(answer)
}

/// `DeleteBucket`.
pub(crate) fn delete(store: &mut Store, call: &Call<'_>) -> Answered {
    let name = &call.request.bucket;
    if !store.bucket(name)?.objects.is_empty() {
        return Err(S3Error::new(409, "BucketNotEmpty", "The bucket you tried to delete is not empty"));
    }
    store.buckets.remove(name);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `GetBucketVersioning`, `GetObjectLockConfiguration`, `GetBucketLifecycleConfiguration`, `GetBucketLocation`: what a bucket answers that
/// was never configured, unless the test set a document.
pub(crate) fn document(store: &mut Store, call: &Call<'_>) -> Answered {
    let bucket = store.bucket(&call.request.bucket)?;
    let query = &call.request.query;
    if let Some(document) = bucket.documents.iter().find(|(name, _)| query.has(name)).map(|(_, text)| text) {
        return Ok(xml_document(document));
    }
    let root = |name: &str| format!("<{name} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>");
    if query.has("versioning") {
        Ok(xml_document(&root("VersioningConfiguration")))
    } else if query.has("location") {
        Ok(xml_document(&root("LocationConstraint")))
    } else if query.has("object-lock") {
        let message = "Object Lock configuration does not exist for this bucket";
        Err(S3Error::new(404, "ObjectLockConfigurationNotFoundError", message))
    } else if query.has("lifecycle") {
        Err(S3Error::new(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"))
    } else {
        Err(S3Error::not_implemented("this sub-resource of a bucket, or list v1,"))
    }
}
