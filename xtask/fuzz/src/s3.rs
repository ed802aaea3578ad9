//! Answers of S3 servers, and of whatever else answers in their place.

use std::fmt::Write as _;

use coldkeep_s3_client::ops::fuzzing;
use coldkeep_s3_client::ops::{DeleteTarget, ObjectPage};
use coldkeep_s3_client::{ErrorDocument, KEY_BYTES_MAX, ObjectKey, XmlError};

/// Longest message of an error: it goes to a log.
const MESSAGE_BYTES_MAX: usize = 512;

/// What a page holds is bounded by its bytes, every key is one of the prefix asked for, and no cut page is another page.
pub fn check_list(input: &[u8]) {
    for prefix in ["", "a", "a/b+"] {
        let page = match fuzzing::list_page(input, prefix) {
            Ok(page) => page,
            Err(error) => {
                check_message(&error);
                continue;
            }
        };
        assert!(text_bytes(&page) <= input.len(), "a page holds more text than it was sent");
        for object in &page.objects {
            let key = object.key.as_str();
            assert!((1..=KEY_BYTES_MAX).contains(&key.len()) && key.starts_with(prefix));
        }
        assert!(page.common_prefixes.iter().all(|common| common.starts_with(prefix)));
        for end in [input.len() / 2, input.len() - 1] {
            // Only what follows the document can be cut off without loss.
            assert!(
                fuzzing::list_page(&input[..end], prefix).is_ok_and(|cut| cut == page) || {
                    fuzzing::list_page(&input[..end], prefix).is_err()
                }
            );
        }
        check_keys_again(&page);
    }
}

/// The keys of a page, written with every character as a reference, are the same keys.
fn check_keys_again(page: &ObjectPage) {
    let mut body = String::from("<ListBucketResult>");
    for object in &page.objects {
        // XML has no reference to this one; a percent escape can stand for it.
        if object.key.as_str().contains('\0') {
            return;
        }
        body.push_str("<Contents><Key>");
        for char in object.key.as_str().chars() {
            write!(body, "&#x{:x};", u32::from(char)).expect("writing to memory");
        }
        write!(body, "</Key><Size>{}</Size></Contents>", object.size_bytes).expect("writing to memory");
    }
    body.push_str("</ListBucketResult>");
    let again = fuzzing::list_page(body.as_bytes(), "").expect("a written page is read");
    let keys = |page: &ObjectPage| -> Vec<_> {
        page.objects.iter().map(|object| (object.key.clone(), object.size_bytes)).collect()
    };
    assert_eq!(keys(&again), keys(page));
}

fn text_bytes(page: &ObjectPage) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_objects = page.objects.iter().map(|object| {
        object.key.as_str().len()
            + object.etag.as_ref().map_or(0, |etag| etag.as_str().len())
            + optional(&object.storage_class)
            + optional(&object.owner_id)
            + object.checksum_algorithms.iter().map(String::len).sum::<usize>()
    });
    let of_prefixes = page.common_prefixes.iter().map(String::len);
    let of_token = page.next.as_ref().map_or(0, |token| token.as_str().len());
    of_objects.sum::<usize>() + of_prefixes.sum::<usize>() + of_token
}

/// Each key has one result; quiet mode changes only what silence means.
pub fn check_delete_result(input: &[u8]) {
    let key = |key: &str| ObjectKey::new(key).expect("it is short");
    let targets: Vec<_> =
        ["a", "b", "c/d <&>", "a"].into_iter().map(|name| DeleteTarget::new(key(name))).collect();
    let targets: Vec<_> =
        targets.into_iter().chain([DeleteTarget::new(key("b")).with_version("1")]).collect();
    let [loud, quiet] = [false, true].map(|is_quiet| fuzzing::delete_report(input, &targets, is_quiet));
    match (loud, quiet) {
        (Ok(loud), Ok(quiet)) => {
            assert_eq!(loud.deleted.len() + loud.failed.len() + loud.unreported.len(), targets.len());
            assert_eq!(quiet.deleted.len() + quiet.failed.len(), targets.len());
            assert!(quiet.unreported.is_empty());
            assert_eq!(loud.failed, quiet.failed);
        }
        (Err(loud), Err(quiet)) => {
            assert_eq!(loud, quiet);
            check_message(&loud);
        }
        _ => panic!("quiet mode changed what a document is"),
    }
}

/// What is kept of an error report is bounded.
pub fn check_error(input: &[u8]) {
    match ErrorDocument::parse(input) {
        Ok(document) => {
            let ErrorDocument { code, message, request_id, region, endpoint, bucket, .. } = &document;
            for text in [code, request_id, region, endpoint, bucket].into_iter().flatten().chain([message]) {
                assert!(text.len() <= 256);
            }
            let shown = document.to_string();
            assert!(shown.len() <= MESSAGE_BYTES_MAX && !shown.contains(char::is_control));
            assert!(fuzzing::list_page(input, "").is_err());
        }
        Err(error) => check_message(&error),
    }
}

/// At most one parser takes a document, and what it makes of it is bounded.
pub fn check_small(input: &[u8]) {
    let parsed = fuzzing::small(input);
    assert!(parsed.iter().filter(|parsed| parsed.is_ok()).count() <= 1);
    for parsed in parsed {
        match parsed {
            // Names of fields, quotes and escapes come on top of the text.
            Ok(shown) => assert!(shown.len() <= 1024 + 64 * input.len()),
            Err(error) => check_message(&error),
        }
    }
}

fn check_message(error: &XmlError) {
    let message = error.to_string();
    assert!(message.len() <= MESSAGE_BYTES_MAX && !message.contains(char::is_control), "{message:?}");
}
