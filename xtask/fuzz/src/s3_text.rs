//! What an S3 client is told in text: headers of answers, settings, profiles, and the stored report of a probe.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use coldkeep_s3_client::credentials::Profile;
use coldkeep_s3_client::ops::fuzzing;
use coldkeep_s3_client::sign::{date, encode};
use coldkeep_s3_client::{
    AnswerFlaw, BucketName, Config, Credentials, Endpoint, ErrorCode, Fingerprint, ProbeReport, Proxy, Quirk,
    Region,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest message of an error: it goes to a log.
const MESSAGE_BYTES_MAX: usize = 512;

/// The input is a proxy's answer, or lines of `name: value`. Facts of headers fit together and hold no more text than was sent.
pub fn check_headers(input: &[u8]) {
    assert!(fuzzing::tunnel_status(input).is_none_or(|status| status <= 999));
    let lines = input.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    assert!(fuzzing::retry_after(&headers, now).is_none_or(|pause| pause <= Duration::from_hours(1)));
    match fuzzing::content_range(&headers) {
        Ok(Some(range)) => {
            assert!(range.first <= range.last && range.size.is_none_or(|size| range.last < size));
            assert!(range.len() >= 1);
        }
        Ok(None) => {}
        Err(flaw) => check_flaw(&flaw),
    }
    match fuzzing::object_meta(&headers) {
        Ok(meta) => {
            assert!(meta.etag.is_some() || meta.last_modified.is_some());
            let texts: usize = meta.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(texts <= input.len());
        }
        Err(flaw) => check_flaw(&flaw),
    }
}

fn check_flaw(flaw: &AnswerFlaw) {
    let message = flaw.to_string();
    assert!(message.len() <= MESSAGE_BYTES_MAX && !message.contains(char::is_control), "{message:?}");
}

/// Settings are printed as they were read, dates and escapes survive the round trip, and no error is longer than a line.
pub fn check_settings(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let endpoint = round_trip::<Endpoint>(text);
    round_trip::<Region>(text);
    round_trip::<Quirk>(text);
    round_trip::<Fingerprint>(text);
    if let Some(endpoint) = endpoint {
        let credentials = Credentials::new("AKID", "secret").expect("both are well-formed");
        let (region, bucket) = ("us-east-1".parse::<Region>(), "backups".parse::<BucketName>());
        // Some endpoints do not go with some buckets; that is an error, too.
        let _ = Config::new(endpoint, region.expect("a name"), bucket.expect("a name"), credentials);
    }
    round_trip::<BucketName>(text);
    if let Ok(proxy) = text.parse::<Proxy>() {
        // The password is not shown.
        assert!(!proxy.to_string().contains('@'));
    }
    ErrorCode::parse(text);
    if let Ok(profile) = Profile::find(text, "default") {
        // Each may be missing or malformed; neither matters to the other.
        let (_, _) = (profile.credentials().is_ok(), profile.region().is_ok());
    }
    if let Some(at) = date::parse_http_date(text) {
        let written = date::format_http_date(at).expect("a date that was read can be written");
        assert_eq!(date::parse_http_date(&written), Some(at));
    }
    date::parse_iso8601(text);
    if let Ok(decoded) = encode::decode(text) {
        let mut encoded = String::new();
        encode::append_component(&mut encoded, &decoded);
        assert_eq!(encode::decode(&encoded), Ok(decoded.clone()));
        assert_eq!(encode::decode_plus(&encoded), Ok(decoded));
    }
}

/// A stored report is written as it was read, and says what follows from it, whatever stands there.
pub fn check_probe(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(report) = ProbeReport::from_json(text) else { return };
    report.to_string();
    report.quirks();
    report.signature_window();
    report.warnings();
    let written = report.to_json().expect("a report has a JSON form");
    assert_eq!(ProbeReport::from_json(&written).expect("what was written is read"), report);
}

fn round_trip<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>();
            assert_eq!(again.ok().as_ref(), Some(&value), "a printed setting parses");
            Some(value)
        }
        Err(error) => {
            assert!(error.to_string().len() <= 2 * MESSAGE_BYTES_MAX + 4 * text.len());
            None
        }
    }
}
