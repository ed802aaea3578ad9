//! Multipart uploads.

use coldkeep_s3_testbed::MemoryS3;

use crate::client::{Answer, Client, origin, signed};

async fn send(origin: &MemoryS3, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    Client::once(origin.address(), &signed(method, target, headers, body.as_bytes())).await
}

async fn create(origin: &MemoryS3, headers: &[(&str, &str)]) -> String {
    let answer = send(origin, "POST", "/b/k?uploads", headers, "").await;
    let text = answer.text();
    let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next());
    id.unwrap().to_owned()
}

async fn part(origin: &MemoryS3, id: &str, number: u32, body: &str) -> String {
    let target = format!("/b/k?partNumber={number}&uploadId={id}");
    let answer = send(origin, "PUT", &target, &[], body).await;
    answer.header("etag").unwrap().to_owned()
}

fn document(parts: &[(u32, &str)]) -> String {
    let parts = parts.iter().map(|(number, etag)| {
        let etag = etag.replace('"', "&quot;");
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    });
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<Vec<_>>().concat())
}

#[tokio::test]
async fn parts_become_an_object() {
    let origin = origin().await;
    let id = create(&origin, &[("content-type", "text/plain")]).await;
    let two = part(&origin, &id, 2, "world").await;
    let one = part(&origin, &id, 1, "hello ").await;
    let complete = format!("/b/k?uploadId={id}");
    let unordered = send(&origin, "POST", &complete, &[], &document(&[(2, &two), (1, &one)])).await;
    assert!(unordered.has("<Code>InvalidPartOrder</Code>"));
    let unknown = send(&origin, "POST", &complete, &[], &document(&[(1, &two)])).await;
    assert!(unknown.has("<Code>InvalidPart</Code>"));
    assert!(origin.keys("b").is_empty());

    let done = send(&origin, "POST", &complete, &[], &document(&[(1, &one), (2, &two)])).await;
    assert!(done.status == 200 && done.has("-2&quot;</ETag>"));
    let object = origin.object("b", "k").unwrap();
    assert_eq!(
        (object.content(), object.header("content-type")),
        (b"hello world".to_vec(), Some("text/plain"))
    );
    assert_eq!(origin.open_uploads("b"), 0);
    let again = send(&origin, "POST", &complete, &[], &document(&[(1, &one)])).await;
    assert!(again.status == 404 && again.has("<Code>NoSuchUpload</Code>"));
}

#[tokio::test]
async fn completing_can_be_conditional() {
    let origin = origin().await;
    let id = create(&origin, &[]).await;
    let etag = part(&origin, &id, 1, "new").await;
    origin.insert("b", "k", "old");
    let complete = format!("/b/k?uploadId={id}");
    let refused = send(&origin, "POST", &complete, &[("if-none-match", "*")], &document(&[(1, &etag)])).await;
    assert_eq!(refused.status, 412);
    assert_eq!(send(&origin, "DELETE", &complete, &[], "").await.status, 204);
    assert_eq!(origin.open_uploads("b"), 0);
    assert_eq!(origin.object("b", "k").unwrap().content(), b"old");
}

#[tokio::test]
async fn a_multipart_object_has_a_checksum_of_checksums_or_of_the_whole() {
    let origin = origin().await;
    // CRC-32C of "123456789" (CRC catalogue), as bytes e3069283.
    for (kind, expected) in [("FULL_OBJECT", Some("4waSgw==")), ("COMPOSITE", None)] {
        let headers = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", kind)];
        let id = create(&origin, &headers).await;
        let one = part(&origin, &id, 1, "1234").await;
        let two = part(&origin, &id, 2, "56789").await;
        let complete = format!("/b/k?uploadId={id}");
        let done = send(&origin, "POST", &complete, &[], &document(&[(1, &one), (2, &two)])).await;
        match expected {
            Some(sum) => assert!(done.has(&format!("<ChecksumCRC32C>{sum}</ChecksumCRC32C>"))),
            None => assert!(done.has("-2</ChecksumCRC32C>")),
        }
    }
}
