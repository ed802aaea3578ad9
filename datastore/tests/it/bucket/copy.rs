//! Copies into a bucket whose requests meet those of others.

use std::pin::Pin;

use coldkeep_chunk_store::blob::{Blob, Compression};
use coldkeep_chunk_store::testing::{Request, RequestKind, Which};
use coldkeep_chunk_store::{CheckedChunk, Digest, Inserted};
use coldkeep_datastore::IndexKind;

use crate::in_bucket::copy::{FIRST, STREAM, begin, original, spans};
use crate::support::{Fixture, chunk, name, snapshot, stream, upload_manifest};

const BACKUP: &str = "host/x/2026-01-01T00:00:00Z";
/// Encoded by a source and by a client, it need not be the same.
const DATA: &[u8] = &[7; 5000];

/// Where the first of two puts of one chunk stands still while the other one comes to its end.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// The other one lands first.
    Before,
    /// The other one finds it there.
    After,
}

/// Whose put it is.
#[derive(Debug, Clone, Copy)]
enum First {
    Backup,
    Copy,
}

type Put<'a> = Pin<Box<dyn Future<Output = Inserted> + 'a>>;

/// Lets a backup and a copy put the same chunk at a time.
async fn collide(first: First, at: Held) {
    let fixture = Fixture::in_bucket().await;
    let digest = Digest::of(DATA);
    let key = format!(".chunks/{}/{digest}", &digest.to_string()[..4]);
    let (index, manifest) = original(FIRST, &[DATA]);
    let copy = begin(&fixture).await;
    let making = copy.begin_snapshot(&snapshot(FIRST)).await.unwrap();
    assert_eq!(copy.missing_chunks(&spans(&index)).await.unwrap().len(), 1);
    let writer = fixture.begin(BACKUP).await;
    let wid = writer.create_dynamic(&name(STREAM)).await.unwrap();

    let uploaded = CheckedChunk::check(
        digest,
        DATA.len() as u64,
        Blob::encode(DATA, Compression::None).unwrap().into_bytes(),
    );
    let upload: Put<'_> =
        Box::pin(async { writer.upload_chunk(wid, IndexKind::Dynamic, uploaded.unwrap()).await.unwrap() });
    let put: Put<'_> = Box::pin(async { copy.put_chunk(chunk(DATA)).await.unwrap() });
    let (stands, passes) = match first {
        First::Backup => (upload, put),
        First::Copy => (put, upload),
    };
    let which = Which::next(RequestKind::PutNew).key(&key);
    let mut held = match at {
        Held::Before => fixture.backend().hold_before(which),
        Held::After => fixture.backend().hold_after(which),
    };
    let meanwhile = async {
        let request = held.arrived().await;
        let stored = passes.await;
        request.release();
        stored
    };
    let stored = <[Inserted; 2]>::from(tokio::join!(stands, meanwhile));
    let expected = match at {
        Held::Before => [true, false],
        Held::After => [false, true],
    };
    assert_eq!(stored.map(|stored| stored == Inserted::Known), expected, "{first:?} {at:?}: {stored:?}");
    let is_put = |request: &&Request| request.kind == RequestKind::PutNew && request.keys == [key.as_str()];
    assert_eq!(fixture.backend().log().iter().filter(is_put).count(), 2, "both were on their way");

    making.put_index(&name(STREAM), index).await.unwrap();
    making.finish(manifest).await.unwrap();
    let (entries, totals) = stream(&[DATA]);
    writer.append(wid, IndexKind::Dynamic, &entries).await.unwrap();
    writer.close_dynamic(wid, totals).await.unwrap();
    upload_manifest(&writer, &[STREAM], fixture.store.folder()).await;
    writer.finish().await.unwrap();
    drop((copy, writer));
    assert_eq!(fixture.check_whole().await, 2);
    assert_eq!(fixture.with_bucket_alone().await.check_whole().await, 2, "{first:?} {at:?}");
}

/// Goal: a copy that meets the upload of the same chunk by a backup, and the other way round, fails neither (R3, H5).
/// Method: the put of the one stands still while that of the other, whose encoding has another length, comes to its end.
#[tokio::test]
async fn h05_a_copy_and_a_backup_that_put_the_same_chunk_both_succeed() {
    for first in [First::Backup, First::Copy] {
        for at in [Held::Before, Held::After] {
            collide(first, at).await;
        }
    }
}
