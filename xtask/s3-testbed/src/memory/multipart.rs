//! Multipart uploads. No part is too small: tests need not move megabytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::{Answered, S3Error, document, empty, set};
use super::hashes::{self, base64, hex, md5};
use super::object::Object;
use super::objects::{check_write, quoted, stored_headers, unquoted};
use super::store::{Bucket, Call, Store};
use super::xml::{elements, escape, text};

/// S3 user guide, "multipart upload limits".
const PART_NUMBER_MAX: u32 = 10_000;

/// An upload that was created and neither completed nor aborted.
pub(crate) struct Upload {
    key: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    parts: BTreeMap<u32, Part>,
    /// In lower case, as in the names of headers.
    algorithm: Option<String>,
    is_full_object: bool,
}

struct Part {
    pages: Vec<Bytes>,
    etag: String,
}

/// `CreateMultipartUpload`.
pub(crate) fn create(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    let id = format!("upload-{}", store.next_number());
    let upload = Upload {
        key: request.key.clone(),
        headers: stored_headers(request),
        parts: BTreeMap::new(),
        algorithm: request.header("x-amz-checksum-algorithm").map(str::to_lowercase),
        is_full_object: request.header("x-amz-checksum-type") == Some("FULL_OBJECT"),
    };
    store.bucket(&request.bucket)?.uploads.insert(id.clone(), upload);
    Ok(document(&format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
         </InitiateMultipartUploadResult>",
        escape(&request.bucket),
        escape(&request.key)
    )))
}

/// `UploadPart`.
pub(crate) fn upload_part(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    let number = request.query.value("partNumber").and_then(|number| number.parse().ok());
    let number = number.filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    let number =
        number.ok_or_else(|| S3Error::new(400, "InvalidArgument", "Part number must be 1 to 10000"))?;
    let etag = if call.options.fast { format!("{:032x}", store.next_number()) } else { hex(&call.sums.md5) };
    let upload = find(store.bucket(&request.bucket)?, call)?;
    upload.parts.insert(number, Part { pages: request.pages.clone(), etag: etag.clone() });
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, "etag", &quoted(&etag));
    for (name, value) in &call.sums.checksums {
        set(&mut answer, name, value);
    }
    Ok(answer)
}

/// `CompleteMultipartUpload`.
pub(crate) fn complete(store: &mut Store, call: &Call<'_>) -> Answered {
    let request = call.request;
    let xml = request.text()?;
    let bucket = store.bucket(&request.bucket)?;
    let upload = find(bucket, call)?;
    let chosen = chosen_parts(upload, &xml)?;
    let mut object = assemble(upload, &chosen, call);
    if let Some(algorithm) = upload.algorithm.clone() {
        let name = format!("x-amz-checksum-{algorithm}");
        let sum = combined(&algorithm, upload.is_full_object, &chosen);
        if request.header(&name).is_some_and(|stated| Some(stated) != sum.as_deref()) {
            return Err(S3Error::new(
                400,
                "BadDigest",
                "The checksum of the object is not the one you specified.",
            ));
        }
        object.checksums = sum.map(|sum| (name, sum)).into_iter().collect();
    }
    check_write(bucket, call)?;
    let mut body = format!(
        "<CompleteMultipartUploadResult><Location>/{0}/{1}</Location><Bucket>{0}</Bucket><Key>{1}</Key>\
         <ETag>&quot;{2}&quot;</ETag>",
        escape(&request.bucket),
        escape(&request.key),
        object.etag
    );
    for (name, value) in &object.checksums {
        let element = name.trim_start_matches("x-amz-checksum-").to_uppercase();
        let _ = write!(body, "<Checksum{element}>{value}</Checksum{element}>");
    }
    body.push_str("</CompleteMultipartUploadResult>");
    bucket.objects.insert(request.key.clone(), Arc::new(object));
    bucket.uploads.remove(request.query.value("uploadId").unwrap_or_default());
    Ok(document(&body))
}

/// `AbortMultipartUpload`.
pub(crate) fn abort(store: &mut Store, call: &Call<'_>) -> Answered {
    let bucket = store.bucket(&call.request.bucket)?;
    find(bucket, call)?;
    bucket.uploads.remove(call.request.query.value("uploadId").unwrap_or_default());
    Ok(empty(StatusCode::NO_CONTENT))
}

fn find<'a>(bucket: &'a mut Bucket, call: &Call<'_>) -> Result<&'a mut Upload, S3Error> {
    let id = call.request.query.value("uploadId").unwrap_or_default();
    let upload = bucket.uploads.get_mut(id).filter(|upload| upload.key == call.request.key);
    let message = "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart \
                   upload might have been aborted or completed.";
    upload.ok_or_else(|| S3Error::new(404, "NoSuchUpload", message).with("UploadId", id))
}

/// The parts that the client named, checked against what was uploaded.
fn chosen_parts<'a>(upload: &'a Upload, xml: &str) -> Result<Vec<&'a Part>, S3Error> {
    let mut chosen = Vec::new();
    let mut last = 0;
    for element in elements(xml, "Part") {
        let number: u32 = text(element, "PartNumber")
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(S3Error::malformed_xml)?;
        let etag = text(element, "ETag").ok_or_else(S3Error::malformed_xml)?;
        if number <= last {
            return Err(S3Error::new(
                400,
                "InvalidPartOrder",
                "The list of parts was not in ascending order.",
            ));
        }
        last = number;
        let part = upload.parts.get(&number).filter(|part| part.etag == unquoted(&etag));
        let message = "One or more of the specified parts could not be found.";
        chosen.push(part.ok_or_else(|| {
            S3Error::new(400, "InvalidPart", message).with("PartNumber", number.to_string())
        })?);
    }
    if chosen.is_empty() { Err(S3Error::malformed_xml()) } else { Ok(chosen) }
}

fn assemble(upload: &Upload, parts: &[&Part], call: &Call<'_>) -> Object {
    let pages: Vec<Bytes> = parts.iter().flat_map(|part| part.pages.iter().cloned()).collect();
    let etag = if call.options.fast {
        parts.first().map(|part| part.etag.clone()).unwrap_or_default()
    } else {
        let sums: Vec<Bytes> = parts.iter().map(|part| md5(&part.pages).into()).collect();
        hex(&md5(&sums))
    };
    Object {
        size: pages.iter().map(|page| page.len() as u64).sum(),
        pages,
        etag: format!("{etag}-{}", parts.len()),
        modified_at: call.now,
        headers: upload.headers.clone(),
        checksums: Vec::new(),
    }
}

/// The checksum of a multipart object: of its content, or of the checksums of its parts (S3 user guide, "checksum types").
fn combined(algorithm: &str, is_full_object: bool, parts: &[&Part]) -> Option<String> {
    if is_full_object {
        let pages: Vec<Bytes> = parts.iter().flat_map(|part| part.pages.iter().cloned()).collect();
        return hashes::checksum(algorithm, &pages).map(|sum| base64(&sum));
    }
    let sums = parts.iter().map(|part| hashes::checksum(algorithm, &part.pages).map(Bytes::from));
    let sum = hashes::checksum(algorithm, &sums.collect::<Option<Vec<Bytes>>>()?)?;
    Some(format!("{}-{}", base64(&sum), parts.len()))
}
