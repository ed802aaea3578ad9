//! What clients do with a store in a bucket.

use coldkeep_datastore::Namespace;

use super::{Data, Scene, TIME, distinct, lose_folder, names};
use crate::material::noise;
use crate::site::{assert_verifies, group, in_memory_folder, snapshot};

#[tokio::test(flavor = "multi_thread")]
async fn backups_come_back_and_what_is_unchanged_is_not_sent() {
    let scene = Scene::new();
    let store = scene.site.store();
    let (first, changed) = (Data::new(1), Data::new(2));
    first.back_up(&store, &snapshot("h1", TIME)).await.unwrap();
    let sent = scene.chunks_sent();
    assert!(sent.len() > 5 && distinct(&sent).len() == sent.len(), "{sent:?}");

    let progress = first.back_up(&store, &snapshot("h1", TIME + 1)).await.unwrap();
    // The blob alone.
    assert!(progress.transferred_bytes < 1000, "{progress:?}");
    assert_eq!(scene.chunks_sent().len(), sent.len(), "an unchanged backup sent chunks");
    // A group that knows nothing sends all to our server, which has it all.
    let progress = first.back_up(&store, &snapshot("h2", TIME)).await.unwrap();
    assert!(progress.transferred_bytes > 1_000_000, "{progress:?}");
    assert_eq!(scene.chunks_sent().len(), sent.len(), "known chunks were sent to the bucket");

    changed.back_up(&store, &snapshot("h1", TIME + 2)).await.unwrap();
    let more = scene.chunks_sent().len() - sent.len();
    assert!((1..sent.len()).contains(&more), "{more} of {} chunks were sent", sent.len());
    for (id, time, data) in
        [("h1", TIME, &first), ("h1", TIME + 1, &first), ("h2", TIME, &first), ("h1", TIME + 2, &changed)]
    {
        data.assert_restores(&store, &snapshot(id, time)).await;
    }
    assert_verifies(&store).await;

    store.forget(&snapshot("h1", TIME)).await.unwrap();
    let left = names(&store).await;
    assert!(left.len() == 3 && !left.contains(&snapshot("h1", TIME)), "{left:?}");
    first.assert_restores(&store, &snapshot("h1", TIME + 1)).await;
}

// Goal: whatever a client sets is in the bucket. Method: everything is set, the folder is lost, and all is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_set_outlives_the_folder() {
    let mut scene = Scene::new();
    let store = scene.site.store();
    let (data, name, gone) = (Data::new(1), snapshot("h1", TIME), snapshot("h1", TIME + 1));
    for name in [&name, &gone] {
        data.back_up(&store, name).await.unwrap();
    }
    let inner = store.create_namespace("inner").await.unwrap();
    let empty = store.create_namespace("empty").await.unwrap();
    let below = scene.site.client().store("default".parse().unwrap(), inner.clone());
    data.back_up(&below, &snapshot("h2", TIME)).await.unwrap();
    store.set_notes(&name, "first").await.unwrap();
    store.set_notes(&name, "before the upgrade\nof the kernel").await.unwrap();
    store.set_group_notes(&group("h1"), "the mail server").await.unwrap();
    store.set_protected(&name, true).await.unwrap();
    store.forget(&name).await.unwrap_err();
    store.set_protected(&gone, true).await.unwrap();
    store.set_protected(&gone, false).await.unwrap();
    store.forget(&gone).await.unwrap();
    let owner = store.groups().await.unwrap()[0].owner.clone();

    lose_folder(&mut scene.site);
    let store = scene.site.store();
    let below = scene.site.client().store("default".parse().unwrap(), inner.clone());
    assert_eq!(store.notes(&name).await.unwrap().trim_end(), "before the upgrade\nof the kernel");
    assert_eq!(store.group_notes(&group("h1")).await.unwrap().trim_end(), "the mail server");
    assert!(store.is_protected(&name).await.unwrap());
    assert_eq!(store.groups().await.unwrap()[0].owner, owner);
    let found = names(&store).await;
    assert_eq!(found, std::slice::from_ref(&name), "a forgotten snapshot came back");
    let mut spaces: Vec<_> = store.namespaces(None).await.unwrap().into_iter().map(|item| item.ns).collect();
    spaces.sort();
    assert_eq!(spaces, [Namespace::root(), empty, inner]);
    data.assert_restores(&below, &snapshot("h2", TIME)).await;
    assert_verifies(&store).await;
    store.set_protected(&name, false).await.unwrap();
    store.forget_group(&group("h1")).await.unwrap();
    below.remove_namespace(true).await.unwrap();
    assert_eq!(store.groups().await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_needs_no_server() {
    let mut scene = Scene::new();
    scene.site.stop();
    let folder = in_memory_folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let disk = noise(7, 9_000_000);
    std::fs::write(path("disk"), &disk).unwrap();
    let site = scene.site;
    let run = {
        let (source, target) = (format!("d.img:{}", path("disk")), path("out"));
        move || {
            site.command(&["backup", "--backup-id", "h1", &source]);
            site.command(&["restore", "host/h1", "d.img", &target]);
            site.command(&["verify"]);
            let listed = site.command(&["snapshots"]);
            (site, listed)
        }
    };
    let (site, listed) = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(listed.contains("host/h1"), "{listed}");
    assert!(std::fs::read(path("out")).unwrap() == disk);
    drop(site);
}
