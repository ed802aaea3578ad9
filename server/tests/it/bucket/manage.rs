//! Changing, refreshing, removing and destroying stores in buckets.

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_s3_client::Credentials;
use coldkeep_server::state::BucketUpdate;

use super::scene::{BUCKET, Scene, assert_holds, back_up, content, end, store, tank};

const TIME: i64 = 1_700_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_and_new_keys_replace_the_old() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let update = BucketUpdate {
        comment: Some("offsite".to_owned()),
        cache_size: Some(1 << 20),
        quota: Some(1 << 30),
        credentials: Some(Credentials::new("AKIDNEW", "a new secret").unwrap()),
        expiry_margin: Some(30),
        ..BucketUpdate::default()
    };
    server.server().update_datastore(&tank(), update).await.unwrap();
    let only_bucket = BucketUpdate { quota: Some(1), ..BucketUpdate::default() };
    server.server().update_datastore(&"default".parse().unwrap(), only_bucket).await.unwrap_err();
    end(server).await;

    let secret = std::fs::read_to_string(scene.data_dir("a").join("secrets/s3-tank.json")).unwrap();
    assert!(secret.contains("a new secret"));
    let server = scene.open("a").await;
    let configs = server.server().datastore_configs();
    let config = configs.iter().find(|config| config.name == tank()).unwrap();
    assert_eq!(config.comment.as_deref(), Some("offsite"));
    assert_eq!(config.bucket().map(|bucket| bucket.cache_size), Some(1 << 20));
    server.server().ready_datastore(&tank()).await.unwrap();
    let client = store(&server);
    let status = client.status().await.unwrap();
    assert_eq!(
        (status.total, status.bucket.unwrap()["cache"]["bytes-max"].as_u64()),
        (1 << 30, Some(1 << 20))
    );
    drop(client);
    end(server).await;
}

// Goal: a refresh waits for running sessions, refuses new ones with the reason, and restores everything from the bucket.
// Method: one session stays open while the refresh begins by the stock call.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_restores_the_local_state_and_refuses_writers_meanwhile() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();

    let open = server.server().ready_datastore(&tank()).await.unwrap();
    let upid = client.start_refresh(false).await.unwrap();
    let error = loop {
        match back_up(&client, TIME + 1, &content(1)).await {
            Err(error) => break error,
            // The task begins a moment after it was asked for.
            Ok(()) => tokio::task::yield_now().await,
        }
    };
    assert!(error.contains("datastore tank is being opened"), "{error}");
    drop(open);
    let mut log = String::new();
    let ended = client.client().wait_task(&upid, |line| log.extend([line, "\n"])).await;
    assert!(ended.is_ok(), "{ended:?}\n{log}");
    assert!(log.contains("waiting for the end of running sessions"), "{log}");
    assert_holds(&client, TIME, &content(1)).await;
    back_up(&client, TIME + 100, &content(2)).await.unwrap();

    let folder = client.client().store("default".parse().unwrap(), coldkeep_datastore::Namespace::root());
    let error = folder.start_refresh(false).await.unwrap_err();
    assert!(coldkeep_server::api::chain(&error).contains("not in a bucket"), "{error:?}");
    drop((client, folder));
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_store_gives_its_bucket_free_and_can_be_taken_again() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    let open = server.server().ready_datastore(&tank()).await.unwrap();
    let error = server.server().remove_datastore(&tank()).await.unwrap_err();
    assert_eq!(error.to_string(), "datastore tank is in use");
    drop(open);
    server.server().remove_datastore(&tank()).await.unwrap();
    let keys = scene.origin.keys(BUCKET);
    assert!(keys.iter().all(|key| key != "tank/.in-use") && keys.len() > 3, "{keys:?}");
    assert!(!scene.data_dir("a").join("secrets/s3-tank.json").exists(), "the keys stayed");
    assert!(scene.data_dir("a").join("stores/tank/.chunks").is_dir());

    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    assert_holds(&client, TIME, &content(1)).await;
    drop(client);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroying_takes_the_stores_objects_and_no_others() {
    let scene = Scene::new().await;
    scene.origin.insert(BUCKET, "tank2/keep", "me");
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    let count = scene.origin.keys(BUCKET).len() as u64 - 1;
    let destroyed = server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await.unwrap();
    // The in-use object goes when the store is closed.
    assert_eq!(destroyed.objects, count - 1);
    assert_eq!(scene.origin.keys(BUCKET), ["tank2/keep"]);
    assert!(!scene.data_dir("a").join("stores/tank").exists());
    assert!(!scene.data_dir("a").join("secrets/s3-tank.json").exists());
    assert_eq!(server.server().datastore_configs().len(), 1);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_another_server_has_open_is_not_destroyed() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    end(server).await;
    scene.origin.insert(BUCKET, "tank/.in-use", r#"{"hostname":"pbs-one"}"#);
    let before = scene.origin.keys(BUCKET);
    let server = scene.open("a").await;
    let error = server.server().destroy_datastore(&tank(), Takeover::Refuse, |_| {}).await.unwrap_err();
    assert!(coldkeep_server::api::chain(&error).contains("pbs-one"), "{error:?}");
    assert_eq!(scene.origin.keys(BUCKET), before);
    server.server().destroy_datastore(&tank(), Takeover::Force, |_| {}).await.unwrap();
    assert_eq!(scene.origin.keys(BUCKET), Vec::<String>::new());
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_up_the_bucket_that_it_did_not_give_free() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    // As an end without a close leaves it.
    let in_use = scene.origin.object(BUCKET, "tank/.in-use").unwrap().content();
    end(server).await;
    scene.origin.insert(BUCKET, "tank/.in-use", in_use);
    let server = scene.open("a").await;
    server.server().ready_datastore(&tank()).await.unwrap();
    let client = store(&server);
    assert_holds(&client, TIME, &content(1)).await;
    drop(client);
    end(server).await;
}
