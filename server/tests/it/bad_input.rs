//! Names that try to leave their place, things that do not exist, bodies without end, tickets that are no longer good,
//! clients that go away: refused with the right code, and nothing is left behind.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::harness::{TestServer, limits};
use crate::material::{
    BACKUP, Chunk, READER, backup, backup_path, begin, finish, noise, open_dynamic, put_blob, reader_path,
    write_dynamic,
};
use crate::site::{Site, archive, begin_when_free, chunk_files, group, snapshot};
use crate::wire::{Auth, BYTES, Wire};

const TIME: i64 = 1_700_000_000;
const STORE: &str = "/api2/json/admin/datastore/default";

/// Names of no id, no namespace and no file, in the form in which they stand in a query.
fn tricks() -> Vec<String> {
    let long = "x".repeat(300);
    let plain = [
        "..",
        ".",
        "../x",
        "../../../../etc",
        "/etc",
        "a/../../b",
        ".chunks",
        ".lock",
        "a\0b",
        "a\nb",
        "a\\b",
        "ü",
        "a b",
        "\u{202e}",
        "*",
        &long,
    ];
    let mut tricks: Vec<String> =
        plain.iter().map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()).collect();
    // Bytes that are no UTF-8, an escape that is none, an escape within an escape.
    tricks.extend(["%ff%fe", "%zz", "%252e%252e%252f"].map(str::to_owned));
    tricks
}

/// All files and folders below a folder, besides the logs of tasks, whose coming and going is no one's trick.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "tasks" {
                folders.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
                found.insert(entry.path());
            }
        }
    }
    found
}

#[tokio::test]
async fn names_lead_nowhere_over_rest() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let before = tree(server.folder());
    let triple = |id: &str| format!("backup-id={id}&backup-time={TIME}&backup-type=host");
    for trick in tricks() {
        let ask = async |method: Method, path: &str, named: &str| {
            let request =
                root.request(method.clone(), &format!("{STORE}/{path}"), crate::wire::FORM, "".into());
            let answer = root.send(request).await;
            assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
            // What is no text cannot be told apart by parameter.
            let is_text = !trick.contains("%ff") && !trick.contains("%zz");
            assert!(!is_text || answer.text().contains(named), "{method} {path}: {}", answer.text());
        };
        let (in_id, in_ns) = (triple(&trick), format!("{}&ns={trick}", triple("h1")));
        for (query, named) in [(&in_id, "backup-id"), (&in_ns, "ns")] {
            for path in ["files", "notes", "protected"] {
                ask(Method::GET, &format!("{path}?{query}"), named).await;
            }
            ask(Method::DELETE, &format!("snapshots?{query}"), named).await;
            ask(Method::PUT, &format!("notes?{query}&notes=x"), named).await;
            ask(Method::PUT, &format!("protected?{query}&protected=true"), named).await;
            ask(Method::GET, &format!("download?{query}&file-name=a.bin.didx"), named).await;
            ask(Method::POST, &format!("upload-backup-log?{query}"), named).await;
            ask(Method::POST, &format!("verify?{query}"), named).await;
            let of_group = query.replace(&format!("backup-time={TIME}&"), "");
            ask(Method::GET, &format!("snapshots?{of_group}"), named).await;
            ask(Method::DELETE, &format!("groups?{of_group}"), named).await;
            ask(Method::GET, &format!("group-notes?{of_group}"), named).await;
            ask(Method::PUT, &format!("group-notes?{of_group}&notes=x"), named).await;
            ask(Method::POST, &format!("prune?{of_group}&keep-last=1"), named).await;
            ask(Method::POST, &format!("change-owner?{of_group}&new-owner=root%40pam"), named).await;
        }
        let of_file = format!("{}&file-name={trick}", triple("h1"));
        ask(Method::GET, &format!("download?{of_file}"), "file-name").await;
        ask(Method::GET, &format!("download-decoded?{of_file}"), "file-name").await;
        ask(Method::GET, &format!("groups?ns={trick}"), "ns").await;
        ask(Method::POST, &format!("prune-datastore?ns={trick}&keep-last=1"), "ns").await;
        ask(Method::DELETE, &format!("namespace?ns={trick}&delete-groups=true"), "ns").await;
        ask(Method::POST, &format!("namespace?name={trick}"), "name").await;
        ask(Method::POST, &format!("namespace?name=a&parent={trick}"), "parent").await;
        ask(Method::GET, &format!("namespace?parent={trick}"), "parent").await;
        // In the path itself the trick is a bad path, a bad name or the name of no store.
        let answer = root.get(&format!("/api2/json/admin/datastore/{trick}/snapshots")).await;
        assert!([400, 404, 414].contains(&answer.status.as_u16()), "{trick}: {}", answer.status);
    }
    for time in ["0", "-1", "9223372036854775808", "1e9", "..", ""] {
        let answer =
            root.get(&format!("{STORE}/files?backup-id=h1&backup-time={time}&backup-type=host")).await;
        answer.refused(400, "backup-time");
    }
    for ty in ["..", "hosts", "Host", "ns", ""] {
        let answer = root.get(&format!("{STORE}/snapshots?backup-type={ty}")).await;
        answer.refused(400, "backup-type");
    }
    let deep = ["a"; 8].join("%2F");
    root.get(&format!("{STORE}/groups?ns={deep}")).await.refused(400, "ns");
    assert_eq!(tree(server.folder()), before);
}

#[tokio::test]
async fn names_lead_nowhere_in_sessions() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let before = tree(server.folder());
    for trick in tricks() {
        for (path, protocol) in [
            (backup_path(&trick, TIME, ""), BACKUP),
            (backup_path("h2", TIME, &format!("&ns={trick}")), BACKUP),
            (backup_path("h2", TIME, "").replace("store=default", &format!("store={trick}")), BACKUP),
            (backup_path("h2", TIME, "").replace("type=host", &format!("type={trick}")), BACKUP),
            (reader_path(&trick, TIME), READER),
            (format!("{}&ns={trick}", reader_path("h1", TIME)), READER),
        ] {
            let refused = root.upgrade(&path, protocol).await.expect_err(&path);
            assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        }
    }
    assert_eq!(tree(server.folder()), before);
    let (session, reader) = (begin(&root, "h2", TIME).await, crate::material::open(&root, "h1", TIME).await);
    let during = tree(server.folder());
    for trick in tricks() {
        for suffix in ["", ".didx", ".fidx", ".blob"] {
            let name = format!("{trick}{suffix}");
            session.post(&format!("/dynamic_index?archive-name={name}")).await.refused(400, "");
            session.post(&format!("/fixed_index?archive-name={name}&size=1")).await.refused(400, "");
            session.get(&format!("/previous?archive-name={name}")).await.refused(400, "");
            put_blob(&session, &name, Chunk::of("x").encoded).await.refused(400, "");
            let answer = reader.get(&format!("/download?file-name={name}")).await;
            assert!([400, 404].contains(&answer.status.as_u16()), "{name}: {}", answer.status);
        }
    }
    assert_eq!(tree(server.folder()), during);
    // After all that both sessions are as good as new.
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let listed = write_dynamic(&session, "a.bin.didx", &[&Chunk::of(noise(2, 100))], true).await;
    finish(&session, "h2", TIME, &[listed]).await.ok();
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let server = TestServer::start().await;
    let root = server.root().await;
    backup(&root, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    let other = STORE.replace("default", "tank");
    for path in ["status", "groups", "snapshots", "gc", "files?backup-id=h1&backup-time=1&backup-type=host"] {
        root.get(&format!("{other}/{path}")).await.refused(400, "tank");
    }
    root.post(&format!("{other}/gc")).await.refused(400, "tank");
    let group = "backup-id=nobody&backup-type=host";
    let missing =
        [format!("{group}&backup-time={TIME}"), "backup-id=h1&backup-type=host&backup-time=86400".to_owned()];
    for (snapshot, named) in missing.iter().zip(["host/nobody", "1970-01-02T00:00:00Z"]) {
        for path in ["files", "notes", "protected"] {
            root.get(&format!("{STORE}/{path}?{snapshot}")).await.refused(400, named);
        }
        root.delete(&format!("{STORE}/snapshots?{snapshot}")).await.refused(400, named);
        root.put(&format!("{STORE}/notes?{snapshot}&notes=x")).await.refused(400, named);
        let log = Chunk::of("x").encoded;
        root.post_bytes(&format!("{STORE}/upload-backup-log?{snapshot}"), log).await.refused(400, named);
    }
    root.delete(&format!("{STORE}/groups?{group}")).await.refused(400, "host/nobody");
    root.get(&format!("{STORE}/group-notes?{group}")).await.refused(400, "host/nobody");
    let open =
        format!("{STORE}/download?backup-id=h1&backup-time={TIME}&backup-type=host&file-name=b.bin.didx");
    let answer = root.get(&open).await;
    assert!(
        [400, 404].contains(&answer.status.as_u16()) && answer.text().contains("b.bin.didx"),
        "{answer:?}"
    );
    let refused = root.upgrade(&reader_path("nobody", TIME), READER).await.unwrap_err();
    refused.refused(400, "host/nobody");
    let reader = crate::material::open(&root, "h1", TIME).await;
    reader.get("/download?file-name=b.bin.didx").await.refused(404, "b.bin.didx");
    root.get(&format!("{STORE}/nothing")).await.refused(404, "nothing");
    root.delete(&format!("{STORE}/status")).await.refused(404, "status");
}

#[tokio::test]
async fn a_ticket_ends_after_two_hours_and_garbage_is_none() {
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(TIME, 0)));
    let server = TestServer::start_at(limits(), Arc::clone(&clock) as _).await;
    let root = server.root().await;
    let denied = async |wire: &Wire| {
        wire.get(&format!("{STORE}/status")).await.refused(401, "authentication failed");
        let upgrade = wire.upgrade(&backup_path("h1", TIME, ""), BACKUP).await.expect_err("was upgraded");
        upgrade.refused(401, "authentication failed");
    };
    clock.advance(Duration::from_mins(119));
    root.get(&format!("{STORE}/status")).await.ok();
    clock.advance(Duration::from_mins(2));
    denied(&root).await;
    // It does not renew itself either.
    let Auth::Ticket { ticket, csrf } = &root.auth else { panic!("no ticket") };
    let renewal = json!({ "username": "root@pam", "password": ticket });
    let nobody = Wire::nobody(server.address);
    nobody.post_json("/api2/json/access/ticket", &renewal).await.refused(401, "authentication failed");

    let root = server.root().await;
    let Auth::Ticket { ticket: fresh, .. } = &root.auth else { panic!("no ticket") };
    let (_, signature) = fresh.split_once("::").unwrap();
    let (dated, _) = ticket.split_once("::").unwrap();
    let garbage = [
        String::new(),
        "PBS:".to_owned(),
        "PBS:root@pam".to_owned(),
        "PBS:root@pam:FFFFFFFF::AAAA".to_owned(),
        format!("{dated}::{signature}"),
        fresh.trim_end_matches(|c: char| c != ':').to_owned(),
        format!("{fresh}A"),
        fresh[..fresh.len() - 1].to_owned(),
        fresh.replacen("PBS", "PVE", 1),
        "x".repeat(4000),
        "%00%ff".to_owned(),
    ];
    for ticket in garbage {
        denied(&Wire { address: server.address, auth: Auth::Ticket { ticket, csrf: csrf.clone() } }).await;
    }
    for token in ["", ":", "root@pam", "root@pam!x", "root@pam!:x", "!x:y", "root@pam!x:y:z"] {
        denied(&Wire { address: server.address, auth: Auth::Token(token.to_owned()) }).await;
    }
    root.get(&format!("{STORE}/status")).await.ok();
}

#[tokio::test]
async fn bodies_beyond_their_bound_are_refused_and_the_session_goes_on() {
    const MAX: usize = (16 << 20) + 44;
    let server = TestServer::start().await;
    let root = server.root().await;
    let session = begin(&root, "h1", TIME).await;
    let wid = open_dynamic(&session, "a.bin.didx").await;
    let digest = Chunk::of("x").digest;
    let chunk = |size: usize, encoded: usize| {
        format!("/dynamic_chunk?digest={digest}&encoded-size={encoded}&size={size}&wid={wid}")
    };
    let huge = bytes::Bytes::from(vec![0; 40 << 20]);
    // More than said, more than any chunk may have, said to be more than any chunk may have.
    session.post_bytes(&chunk(1, 13), huge.slice(..1000)).await.refused(400, "");
    session.post_bytes(&chunk(1, 13), huge.clone()).await.refused(400, "");
    session.post_bytes(&chunk(1, MAX), huge.slice(..=MAX)).await.refused(400, "");
    session.post_bytes(&chunk(1, MAX + 1), huge.slice(..=MAX)).await.refused(400, "encoded-size");
    session.post_bytes(&chunk((16 << 20) + 1, 13), huge.slice(..13)).await.refused(400, "size");
    let blob = "/blob?file-name=a.conf.blob&encoded-size=";
    session.post_bytes(&format!("{blob}{}", huge.len()), huge.clone()).await.refused(400, "encoded-size");
    session.post_bytes(&format!("{blob}100"), huge.clone()).await.refused(400, "");
    session.call(Method::PUT, "/dynamic_index", crate::wire::JSON, huge.clone()).await.refused(400, "");
    session.post_bytes("/speedtest", [&huge[..], &huge[..]].concat()).await.refused(400, "");
    let log = format!("{STORE}/upload-backup-log?backup-id=h1&backup-time={TIME}&backup-type=host");
    let request = root.request(Method::POST, &log, BYTES, huge.slice(..=MAX));
    assert_eq!(root.send(request).await.status, 400);
    let listed = write_dynamic(&session, "b.bin.didx", &[&Chunk::of(noise(1, 100))], true).await;
    // The writer of the refused chunks is open and still without an entry.
    let csum = coldkeep_chunk_store::Digest::of(b"");
    session.post(&format!("/dynamic_close?chunk-count=0&csum={csum}&size=0&wid={wid}")).await.ok();
    finish(&session, "h1", TIME, &[listed]).await.ok();
}

/// Gives bytes for as long as the other end of the channel is there.
struct Fed(Receiver<Vec<u8>>, Vec<u8>);

impl Fed {
    fn pair() -> (Sender<Vec<u8>>, Self) {
        let (feed, fed) = channel();
        (feed, Self(fed, Vec::new()))
    }
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1.is_empty() {
            self.1 = self.0.recv().unwrap_or_default();
        }
        let len = buffer.len().min(self.1.len());
        buffer[..len].copy_from_slice(&self.1[..len]);
        self.1.drain(..len);
        Ok(len)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_leaves_no_snapshot_and_no_lock() {
    let site = Site::new();
    let store = site.store();
    for round in 0..3 {
        let session = begin_when_free(&store, &snapshot("h1", TIME)).await;
        let progress = session.progress();
        let (feed, fed) = Fed::pair();
        feed.send(noise(round, 24 << 20)).unwrap();
        let name = archive("s.bin.didx");
        {
            let mut upload = std::pin::pin!(session.upload_stream(&name, fed));
            // Some chunks are there, others on their way or not yet read.
            while progress.snapshot().chunks == 0 {
                let step = tokio::time::timeout(Duration::from_millis(1), &mut upload).await;
                assert!(step.is_err(), "the stream has not ended");
            }
        }
        drop(session);
        begin_when_free(&store, &snapshot("h1", TIME)).await.abort();
    }
    assert_eq!(store.newest(&group("h1")).await.unwrap(), None);
    let session = begin_when_free(&store, &snapshot("h1", TIME)).await;
    session.upload_blob(&archive("c.conf.blob"), "x".into()).await.unwrap();
    session.finish().await.unwrap();
    // The chunks of the broken uploads are garbage, the folders of their snapshots are gone.
    crate::site::collect(&store).await.unwrap();
    assert_eq!(chunk_files(&site), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read_dir(site.store_folder().join("host/h1")).unwrap().filter(is_folder).count(), 1);
}

fn is_folder(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().path().is_dir()
}
