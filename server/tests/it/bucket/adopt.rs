//! Buckets that a Proxmox Backup Server 4 wrote.

use std::path::Path;

use coldkeep_chunk_store::bucket::Takeover;
use coldkeep_client::TransferLimits;
use coldkeep_datastore::SnapshotName;

use super::scene::{BUCKET, Scene, back_up, content, end, files_below, store};
use crate::site::{archive, assert_verifies};

const SNAPSHOT: &str = "host/demo/2023-11-14T22:13:20Z";

/// Puts the mini datastore of the published vectors into the bucket, as a stock server keeps it there.
fn fill(scene: &Scene) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors/mini-datastore");
    for path in files_below(&vectors) {
        let name = path.strip_prefix(&vectors).unwrap().to_str().unwrap();
        let key = match name {
            ".lock" => continue,
            chunk if chunk.starts_with(".chunks/") => format!("tank/{chunk}"),
            file => format!("tank/.cnt/{file}"),
        };
        scene.origin.insert(BUCKET, &key, std::fs::read(&path).unwrap());
    }
    scene.origin.insert(BUCKET, "tank/.in-use", r#"{"hostname":"pbs1"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_of_a_stock_server_is_taken_over_when_asked_for_and_goes_on() {
    let scene = Scene::new().await;
    fill(&scene);
    let keys = scene.origin.keys(BUCKET);
    let refusal = scene.refusal(|_| {}).await;
    assert!(refusal.contains("pbs1") && refusal.contains("--take-over"), "{refusal}");
    assert_eq!(scene.origin.keys(BUCKET), keys, "a refused creation changed the bucket");

    let server = scene.open("a").await;
    scene.create(&server, |new| new.takeover = Takeover::Force).await.unwrap();
    let client = store(&server);
    let snapshot: SnapshotName = SNAPSHOT.parse().unwrap();
    let reader = client.open_snapshot(&snapshot, TransferLimits::default()).await.unwrap();
    let mut image = vec![0; 4 << 20];
    image.extend(b"abc");
    for (name, expected) in [("disk.img.fidx", image), ("stream.bin.didx", b"abchello".to_vec())] {
        let restored = reader.restore_to_writer(&archive(name), Vec::new()).await.unwrap();
        assert!(restored == expected, "{name} has other bytes");
    }
    drop(reader);
    assert_verifies(&client).await;

    back_up(&client, 1_700_000_100, &content(1)).await.unwrap();
    let unchanged = |key: &&String| !key.ends_with("index.json.blob") && !key.ends_with(".in-use");
    let now = scene.origin.keys(BUCKET);
    assert!(
        keys.iter().filter(unchanged).all(|key| now.contains(key)),
        "something of the other server is gone"
    );
    drop(client);
    end(server).await;
    // Given back: the other server can have it again.
    assert!(!scene.origin.keys(BUCKET).iter().any(|key| key == "tank/.in-use"));
}
