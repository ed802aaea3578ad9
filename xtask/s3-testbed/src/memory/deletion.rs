//! `DeleteObjects`.

use std::fmt::Write;

use super::answer::{Answered, S3Error, document};
use super::options::Lack;
use super::store::{Call, Store};
use super::xml::{elements, escape, text};

/// S3 API reference, `DeleteObjects`.
const KEYS_MAX: usize = 1000;

/// Deletes every key of the document but those that the test made undeletable.
pub(crate) fn delete_many(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    if call.options.lacks(Lack::MultiDelete) {
        return Err(S3Error::not_implemented("DeleteObjects"));
    }
    let has_checksum = request.headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"));
    if request.header("content-md5").is_none() && !has_checksum {
        return Err(S3Error::invalid_request("Missing required header for this request: Content-MD5"));
    }
    let xml = request.text()?;
    let objects = elements(&xml, "Object");
    if !xml.contains("<Delete") || objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(S3Error::malformed_xml());
    }
    let keys = objects.into_iter().map(|object| text(object, "Key"));
    let keys = keys.collect::<Option<Vec<String>>>().ok_or_else(S3Error::malformed_xml)?;
    let is_quiet =
        text(&xml, "Quiet").is_some_and(|quiet| quiet == "true") && !call.options.lacks(Lack::QuietDelete);
    store.bucket(&request.bucket)?;
    let mut body = String::from("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for key in keys {
        let name = escape(&key);
        if let Some(code) = store.undeletable.get(&key) {
            let _ =
                write!(body, "<Error><Key>{name}</Key><Code>{code}</Code><Message>refused</Message></Error>");
            continue;
        }
        store.bucket(&request.bucket)?.objects.remove(&key);
        if !is_quiet {
            let _ = write!(body, "<Deleted><Key>{name}</Key></Deleted>");
        }
    }
    body.push_str("</DeleteResult>");
    Ok(document(&body))
}
