//! What every backend must do, on servers of several kinds.

use std::time::Duration;

use coldkeep_chunk_store::backend::{ObjectBackend, PutCondition, PutNew, PutOutcome, RequestBound};
use coldkeep_chunk_store::testing::check_object_backend;
use coldkeep_s3_client::{Config, Quirk, Quirks};
use coldkeep_s3_testbed::{ConditionalPut, Lack, Options};

use crate::scene::*;

fn with_quirk(config: Config, quirk: Quirk) -> Config {
    let mut quirks = Quirks::default();
    quirks.insert(quirk);
    config.with_quirks(quirks)
}

#[tokio::test]
async fn conforms_with_presigned_requests() {
    check_object_backend(&Scene::new().await.backend).await;
}

#[tokio::test]
async fn conforms_without_a_name_and_without_multi_delete() {
    let lacks = vec![Lack::MultiDelete];
    let scene = Scene::with(Options { lacks, ..Options::default() }, |config| config).await;
    let config = with_quirk(config(&scene.proxy.endpoint()), Quirk::NoMultiDelete);
    check_object_backend(&backend(config, "", RequestBound::Presigned)).await;
}

#[tokio::test]
async fn conforms_with_signed_headers_on_a_server_with_a_narrow_window() {
    let options = Options { skew_max: Some(MINUTE), enforces_expiry: false, ..Options::default() };
    let scene = Scene::with(options, |config| config).await;
    let config =
        config(&scene.proxy.endpoint()).with_signature_window(Some(MINUTE)).without_presigned_expiry();
    check_object_backend(&backend(config, STORE, RequestBound::SignedHeaders)).await;
}

#[tokio::test]
async fn a_server_without_if_match_gets_a_plain_put() {
    let options = Options { lacks: vec![Lack::IfMatch], ..Options::default() };
    let scene = Scene::with(options, |config| with_quirk(config, Quirk::NoIfMatch)).await;
    scene.insert("k", "old");
    let wrong = scene.backend.tag_of(b"another").unwrap();
    let outcome = scene.backend.put(put("k", "new", PutCondition::IfMatch(wrong))).await.unwrap().value;
    assert!(matches!(outcome, PutOutcome::Stored(_)), "{outcome:?}");
    assert_eq!(scene.held("k").as_deref(), Some("new"));
    assert_eq!(scene.origin.log()[0].header("if-match"), None);
}

#[tokio::test]
async fn a_server_without_conditions_writes_new_objects_anyway() {
    let options = Options { conditional_put: ConditionalPut::Refused, ..Options::default() };
    let scene = Scene::with(options, |config| with_quirk(config, Quirk::NoIfNoneMatch)).await;
    scene.insert("k", "old");
    let outcome = scene.backend.put_new(&key("k"), "new".into()).await.unwrap().value;
    assert!(matches!(outcome, PutNew::Written(_)), "{outcome:?}");
    assert_eq!(scene.held("k").as_deref(), Some("new"));
}

#[tokio::test]
async fn tags_are_md5s_unless_the_server_has_others() {
    let scene = Scene::new().await;
    let tag = scene.backend.tag_of(b"abc").unwrap();
    // RFC 1321, appendix A.5.
    assert_eq!(tag.0, "900150983cd24fb0d6963f7d28e17f72");
    let config = config(&scene.proxy.endpoint());
    assert_eq!(backend(config, "", RequestBound::Presigned).without_md5_tags().tag_of(b"abc"), None);
}

#[tokio::test]
async fn a_clock_that_is_wrong_here_does_not_matter_to_requests_with_a_validity() {
    let scene = Scene::new().await;
    scene.insert("k", "old");
    scene.origin.clock().advance(Duration::from_hours(3));
    let date = scene.backend.head(&key("k")).await.unwrap().date;
    assert_eq!(date, start().plus(Duration::from_hours(3)));
    let validity = coldkeep_chunk_store::backend::Validity { signed_at: date, lasts: MINUTE };
    let deletion = scene.backend.delete(&[key("k")], validity).await.unwrap().value;
    assert!(deletion.refused.is_empty() && scene.held("k").is_none());
}
