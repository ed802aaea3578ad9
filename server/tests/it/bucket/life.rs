//! Backup, restore, and what becomes of a store whose cache or bucket is lost to somebody else.

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_client::TransferLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::scene::{Scene, assert_holds, back_up, content, end, store, tank};
use crate::site::snapshot;

const TIME: i64 = 1_700_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn backups_come_back_and_unchanged_ones_send_no_chunk() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    let first = scene.chunks_put();
    assert!(first >= 3, "{first} chunks");
    back_up(&client, TIME + 1, &content(1)).await.unwrap();
    assert_eq!(scene.chunks_put(), first, "an unchanged backup sent chunks");
    back_up(&client, TIME + 2, &content(2)).await.unwrap();
    assert!(scene.chunks_put() < first + 3, "shared chunks were sent again");
    for (time, number) in [(TIME, 1), (TIME + 1, 1), (TIME + 2, 2)] {
        assert_holds(&client, time, &content(number)).await;
    }
    let status = client.status().await.unwrap();
    assert_eq!(status.backend_type.as_deref(), Some("s3"));
    assert!(status.avail > 0 && status.used >= 12_000_000, "{status:?}");
    let bucket = status.bucket.unwrap();
    assert_eq!(bucket["state"], "ready");
    assert!(bucket["operations"]["PutObject"]["requests"].as_u64().unwrap() >= first as u64, "{bucket}");
    drop(client);
    end(server).await;

    let server = scene.open("a").await;
    let client = store(&server);
    server.server().ready_datastore(&tank()).await.unwrap();
    assert_holds(&client, TIME + 2, &content(2)).await;
    drop(client);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_serves_and_the_bucket_is_asked_is_counted_for_prometheus() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    assert_holds(&client, TIME, &content(1)).await;
    let mut stream = server.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let value = |series: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    };
    assert!(value("coldkeep_cache_hits_total{datastore=\"tank\"}") >= 3.0);
    assert!(value("coldkeep_cache_bytes{datastore=\"tank\"}") > 0.0);
    assert!(value("coldkeep_datastore_used_bytes{datastore=\"tank\"}") >= 12_000_000.0);
    let puts = "{datastore=\"tank\",operation=\"PutObject\"}";
    assert!(value(&format!("coldkeep_s3_requests_total{puts}")) >= scene.chunks_put() as f64);
    assert!(value(&format!("coldkeep_s3_transmit_bytes_total{puts}")) >= 12_000_000.0);
    drop(client);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cache_directory_costs_time_and_no_data() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    let client = store(&server);
    back_up(&client, TIME, &content(1)).await.unwrap();
    drop(client);
    end(server).await;
    let before = scene.chunks_put();
    std::fs::remove_dir_all(scene.data_dir("a").join("stores/tank")).unwrap();

    let server = scene.open("a").await;
    server.server().ready_datastore(&tank()).await.unwrap();
    let client = store(&server);
    assert_holds(&client, TIME, &content(1)).await;
    back_up(&client, TIME + 1, &content(1)).await.unwrap();
    assert_eq!(scene.chunks_put(), before, "the next incremental backup sent chunks again");
    assert_holds(&client, TIME + 1, &content(1)).await;
    drop(client);
    end(server).await;
}

// Goal: two servers never write to one bucket, and the one that lost it loses no data (H12).
// Method: a second server is refused, then takes over by force; the first one's commit fails, the second goes on.
#[tokio::test(flavor = "multi_thread")]
async fn h12_a_second_server_is_refused_by_name_and_a_forced_takeover_fails_the_first() {
    let scene = Scene::new().await;
    let first = scene.open("a").await;
    scene.create(&first, |_| {}).await.unwrap();
    let client = store(&first);
    back_up(&client, TIME, &content(1)).await.unwrap();

    let second = scene.open("b").await;
    let error = scene.create(&second, |_| {}).await.unwrap_err();
    let text = coldkeep_server::api::chain(&error);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert!(text.contains(&host) && text.contains("--take-over"), "{text}");

    scene.create(&second, |new| new.takeover = Takeover::Force).await.unwrap();
    let text = back_up(&client, TIME + 1, &content(2)).await.unwrap_err();
    assert!(text.contains("another server has taken over the bucket"), "{text}");
    // It never takes the bucket back by itself.
    let text = back_up(&client, TIME + 2, &content(2)).await.unwrap_err();
    assert!(text.contains("another server has taken over the bucket"), "{text}");

    // An open connection does not keep the operator from taking it back, if the other one does not have it any more.
    let reader = client.open_snapshot(&snapshot("h1", TIME), TransferLimits::default()).await.unwrap();
    let upid = client.start_refresh(false).await.unwrap();
    let refused = client.client().wait_task(&upid, |_| {}).await.unwrap_err();
    assert!(coldkeep_server::api::chain(&refused).contains("is in use by"), "{refused:?}");

    drop(reader);

    let other = store(&second);
    assert_holds(&other, TIME, &content(1)).await;
    back_up(&other, TIME + 3, &content(3)).await.unwrap();
    assert_holds(&other, TIME + 3, &content(3)).await;
    drop((client, other));
    end(first).await;
    let client = store(&second);
    back_up(&client, TIME + 4, &content(3)).await.unwrap();
    drop(client);
    end(second).await;
}

// Goal: a store whose server is away does not keep the others from being used, and comes back by itself.
// Method: connections are refused while the server starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_reached_is_named_and_leaves_the_others_alone() {
    let scene = Scene::new().await;
    let server = scene.open("a").await;
    scene.create(&server, |_| {}).await.unwrap();
    end(server).await;
    scene.refuse(|_| true, 403, "InvalidAccessKeyId");
    let server = scene.open("a").await;
    let error = server.server().ready_datastore(&tank()).await.unwrap_err();
    let text = coldkeep_server::api::chain(&error);
    assert!(text.contains("datastore tank is not available") && text.contains("check access key"), "{text}");
    server.server().datastore(&"default".parse().unwrap()).unwrap();
    end(server).await;
}
