//! What goes wrong while a store in a bucket is used, given up or destroyed.

use std::sync::Arc;
use std::time::Duration;

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_s3_testbed::{End, Fault, Gate, RequestHead};
use coldkeep_server::api::chain;
use tokio_util::sync::CancellationToken;

use super::scene::{BUCKET, Scene, assert_holds, back_up, content, end, store, tank};

const TIME: i64 = 1_700_000_000;

fn is_delete(head: &RequestHead) -> bool {
    head.method == "DELETE" || head.query().starts_with("delete")
}

fn is_chunk_put(head: &RequestHead) -> bool {
    head.method == "PUT" && head.path().contains("/.chunks/")
}

// Goal: what takes effect late cannot hit a store that is made at the same place afterwards.
// Method: the answer to a delete is lost, and that to its repetition is not; the destruction must outlast those requests by the server's clock.
#[tokio::test(flavor = "multi_thread")]
async fn destroying_waits_until_its_unclear_deletes_have_expired() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    let created = scene.create(&server, |_| {}).await.unwrap();
    let lifetimes = created.config.bucket().unwrap().lifetimes();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    let before = scene.skipped();
    // The one of the close, and one of a manifest.
    scene.proxy.next_for(is_delete, Fault::Pass);
    scene.proxy.next_for(is_delete, Fault::LostReply(End::Reset));
    server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await.unwrap();
    let waited = scene.skipped().saturating_sub(before);
    // The margin is left out: the server's clock goes on by itself, too, and shows whole seconds.
    assert!(waited >= lifetimes.longest() && waited < Duration::from_hours(1), "{waited:?}");
    assert_eq!(scene.origin.keys(BUCKET), Vec::<String>::new());
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_in_use_object_keeps_a_bucket_from_being_destroyed() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    end(server).await;
    scene.origin.insert(BUCKET, "tank/.in-use", "{");
    let before = scene.origin.keys(BUCKET);
    let server = scene.open("a").await;
    let error = server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await.unwrap_err();
    assert!(chain(&error).contains("an unknown server"), "{error:?}");
    assert_eq!(scene.origin.keys(BUCKET), before);
    end(server).await;
}

// Verbs without --take-over meet a foreign holder, too.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_meets_a_foreign_holder_is_told_which_command_takes_over() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    end(server).await;
    scene.origin.insert(BUCKET, "tank/.in-use", r#"{"hostname":"pbs-one"}"#);
    let server = scene.open("a").await;
    let text = chain(&server.server().ready_datastore(&tank()).await.unwrap_err());
    assert!(text.contains("pbs-one") && text.contains("coldkeep datastore refresh"), "{text}");
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_bucket_is_gone_can_be_taken_off_the_list() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    end(server).await;
    scene.refuse(|_| true, 404, "NoSuchBucket");
    let server = scene.open("a").await;
    server.server().ready_datastore(&tank()).await.unwrap_err();
    server.server().remove_datastore(&tank()).await.unwrap();
    assert!(!scene.data_dir("a").join("secrets/s3-tank.json").exists(), "the keys stayed");
    end(server).await;
}

// Goal: a server that is stopped while it rebuilds a store gives the bucket back.
// Method: the listing of the rebuild never gets its answer; the server ends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_is_stopped_gives_the_bucket_back() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    end(server).await;
    std::fs::remove_dir_all(scene.data_dir("a").join("stores/tank")).unwrap();
    let gate = Gate::closed();
    let is_listing = |head: &RequestHead| head.method == "GET" && head.query().contains("chunks");
    scene.proxy.always(is_listing, Fault::Delay(gate));
    let server = scene.open("a").await;
    server.server().open_buckets();
    scene.proxy.until(|seen| seen.iter().any(|seen| seen.query.contains("chunks"))).await;
    assert!(scene.origin.object(BUCKET, "tank/.in-use").is_some());
    end(server).await;
    assert!(scene.origin.object(BUCKET, "tank/.in-use").is_none(), "the bucket was not given back");
    scene.proxy.clear();
    let server = scene.open("a").await;
    server.server().ready_datastore(&tank()).await.unwrap();
    let client = store(&server);
    assert_holds(&client, TIME, &content(1)).await;
    drop(client);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_and_an_expired_token_are_named_and_the_next_backup_goes_on() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    for (time, status, code, named) in [
        (TIME, 403, "QuotaExceeded", "quota or the disk of the backend is full"),
        (TIME + 10, 400, "ExpiredToken", "the session token has expired"),
        (TIME + 20, 403, "AccessDenied", "the keys lack the right"),
    ] {
        scene.refuse(is_chunk_put, status, code);
        let error = loop {
            match back_up(&client, time, &content(1)).await.unwrap_err() {
                // The session that failed just now is still ending.
                error if error.contains("in use by a running backup") => tokio::task::yield_now().await,
                error => break error,
            }
        };
        assert!(error.contains(named), "{code}: {error}");
        scene.proxy.clear();
    }
    while let Err(error) = back_up(&client, TIME + 30, &content(1)).await {
        assert!(error.contains("in use by a running backup"), "{error}");
    }
    assert_holds(&client, TIME + 30, &content(1)).await;
    drop(client);
    end(server).await;
}

// Method: the destruction is dropped while it waits for its first listing, and begun once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_that_was_dropped_can_be_repeated() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let gate = Gate::closed();
    let is_listing = |head: &RequestHead| head.method == "GET" && head.query().contains("list-type");
    scene.proxy.next_for(is_listing, Fault::Delay(gate.clone()));
    {
        let name = tank();
        let destroying = server.server().destroy_datastore(&name, Takeover::Refuse, |_| {});
        tokio::select! {
            ended = destroying => panic!("it did not wait: {ended:?}"),
            () = gate.reached(1) => {}
        }
    }
    server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await.unwrap();
    assert_eq!(scene.origin.keys(BUCKET), Vec::<String>::new());
    end(server).await;
}

// Goal: a refresh does not open a store again that is just being destroyed.
// Method: the destruction waits for its first listing while the refresh is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_being_destroyed_is_not_refreshed() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let gate = Gate::closed();
    scene.proxy.next_for(
        |head| head.method == "GET" && head.query().contains("list-type"),
        Fault::Delay(gate.clone()),
    );
    let destroying = {
        let server = Arc::clone(&server);
        tokio::spawn(
            async move { server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await },
        )
    };
    gate.reached(1).await;
    let stop = CancellationToken::new();
    let refreshed = server.server().refresh_datastore(&tank(), Takeover::Refuse, &stop, |_| {}).await;
    gate.open();
    destroying.await.unwrap().unwrap();
    assert!(chain(&refreshed.unwrap_err()).contains("it is being removed"));
    assert_eq!(scene.origin.keys(BUCKET), Vec::<String>::new());
    end(server).await;
}
