//! Listings over several pages.

use coldkeep_s3_client::ops::ListObjectsV2;
use coldkeep_s3_client::{AnswerFlaw, Cause};

use crate::scripted::*;

fn page_of(keys: &[&str], next: Option<&str>) -> Answer {
    let objects = keys.iter().fold(String::new(), |objects, key| {
        objects + "<Contents><Key>" + key + "</Key><Size>1</Size></Contents>"
    });
    let next = next.map_or("<IsTruncated>false</IsTruncated>".to_owned(), |token| {
        format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
    });
    answer(200).body(format!("<ListBucketResult>{next}{objects}</ListBucketResult>"))
}

#[tokio::test]
async fn pages_follow_their_tokens_to_the_end() {
    let pages = [page_of(&["a", "b"], Some("t1")), page_of(&[], Some("t2")), page_of(&["c"], None)];
    let scene = Scene::new(pages);
    let mut listing = scene.client.list(ListObjectsV2::new());
    let mut keys = Vec::new();
    while let Some(object) = listing.next_object().await.unwrap() {
        keys.push(object.key.to_string());
    }
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(listing.next_page().await.unwrap().is_none(), "the end stays the end");
    let requests = scene.script.requests();
    assert!(requests[1].uri.contains("continuation-token=t1"), "{}", requests[1].uri);
    assert!(requests[2].uri.contains("continuation-token=t2"), "{}", requests[2].uri);
}

#[tokio::test]
async fn a_page_that_failed_is_asked_for_again() {
    let scene = Scene::with(config().with_retry(retries(1)), [page_of(&["a"], Some("t1"))]);
    scene.script.then([refusal(500, "InternalError"), page_of(&["b"], None)]);
    let mut listing = scene.client.list(ListObjectsV2::new());
    assert!(listing.next_page().await.unwrap().is_some());
    assert!(listing.next_page().await.is_err());
    let page = listing.next_page().await.unwrap().unwrap();
    assert_eq!(page.value.objects[0].key.as_str(), "b");
}

#[tokio::test]
async fn a_server_that_answers_every_token_with_the_first_page_is_found_out() {
    let pages: Vec<_> = (0..3).map(|idx| page_of(&["a", "b"], Some(&format!("t{idx}")))).collect();
    let scene = Scene::new(pages);
    let mut listing = scene.client.list(ListObjectsV2::new());
    assert!(listing.next_page().await.unwrap().is_some());
    let error = listing.next_page().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Malformed(AnswerFlaw::EndlessListing)), "{error:?}");
}

#[tokio::test]
async fn a_cut_page_is_an_error_not_a_shorter_listing() {
    for broken in [
        page_of(&["a", "b"], None).cut(),
        answer(200).body("<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents>"),
        answer(200).body("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
        answer(200),
    ] {
        let scene = Scene::with(config().with_retry(retries(1)), [broken]);
        assert!(scene.client.list(ListObjectsV2::new()).next_page().await.is_err());
    }
}
