//! Listings and multi-deletes.

use std::fmt::Write;

use coldkeep_s3_testbed::{Lack, MemoryS3, Options};

use crate::client::{Answer, Client, origin, origin_with, signed};

async fn list(origin: &MemoryS3, query: &str) -> Answer {
    Client::once(origin.address(), &signed("GET", &format!("/b?list-type=2&{query}"), &[], b"")).await
}

fn texts(answer: &Answer, element: &str) -> Vec<String> {
    let (text, open) = (answer.text(), format!("<{element}>"));
    text.split(&open).skip(1).map(|piece| piece.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let origin = origin().await;
    for key in ["a", "b/1", "b/2", "b/3", "c", "d/1"] {
        origin.insert("b", key, "x");
    }
    let mut keys = Vec::new();
    let mut token = String::new();
    let mut pages = 0;
    loop {
        let page = list(&origin, &format!("max-keys=2{token}")).await;
        keys.extend(texts(&page, "Key"));
        pages += 1;
        let Some(next) = texts(&page, "NextContinuationToken").pop() else { break };
        token = format!("&continuation-token={next}");
    }
    assert_eq!((keys, pages), (origin.keys("b"), 3));
    assert_eq!(texts(&list(&origin, "start-after=b/2").await, "Key"), ["b/3", "c", "d/1"]);
    assert_eq!(texts(&list(&origin, "prefix=b/&start-after=a").await, "Key"), ["b/1", "b/2", "b/3"]);
    assert!(list(&origin, "continuation-token=zz").await.has("<Code>InvalidArgument</Code>"));
}

#[tokio::test]
async fn a_delimiter_groups_keys() {
    let origin = origin().await;
    for key in ["a", "b/1", "b/2", "c/1", "d"] {
        origin.insert("b", key, "x");
    }
    let page = list(&origin, "delimiter=/&max-keys=2").await;
    assert_eq!(texts(&page, "Key"), ["a"]);
    assert!(
        page.has("<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes><")
            && page.has("<KeyCount>2</KeyCount>")
    );
    let token = texts(&page, "NextContinuationToken").pop().unwrap();
    let page = list(&origin, &format!("delimiter=/&continuation-token={token}")).await;
    assert_eq!(texts(&page, "Key"), ["d"]);
    assert!(page.has("<Prefix>c/</Prefix>") && !page.has("<Prefix>b/</Prefix>"));
}

#[tokio::test]
async fn keys_are_encoded_if_asked_for() {
    let origin = origin().await;
    origin.insert("b", "a b+&\u{1}", "x");
    assert_eq!(texts(&list(&origin, "encoding-type=url").await, "Key"), ["a%20b%2B%26%01"]);
    assert_eq!(texts(&list(&origin, "").await, "Key"), ["a b+&amp;&#x1;"]);
    let other = origin_with(Options { lacks: vec![Lack::EncodingType], ..Options::default() }).await;
    other.insert("b", "a b", "x");
    let page = list(&other, "encoding-type=url").await;
    assert!(texts(&page, "Key") == ["a b"] && !page.has("EncodingType"));
}

fn delete(keys: &[&str], extra: &str) -> Vec<u8> {
    let mut body = String::from("<Delete>");
    for key in keys {
        let _ = write!(body, "<Object><Key>{key}</Key></Object>");
    }
    let _ = write!(body, "{extra}</Delete>");
    // Any checksum header satisfies the rule; the real one of the body satisfies the check.
    let sum = <sha2::Sha256 as sha2::Digest>::digest(&body);
    let sum = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, sum);
    signed("POST", "/b?delete", &[("x-amz-checksum-sha256", &sum)], body.as_bytes())
}

#[tokio::test]
async fn a_multi_delete_tells_what_it_could_not_delete() {
    let origin = origin().await;
    for key in ["a&b", "c", "d"] {
        origin.insert("b", key, "x");
    }
    origin.refuse_delete("c", "AccessDenied");
    let answer = Client::once(origin.address(), &delete(&["a&amp;b", "c"], "")).await;
    assert!(answer.has("<Deleted><Key>a&amp;b</Key></Deleted><Error><Key>c</Key><Code>AccessDenied</Code>"));
    assert_eq!(origin.keys("b"), ["c", "d"]);
    let quiet = Client::once(origin.address(), &delete(&["c", "d"], "<Quiet>true</Quiet>")).await;
    assert!(!quiet.has("<Deleted>") && quiet.has("<Key>c</Key>"));
    assert_eq!(origin.keys("b"), ["c"]);
}

#[tokio::test]
async fn a_multi_delete_has_limits() {
    let origin = origin().await;
    let many = vec!["k"; 1001];
    assert!(Client::once(origin.address(), &delete(&many, "")).await.has("<Code>MalformedXML</Code>"));
    assert_eq!(Client::once(origin.address(), &delete(&many[1..], "")).await.status, 200);
    let unsummed = signed("POST", "/b?delete", &[], b"<Delete><Object><Key>k</Key></Object></Delete>");
    assert!(Client::once(origin.address(), &unsummed).await.has("Content-MD5"));
    let other = origin_with(Options { lacks: vec![Lack::MultiDelete], ..Options::default() }).await;
    assert_eq!(Client::once(other.address(), &delete(&["k"], "")).await.status, 501);
}
