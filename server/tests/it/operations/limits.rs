//! Too many connections and sessions, too much at once, too slow, and an orderly end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coldkeep_chunk_store::blob::{BLOB_ENCODED_BYTES_MAX, CHUNK_BYTES_MAX};
use coldkeep_server::Bandwidth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{TestServer, limits};
use crate::material::{
    BACKUP, Chunk, READER, backup, backup_path, begin, eventually, finish, noise, open, reader_path, triple,
    write_dynamic,
};
use crate::process::Serve;
use crate::wire::{self, Auth, Session, Wire};

#[tokio::test]
async fn connections_of_one_address_beyond_its_limit_are_told_so() {
    let mut limits = limits();
    limits.connections_per_address_max = 2;
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let nobody = Wire::nobody(server.address);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut idle = loop {
        let idle = vec![wire::connect(server.address).await, wire::connect(server.address).await];
        let answer = nobody.get("/api2/json/ping").await;
        if answer.status == 503 {
            answer.refused(503, "2 connections from your address");
            break idle;
        }
        // The end of the login's connection is seen a moment later, and one of the two was refused.
        assert!(Instant::now() < deadline, "nothing is refused");
    };
    idle.pop();
    eventually(&nobody, "/api2/json/ping", |answer| answer.status == 200).await;
    let text = eventually(&root, "/metrics", |answer| answer.status == 200).await.text();
    let refused = text.lines().find_map(|line| line.strip_prefix("coldkeep_connections_refused_total "));
    assert!(refused.is_some_and(|count| count.parse::<u64>().unwrap() >= 1), "{text}");
}

// Goal: a session keeps the place of its connection, although HTTP is over for it.
#[tokio::test]
async fn a_session_counts_as_a_connection() {
    let mut limits = limits();
    limits.connections_per_address_max = 1;
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let session = loop {
        match root.upgrade(&backup_path("h1", 1_700_000_000, ""), BACKUP).await {
            Ok(session) => break session,
            // The end of the login's connection is seen a moment later.
            Err(answer) => answer.refused(503, "1 connections from your address"),
        }
        assert!(Instant::now() < deadline, "the place of a connection that ended stays taken");
    };
    root.get("/api2/json/ping").await.refused(503, "1 connections from your address");
    session.drop_connection().await;
    eventually(&root, "/api2/json/ping", |answer| answer.status == 200).await;
}

#[tokio::test]
async fn sessions_beyond_the_limits_are_answered_503_and_can_begin_later() {
    let mut limits = limits();
    (limits.sessions_max, limits.sessions_per_user_max) = (3, 2);
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    backup(&root, "h1", 1_700_000_000, &[&Chunk::of("x")]).await;
    let [al, bo] =
        [server.user("al@pbs", "DatastoreAdmin").await, server.user("bo@pbs", "DatastoreAdmin").await];
    let first = begin(&al, "h2", 1_700_000_000).await;
    let _second = open(&al, "h1", 1_700_000_000).await;
    let path = reader_path("h1", 1_700_000_000);
    al.upgrade(&path, READER).await.unwrap_err().refused(503, "al@pbs has 2 open sessions already");
    let _third = open(&bo, "h1", 1_700_000_000).await;
    bo.upgrade(&path, READER).await.unwrap_err().refused(503, "3 sessions are open already");
    first.drop_connection().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(answer) = bo.upgrade(&path, READER).await {
        answer.refused(503, "3 sessions");
        assert!(Instant::now() < deadline, "the place of a session that ended stays taken");
    }
}

#[tokio::test]
async fn bodies_take_the_time_that_bandwidth_allows() {
    let mut limits = limits();
    let (user_in, store_out) = (1 << 20, 2 << 20);
    limits.bandwidth = Bandwidth { user_in, store_out, ..Bandwidth::default() };
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(5, 1 << 20));
    let begun = Instant::now();
    backup(&root, "h1", 1_700_000_000, &[&chunk]).await;
    assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
    let reader = open(&root, "h1", 1_700_000_000).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let begun = Instant::now();
    let path = format!("/chunk?digest={}", chunk.digest);
    let (one, two) = tokio::join!(reader.get(&path), reader.get(&path));
    assert!(one.body == chunk.encoded && two.body == chunk.encoded);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

// Goal: whoever sends a body byte by byte is given up, and so is whoever reads none of an answer (R18).
#[tokio::test]
async fn uploads_that_trickle_are_given_up() {
    let mut limits = limits();
    limits.upload = Duration::from_millis(300);
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    backup(&root, "h1", 1_700_000_000, &[&Chunk::of("x")]).await;
    let path =
        format!("/api2/json/admin/datastore/default/upload-backup-log?{}", triple("h1", 1_700_000_000));
    let mut stream = wire::connect(server.address).await.into_inner();
    let Auth::Ticket { ticket, csrf } = &root.auth else { panic!("no ticket") };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncookie: PBSAuthCookie={ticket}\r\ncsrfpreventiontoken: {csrf}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 100000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let trickle = async {
        let mut block = [0; 1024];
        loop {
            tokio::select! {
                read = stream.read(&mut block) => match read {
                    Ok(len) if len > 0 => answer.extend_from_slice(&block[..len]),
                    _ => return,
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => if stream.write_all(b"x").await.is_err() { return },
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), trickle).await.is_ok(), "the peer was kept");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("body took too long"), "{answer}");
}

/// Room for eight of the largest chunks.
const ROOM_BYTES: usize = 8 * BLOB_ENCODED_BYTES_MAX;

/// Four answers with a chunk each, of which their session takes nothing.
type Stuck = (Session, Vec<http::Response<hyper::body::Incoming>>);

/// Opens a session that takes nothing, and asks for the chunk four times: as much as one session gets at once.
async fn hold_four(wire: &Wire, chunk: &Chunk) -> Stuck {
    let path = reader_path("h1", 1_700_000_000);
    // Enough for the index.
    let session = wire.line().await.upgrade_with(wire, &path, READER, 5000).await.unwrap();
    session.get("/download?file-name=a.bin.didx").await.ok();
    let path = format!("/chunk?digest={}", chunk.digest);
    let heads = futures_util::future::join_all((0..4).map(|_| session.head_of(&path))).await;
    assert!(heads.iter().all(|head| head.status() == 200));
    (session, heads)
}

// Goal: nobody can keep others from their backups by taking none of what was asked for.
// Method: one user asks for as much as there is room for altogether; another one restores meanwhile.
#[tokio::test]
async fn a_reader_that_takes_nothing_holds_up_no_other_user() {
    let mut limits = limits();
    limits.download_bytes_max = ROOM_BYTES;
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(9, CHUNK_BYTES_MAX));
    backup(&root, "h1", 1_700_000_000, &[&chunk]).await;
    let al = server.user("al@pbs", "DatastoreAdmin").await;
    let _first = hold_four(&al, &chunk).await;
    let second =
        al.line().await.upgrade_with(&al, &reader_path("h1", 1_700_000_000), READER, 5000).await.unwrap();
    second.get("/download?file-name=a.bin.didx").await.ok();
    let path = format!("/chunk?digest={}", chunk.digest);
    let asked = futures_util::future::join_all((0..4).map(|_| second.head_of(&path)));
    let mut asked = Box::pin(asked);
    // What was asked for before has been looked at when this is answered.
    tokio::select! {
        _ = &mut asked => panic!("a user has more than a share"),
        answer = second.get("/speedtest") => drop(answer.ok()),
    }
    let reader = open(&root, "h1", 1_700_000_000).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let answer = tokio::time::timeout(Duration::from_mins(1), reader.get(&path)).await;
    assert!(answer.expect("one user holds up another").body == chunk.encoded);
}

// Goal: several users together cannot do it either, for longer than an upload may take.
#[tokio::test]
async fn readers_that_take_nothing_while_others_wait_are_ended() {
    let mut limits = limits();
    (limits.download_bytes_max, limits.upload) = (ROOM_BYTES, Duration::from_secs(1));
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(9, CHUNK_BYTES_MAX));
    backup(&root, "h1", 1_700_000_000, &[&chunk]).await;
    let [al, bo] =
        [server.user("al@pbs", "DatastoreAdmin").await, server.user("bo@pbs", "DatastoreAdmin").await];
    let _held = [hold_four(&al, &chunk).await, hold_four(&bo, &chunk).await];
    let reader = open(&root, "h1", 1_700_000_000).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let path = format!("/chunk?digest={}", chunk.digest);
    let answer = tokio::time::timeout(Duration::from_mins(1), reader.get(&path)).await;
    assert!(answer.expect("nobody is ended").body == chunk.encoded);
}

// Goal: nor can one stuck client hold up the others of its user.
#[tokio::test]
async fn a_reader_that_takes_nothing_while_its_own_user_waits_is_ended() {
    let mut limits = limits();
    (limits.download_bytes_max, limits.upload) = (ROOM_BYTES, Duration::from_secs(1));
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let chunk = Chunk::of(noise(9, CHUNK_BYTES_MAX));
    backup(&root, "h1", 1_700_000_000, &[&chunk]).await;
    let _held = hold_four(&root, &chunk).await;
    let reader = open(&root, "h1", 1_700_000_000).await;
    reader.get("/download?file-name=a.bin.didx").await.ok();
    let path = format!("/chunk?digest={}", chunk.digest);
    let answer = tokio::time::timeout(Duration::from_mins(1), reader.get(&path)).await;
    assert!(answer.expect("nobody is ended").body == chunk.encoded);
}

#[tokio::test]
async fn a_peer_that_reads_no_answer_is_dropped() {
    let mut limits = limits();
    (limits.ping_interval, limits.ping_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    let server = TestServer::start_with(limits).await;
    let root = server.root().await;
    let chunks: Vec<Chunk> = (0..8).map(|seed| Chunk::of(noise(seed + 1, 2 << 20))).collect();
    backup(&root, "h1", 1_700_000_000, &chunks.iter().collect::<Vec<_>>()).await;
    let path = format!(
        "/api2/json/admin/datastore/default/download-decoded?{}&file-name=a.bin.didx",
        triple("h1", 1_700_000_000)
    );
    // More than the buffers of both systems hold, so that the server waits for the peer.
    let stream = stall(server.address, &path, &root).await;
    let open = |text: &str| text.lines().any(|line| line == "coldkeep_connections 1");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !open(&root.get("/metrics").await.text()) {
        assert!(Instant::now() < deadline, "the peer was kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stream);
}

/// Asks for this with small buffers, and reads nothing.
async fn stall(address: SocketAddr, path: &str, wire: &Wire) -> wire::RawTls {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream: TcpStream = socket.connect(address).await.unwrap();
    let mut stream = wire::secure(stream).await;
    let Auth::Ticket { ticket, .. } = &wire.auth else { panic!("no ticket") };
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncookie: PBSAuthCookie={ticket}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

// Goal: SIGTERM does not cost a backup that is under way.
#[tokio::test]
async fn a_running_backup_may_end_after_sigterm() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut command = Serve::command(data_dir.path());
    command.args(["--listen", "127.0.0.1:0", "--shutdown-timeout", "300"]);
    let server = Serve::run(command);
    let root = Wire::login(server.address, "root@pam", server.value_of("password").unwrap()).await;
    let session = begin(&root, "h1", 1_700_000_000).await;
    server.signal("TERM");
    // From here on nobody new is let in.
    while TcpStream::connect(server.address).await.is_ok() {}
    let listed = write_dynamic(&session, "a.bin.didx", &[&Chunk::of(noise(1, 5000))], true).await;
    finish(&session, "h1", 1_700_000_000, &[listed]).await.ok();
    session.drop_connection().await;
    let begun = Instant::now();
    assert!(server.terminate().await);
    assert!(begun.elapsed() < Duration::from_mins(1), "the end took its whole time");
    assert!(data_dir.path().join("stores/default/host/h1/2023-11-14T22:13:20Z/index.json.blob").exists());
}
