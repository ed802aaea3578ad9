use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::sign::encode;

fn page(content: &str) -> Result<ObjectPage, XmlError> {
    parse(format!("<ListBucketResult>{content}</ListBucketResult>").as_bytes(), "")
}

fn object(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
}

fn keys(page: &ObjectPage) -> Vec<&str> {
    page.objects.iter().map(|object| object.key.as_str()).collect()
}

fn wire(list: &ListObjectsV2, quirks: &Quirks) -> String {
    list.request(quirks).unwrap().query.to_wire()
}

#[test]
fn a_page_is_asked_for() {
    let none = Quirks::default();
    assert_eq!(wire(&ListObjectsV2::new(), &none), "list-type=2&encoding-type=url");
    let list = ListObjectsV2::new()
        .with_prefix("a b/")
        .with_delimiter("/")
        .with_start_after("a b/c")
        .with_keys_max(7);
    let expected = "list-type=2&prefix=a%20b%2F&delimiter=%2F&start-after=a%20b%2Fc&max-keys=7";
    assert_eq!(wire(&list, &Quirks::from([Quirk::NoListEncoding])), expected);
    let next = list.with_token(ContinuationToken("t=".into())).with_owner();
    let expected = "list-type=2&prefix=a%20b%2F&delimiter=%2F&continuation-token=t%3D&max-keys=7&fetch-owner=true&encoding-type=url";
    assert_eq!(wire(&next, &none), expected);
    for keys_max in [0, 1001] {
        let error = ListObjectsV2::new().with_keys_max(keys_max).request(&none).unwrap_err();
        assert!(matches!(error, InvalidRequest::OutOfRange { value, .. } if value == u64::from(keys_max)));
    }
}

// S3 API reference, ListObjectsV2, with every field that is read.
#[test]
fn a_page_of_the_reference_is_read() {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  \
                <Name>quotes</Name>\n  <Prefix>E</Prefix>\n  <StartAfter>ExampleGuide.pdf</StartAfter>\n  <KeyCount>1</KeyCount>\n  \
                <MaxKeys>3</MaxKeys>\n  <IsTruncated>true</IsTruncated>\n  <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/=\
                </NextContinuationToken>\n  <Contents>\n    <Key>ExampleObject.txt</Key>\n    <LastModified>2023-11-14T22:13:20.000Z\
                </LastModified>\n    <ETag>&quot;599bab3ed2c697f1d26842727561fd94&quot;</ETag>\n    \
                <ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>\n    <ChecksumType>FULL_OBJECT</ChecksumType>\n    <Size>857</Size>\n    \
                <StorageClass>REDUCED_REDUNDANCY</StorageClass>\n    <Owner><ID>8a69</ID><DisplayName>d</DisplayName></Owner>\n  \
                </Contents>\n  <CommonPrefixes><Prefix>Ex/</Prefix></CommonPrefixes>\n</ListBucketResult>";
    let object = ListedObject {
        key: ObjectKey::new("ExampleObject.txt").unwrap(),
        size_bytes: 857,
        last_modified: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        etag: Some(ETag::new("599bab3ed2c697f1d26842727561fd94")),
        storage_class: Some("REDUCED_REDUNDANCY".into()),
        owner_id: Some("8a69".into()),
        checksum_algorithms: vec!["CRC32C".into()],
    };
    let next = Some(ContinuationToken("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/=".into()));
    let expected = ObjectPage { objects: vec![object], common_prefixes: vec!["Ex/".into()], next };
    assert_eq!(parse(body.as_bytes(), "E"), Ok(expected));
}

#[test]
fn point_09_names_are_decoded_only_if_the_answer_says_so() {
    let plain = page(&object("a%2Fb+c&amp;")).unwrap();
    assert_eq!(keys(&plain), ["a%2Fb+c&"]);
    let encoded = page(&format!("<EncodingType>url</EncodingType>{}", object("a%2Fb%2B+%26%01"))).unwrap();
    assert_eq!(keys(&encoded), ["a/b+ &\u{1}"]);
    // Said at the end, it holds for what came before.
    let late = page(&format!("{}<EncodingType>url</EncodingType>", object("a+b"))).unwrap();
    assert_eq!(keys(&late), ["a b"]);
    let empty = page(&format!("<EncodingType/>{}", object("a+b"))).unwrap();
    assert_eq!(keys(&empty), ["a+b"]);
    assert!(matches!(page("<EncodingType>base64</EncodingType>"), Err(XmlError::Invalid { .. })));
}

#[test]
fn point_09_a_key_that_is_not_encoded_as_announced_is_an_error() {
    for key in ["100%", "%zz", "%ff"] {
        let error = page(&format!("<EncodingType>url</EncodingType>{}", object(key))).unwrap_err();
        assert_eq!(error, XmlError::invalid("ListBucketResult/Contents/Key", "a URL-encoded key", key));
    }
}

#[test]
fn point_09_the_prefix_may_be_raw_or_encoded() {
    let read = |common: &str| {
        let body = format!(
            "<ListBucketResult><Prefix>{common}</Prefix><EncodingType>url</EncodingType><CommonPrefixes><Prefix>{common}</Prefix>\
             </CommonPrefixes></ListBucketResult>"
        );
        parse(body.as_bytes(), "a+b/").map(|page| page.common_prefixes)
    };
    assert_eq!(read("a%2Bb/c%20d/"), Ok(vec!["a+b/c d/".to_owned()]));
    assert_eq!(read("a+b/c d/"), Ok(vec!["a+b/c d/".to_owned()]));
    assert!(matches!(read("elsewhere/"), Err(XmlError::Invalid { .. })));
}

#[test]
fn point_09_a_truncated_page_without_a_token_is_an_error() {
    let path = || "ListBucketResult".to_owned();
    for token in [
        "",
        "<NextContinuationToken/>",
        "<NextMarker>k</NextMarker>",
        "<ContinuationToken>t</ContinuationToken>",
    ] {
        let error = page(&format!("<IsTruncated>true</IsTruncated>{token}")).unwrap_err();
        assert_eq!(error, XmlError::Missing { path: path(), element: "NextContinuationToken" }, "{token}");
    }
}

#[test]
fn point_09_a_page_says_where_it_goes_on() {
    let token = "<NextContinuationToken>t</NextContinuationToken>";
    let next = |content: &str| page(content).unwrap().next.map(|token| token.as_str().to_owned());
    assert_eq!(next(&format!("<IsTruncated>TRUE</IsTruncated>{token}")), Some("t".into()));
    assert_eq!(next(token), Some("t".into()));
    assert_eq!(next(""), None);
    assert_eq!(next(&format!("<IsTruncated>false</IsTruncated>{token}")), None);
    assert!(matches!(page("<IsTruncated>maybe</IsTruncated>"), Err(XmlError::Invalid { .. })));
}

#[test]
fn point_09_pages_above_1000_keys_are_read() {
    let content: String = (0..2500).map(|idx| object(&format!("k{idx:04}"))).collect();
    let page = page(&content).unwrap();
    assert_eq!((page.objects.len(), page.objects[2499].key.as_str()), (2500, "k2499"));
}

#[test]
fn point_09_control_characters_survive_as_references_and_raw() {
    assert_eq!(keys(&page(&object("a&#x1;&#13;&#10;b")).unwrap()), ["a\u{1}\r\nb"]);
    assert_eq!(keys(&page(&object("a\u{1}\r\nb ")).unwrap()), ["a\u{1}\r\nb "]);
}

#[test]
fn point_10_dates_have_any_number_of_fraction_digits() {
    let modified = |date: &str| {
        let content =
            format!("<Contents><Key>k</Key><LastModified>{date}</LastModified><Size>1</Size></Contents>");
        page(&content).map(|page| page.objects[0].last_modified)
    };
    let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (date, nanos) in [
        ("2023-11-14T22:13:20Z", 0),
        ("2023-11-14T22:13:20.000Z", 0),
        ("2023-11-14T22:13:20.5Z", 500_000_000),
        ("2023-11-14T22:13:20.123456789Z", 123_456_789),
        (" 2023-11-14T23:13:20.12+01:00 ", 120_000_000),
    ] {
        assert_eq!(modified(date), Ok(Some(second + Duration::from_nanos(nanos))), "{date}");
    }
    for none in ["", "0001-01-01T00:00:00Z"] {
        assert_eq!(modified(none), Ok(None), "{none}");
    }
    assert!(matches!(modified("yesterday"), Err(XmlError::Invalid { .. })));
}

#[test]
fn optional_fields_may_be_missing_and_the_others_not() {
    let object = &page("<Contents><Key>k</Key><Size>0</Size><ETag/><StorageClass/><Owner/></Contents>")
        .unwrap()
        .objects[0];
    assert_eq!(
        (&object.last_modified, &object.etag, &object.storage_class, &object.owner_id),
        (&None, &None, &None, &None)
    );
    let path = || "ListBucketResult/Contents".to_owned();
    let missing = |element| Err(XmlError::Missing { path: path(), element });
    assert_eq!(page("<Contents><Key>k</Key></Contents>"), missing("Size"));
    assert_eq!(page("<Contents><Size>1</Size></Contents>"), missing("Key"));
    let twice = page("<Contents><Key>k</Key><Key>l</Key><Size>1</Size></Contents>");
    assert_eq!(twice, Err(XmlError::Repeated { path: "ListBucketResult/Contents/Key".into() }));
}

#[test]
fn tags_are_read_with_and_without_quotes() {
    for tag in ["&quot;abc-2&quot;", "\"abc-2\"", "abc-2"] {
        let content = format!("<Contents><Key>k</Key><Size>1</Size><ETag>{tag}</ETag></Contents>");
        assert_eq!(page(&content).unwrap().objects[0].etag, Some(ETag::new("abc-2")), "{tag}");
    }
}

#[test]
fn keys_outside_of_the_prefix_or_that_are_none_are_errors() {
    let below = |key: &str| {
        parse(format!("<ListBucketResult>{}</ListBucketResult>", object(key)).as_bytes(), "vm/10/")
    };
    assert_eq!(below("vm/10/a").map(|page| page.objects.len()), Ok(1));
    for key in ["vm/1/a", "vm/100/a", "VM/10/a", ""] {
        assert!(matches!(below(key), Err(XmlError::Invalid { .. })), "{key}");
    }
    assert!(matches!(page(&object("")), Err(XmlError::Invalid { .. })));
    assert!(matches!(page(&object(&"k".repeat(1025))), Err(XmlError::Invalid { .. })));
}

#[test]
fn an_empty_bucket_has_an_empty_page() {
    assert_eq!(page(""), Ok(ObjectPage::default()));
    assert_eq!(parse(b"<ListBucketResult/>", "p"), Ok(ObjectPage::default()));
    assert_eq!(parse(b"", ""), Err(XmlError::Empty));
}

fn any_object() -> impl Strategy<Value = ListedObject> {
    let key = "\\PC{1,20}|[a-z/+% &<>\"'\u{1}\r\n\t]{1,20}".prop_map(|key| ObjectKey::new(key).unwrap());
    let word = || proptest::option::of("[A-Z_]{1,10}");
    let since = proptest::option::of((0..253_402_300_000_u64, 0..1_000_000_000_u32));
    let facts =
        (key, any::<u64>(), since, word(), word(), word(), proptest::collection::vec("[A-Z0-9]{1,8}", 0..3));
    facts.prop_map(|(key, size_bytes, since, etag, storage_class, owner_id, checksum_algorithms)| {
        ListedObject {
            key,
            size_bytes,
            last_modified: since.map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos)),
            etag: etag.map(|etag| ETag::new(&etag)),
            storage_class,
            owner_id,
            checksum_algorithms,
        }
    })
}

fn any_page() -> impl Strategy<Value = ObjectPage> {
    let token = proptest::option::of("[ -~]{1,20}").prop_map(|token| token.map(ContinuationToken));
    let objects = proptest::collection::vec(any_object(), 0..8);
    let prefixes = proptest::collection::vec("[a-z/+% &<]{1,9}", 0..4);
    (objects, prefixes, token).prop_map(|(objects, common_prefixes, next)| ObjectPage {
        objects,
        common_prefixes,
        next,
    })
}

/// Writes a page as a server does that escapes what XML demands, and control characters the way S3 does.
fn render(page: &ObjectPage, is_encoded: bool) -> String {
    let escape = |text: &str| -> String {
        let char = |char: char| match char {
            '<' | '>' | '&' | '\r' | '\n' | '\0'..='\u{1f}' => format!("&#x{:X};", u32::from(char)),
            char => char.to_string(),
        };
        text.chars().map(char).collect()
    };
    let name = |name: &str| {
        let mut encoded = String::new();
        encode::append_path(&mut encoded, name);
        if is_encoded { encoded.replace("%20", "+") } else { escape(name) }
    };
    let optional = |name: &str, value: Option<&str>| {
        value.map(|value| format!("<{name}>{}</{name}>", escape(value))).unwrap_or_default()
    };
    let mut parts =
        vec![String::from("<?xml version=\"1.0\"?>\n<s3:ListBucketResult xmlns:s3=\"urn:s3\">\n")];
    for object in &page.objects {
        let etag = object.etag.as_ref().map(|etag| format!("\"{etag}\""));
        let owner = |id| format!("<Owner><DisplayName>x</DisplayName><ID>{id}</ID></Owner>");
        parts.push(format!(
            "<Contents><Key>{}</Key><Size>{}</Size>",
            name(object.key.as_str()),
            object.size_bytes
        ));
        parts.push(optional("LastModified", object.last_modified.map(iso8601).as_deref()));
        parts.push(optional("ETag", etag.as_deref()));
        parts.push(optional("StorageClass", object.storage_class.as_deref()));
        parts.extend(object.owner_id.as_ref().map(owner));
        parts.extend(object.checksum_algorithms.iter().map(|name| optional("ChecksumAlgorithm", Some(name))));
        parts.push("</Contents>\n".to_owned());
    }
    for prefix in &page.common_prefixes {
        parts.push(format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", name(prefix)));
    }
    parts.extend(is_encoded.then(|| "<EncodingType>url</EncodingType>".to_owned()));
    parts.push(format!("<IsTruncated>{}</IsTruncated>", page.next.is_some()));
    parts.push(optional("NextContinuationToken", page.next.as_ref().map(ContinuationToken::as_str)));
    parts.push("</s3:ListBucketResult>".to_owned());
    parts.concat()
}

fn iso8601(at: SystemTime) -> String {
    let nanos = at.duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let date = crate::sign::date::AmzDate::new(at).unwrap();
    let (day, time) = date.as_str().split_once('T').unwrap();
    let (month_day, time) = (&day[4..], time.trim_end_matches('Z'));
    let date = format!("{}-{}-{}", &day[..4], &month_day[..2], &month_day[2..]);
    format!("{date}T{}:{}:{}.{nanos:09}Z", &time[..2], &time[2..4], &time[4..])
}

proptest! {
    #[test]
    fn any_page_is_read_as_it_was_written(page in any_page(), is_encoded: bool) {
        prop_assert_eq!(parse(render(&page, is_encoded).as_bytes(), ""), Ok(page));
    }

    #[test]
    fn no_cut_of_a_page_is_a_shorter_page(page in any_page(), is_encoded: bool, at: prop::sample::Index) {
        let body = render(&page, is_encoded);
        prop_assert!(parse(&body.as_bytes()[..at.index(body.len())], "").is_err());
    }

    #[test]
    fn no_page_panics(text in "(<|</|/>|>|Contents|Key|Size|IsTruncated|ListBucketResult|&|;|#x|[0-9a-f]|\\PC){0,60}") {
        let _ = page(&text);
        let _ = parse(text.as_bytes(), "");
    }
}
