//! What is checked before a store is made, and what each refusal says.

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_s3_client::Credentials;
use coldkeep_s3_testbed::{Lack, Options, RequestHead};
use coldkeep_server::state::NewBucket;

use super::scene::{BUCKET, Scene, end, tank};

fn checked(new: &mut NewBucket) {
    new.is_checked = true;
}

fn is_list(head: &RequestHead) -> bool {
    head.query().contains("list-type=2")
}

fn is_of_check(head: &RequestHead, method: &str) -> bool {
    head.method == method && head.path().contains(".coldkeep-check")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_bucket_is_taken_and_what_was_found_is_kept() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    let created = scene.create(&server, checked).await.unwrap();
    let probe = created.probe().unwrap();
    assert!(probe.is_complete, "{probe}");
    let bucket = created.config.bucket().unwrap();
    assert!(bucket.swaps_atomically() && bucket.caveats().is_empty(), "{:?}", bucket.caveats());
    let keys = scene.origin.keys(BUCKET);
    assert_eq!(keys, ["tank/.generation", "tank/.in-use"], "the check left something behind");
    end(server).await;
    assert_eq!(scene.origin.keys(BUCKET), ["tank/.generation"], "the bucket was not given free");

    let server = scene.open("a").await;
    let configs = server.server().datastore_configs();
    assert!(configs.contains(&created.config), "{configs:?}");
    server.server().ready_datastore(&tank()).await.unwrap();
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_named() {
    let scene = Scene::new().await;
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch"] {
        scene.proxy.clear();
        scene.refuse(|_| true, 403, code);
        let text = scene.refusal(checked).await;
        assert!(text.contains("cannot list bucket backups") && text.contains("keys"), "{code}: {text}");
    }
    scene.proxy.clear();
    scene.refuse(|_| true, 400, "ExpiredToken");
    let text = scene.refusal(checked).await;
    assert!(text.contains("the session token has expired"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_a_wrong_region_are_named() {
    let scene = Scene::with(Options { region: Some("eu-central-1".to_owned()), ..Options::default() }).await;
    let text = scene.refusal(checked).await;
    assert!(text.contains("region"), "{text}");
    let missing = |new: &mut NewBucket| {
        checked(new);
        new.config.region = "eu-central-1".parse().unwrap();
        new.config.bucket = "no-such-bucket".parse().unwrap();
    };
    let text = scene.refusal(missing).await;
    assert!(text.contains("the bucket does not exist"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_named() {
    let scene = Scene::new().await;
    // Nobody listens there.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let away = |new: &mut NewBucket| {
        checked(new);
        new.config.endpoint = endpoint.parse().unwrap();
    };
    let text = scene.refusal(away).await;
    assert!(text.contains(&format!("cannot reach {endpoint}")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_right_is_named() {
    type Matcher = fn(&RequestHead) -> bool;
    let scene = Scene::new().await;
    let cases: [(Matcher, &str); 4] = [
        (is_list, "s3:ListBucket"),
        (|head| is_of_check(head, "PUT"), "s3:PutObject"),
        (|head| is_of_check(head, "GET"), "s3:GetObject"),
        (|head| head.method == "DELETE" || head.query().starts_with("delete"), "s3:DeleteObject"),
    ];
    for (matcher, right) in cases {
        scene.proxy.clear();
        scene.refuse(matcher, 403, "AccessDenied");
        let text = scene.refusal(checked).await;
        assert!(text.contains(right), "{right}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versioning_object_lock_and_lifecycle_rules_are_refused() {
    let lifecycle = |prefix: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter><Prefix>{prefix}</Prefix></Filter>\
             <Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
        )
    };
    let lock =
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    for (name, document, named) in [
        ("versioning", versions.to_owned(), "keeps old versions"),
        ("object-lock", lock.to_owned(), "object lock"),
        ("lifecycle", lifecycle(""), "lifecycle rule tidy"),
    ] {
        let scene = Scene::new().await;
        scene.origin.set_document(BUCKET, name, &document);
        let text = scene.refusal(checked).await;
        assert!(text.contains(named), "{name}: {text}");
    }
    let scene = Scene::new().await;
    scene.origin.set_document(BUCKET, "lifecycle", &lifecycle("logs/"));
    let server = scene.open("a").await;
    scene.create(&server, checked).await.unwrap();
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_requests_of_any_age_needs_consent() {
    let scene = Scene::with(Options { skew_max: None, enforces_expiry: false, ..Options::default() }).await;
    let text = scene.refusal(checked).await;
    assert!(text.contains("--accept-late-requests"), "{text}");
    let server = scene.open("a").await;
    let accepting = |new: &mut NewBucket| {
        checked(new);
        new.config.accept_late_requests = true;
    };
    let created = scene.create(&server, accepting).await.unwrap();
    assert!(created.config.bucket().unwrap().caveats()[0].contains("I1"));
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_that_cannot_be_trusted_are_refused() {
    let scene = Scene::with(Options { lacks: vec![Lack::NextToken], ..Options::default() }).await;
    let text = scene.refusal(checked).await;
    assert!(text.contains("listings of bucket backups"), "{text}");
}

// Goal: a bucket that another server has open is refused by name, and can be taken over.
// Method: an in-use object as a stock server writes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_holder_is_named_and_can_be_taken_over() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "tank/.in-use", r#"{"hostname":"pbs-one"}"#);
    let text = scene.refusal(|_| {}).await;
    assert!(text.contains("pbs-one") && text.contains("--take-over"), "{text}");
    let server = scene.open("refused").await;
    // The folder that the refusal left is taken.
    scene.create(&server, |new| new.takeover = Takeover::Force).await.unwrap();
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_belongs_to_one_store() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    for (prefix, is_free) in [("tank", false), ("tank/below", false), ("tank2", true)] {
        let mut new = scene.new_bucket();
        new.config.prefix = prefix.parse().unwrap();
        let name = "other".parse().unwrap();
        let created = server.server().create_bucket_datastore(name, new, |_| {}).await;
        assert_eq!(created.is_ok(), is_free, "{prefix}");
    }
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_keys_says_where_they_belong() {
    let scene = Scene::new().await;
    let text = scene.refusal(|new| new.credentials = None).await;
    assert!(text.contains("s3-tank.json") && text.contains("AWS_ACCESS_KEY_ID"), "{text}");

    // Keys of the environment are used and not kept.
    let options = coldkeep_server::ServerOptions::new(
        scene.data_dir("env"),
        std::sync::Arc::new(coldkeep_chunk_store::SystemClock::new()),
        crate::harness::limits(),
    );
    let keys = Credentials::new("AKID", "from the environment").unwrap();
    let server =
        coldkeep_server::embedded::Embedded::open(options.with_s3_credentials(Some(keys))).await.unwrap();
    scene.create(&server, |new| new.credentials = None).await.unwrap();
    assert!(!scene.data_dir("env").join("secrets/s3-tank.json").exists());
    server.close().await;
}
