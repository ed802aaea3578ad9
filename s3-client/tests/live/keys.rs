//! Keys: whatever S3 allows comes back byte for byte, or not at all.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use coldkeep_s3_client::ops::{CopyObject, ListObjectsV2};
use coldkeep_s3_client::{
    Clock as _, DeleteObject, GetObject, HeadObject, KEY_BYTES_MAX, ObjectKey, PutObject, RequestError,
    SystemClock,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config as ProptestConfig, RngAlgorithm, TestRng, TestRunner};

use crate::between::fetch;
use crate::env::Env;
use crate::many;
use crate::runner::chain;

const GENERATED: usize = 300;

/// What comes after a prefix.
const ODD: &[&str] = &[
    "a b",
    " leading",
    "trailing ",
    "two  spaces",
    "a+b",
    "+",
    "%",
    "a%20b",
    "%2F",
    "%25",
    "100%",
    "a~b",
    "~",
    "ä",
    "a\u{308}",
    "日本語",
    "😀",
    "\u{10ffff}",
    "ﬀ",
    "Å\u{212b}",
    "a//b",
    "a///b",
    "a/",
    "/a",
    "//a",
    "/",
    "a/./b",
    "a/../b",
    "../a",
    "./a",
    ".",
    "..",
    ".hidden",
    "a.",
    "a/.",
    "a/..",
    "\"",
    "'",
    "<&>",
    "&amp;",
    "]]>",
    "[a]",
    "{a}",
    "a\\b",
    "a?b",
    "a#b",
    "a;b",
    "a:b",
    "a=b&c=d",
    "a,b",
    "a@b",
    "a$b",
    "a!b",
    "a*b",
    "(a)",
    "a|b",
    "a^b",
    "a`b",
    "\u{1}",
    "a\u{1f}b",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}a",
    "\u{202e}a",
    "?versionId=1",
    "?delete",
    "a?uploads",
    "null",
    "%00",
    "a%0Ab",
    "COM1",
    "a.B.c",
    "UPPER",
    "upper",
];

/// Goal: any key round-trips through a real server.
/// Method: a table of keys that trip somebody, and generated ones, each through put, list, get, head, copy, a link, and delete. On a server
/// that cannot hold odd keys (row of the matrix) each must still come back whole or end in an error that says so; how many do is printed.
pub(crate) async fn odd_keys_round_trip(env: Env) {
    let mut names: Vec<String> = ODD.iter().map(|&name| name.to_owned()).collect();
    if env.has("long-names") {
        let left = KEY_BYTES_MAX - env.key_prefix().len() - "00/".len();
        names.extend(["x".repeat(left), "ü".repeat(left / 2)]);
    }
    if env.has("line-feeds") {
        names.extend(["a\nb".to_owned(), "a\r\nb".to_owned()]);
    }
    names.push("a/".repeat(200));
    let mut keys = keys(&env, &names);
    // At the bucket's root, which ours is not: begins with a slash, and says whose it is behind it.
    keys.push(ObjectKey::new(format!("/{}root", env.key_prefix())).unwrap());
    round_trip_all(&env, &keys).await;
}

pub(crate) async fn generated_keys_round_trip(env: Env) {
    let seed = RandomState::new().hash_one("keys");
    println!("{}: seed {seed}", env.key_prefix());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let has_line_feeds = env.has("line-feeds");
    let char = prop_oneof![
        4 => any::<char>().prop_filter("S3 has no NUL", move |char| *char != '\0' && (has_line_feeds || *char != '\n')),
        4 => proptest::char::range(' ', '~'),
        2 => proptest::sample::select(vec!['/', '.', '+', '%', ' ', '~', '&', '?', '\u{1}', '\u{7f}']),
    ];
    let name = proptest::collection::vec(char, 1..40);
    let names: BTreeSet<String> =
        (0..GENERATED).map(|_| name.new_tree(&mut runner).unwrap().current().into_iter().collect()).collect();
    let names: Vec<_> = names.into_iter().collect();
    round_trip_all(&env, &keys(&env, &names)).await;
}

/// A key for each name, below prefixes that are no longer than four bytes.
fn keys(env: &Env, names: &[String]) -> Vec<ObjectKey> {
    names.iter().enumerate().map(|(idx, name)| env.key(&format!("{idx}/{name}"))).collect()
}

/// The keys of Coldkeep: lower-case hexadecimal digits below short prefixes work everywhere (spec `s3-servers.md` §3, point 18).
pub(crate) async fn plain_keys_round_trip(env: Env) {
    let keys: Vec<_> = (0_u64..50)
        .map(|number| {
            let digest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            env.key(&format!("chunks/{:04x}/{digest:016x}{digest:048x}", digest >> 48))
        })
        .collect();
    let faults = round_trips(&env, &keys).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

async fn round_trip_all(env: &Env, keys: &[ObjectKey]) {
    let faults = round_trips(env, keys).await;
    for fault in &faults {
        let name = fault.key.as_str().strip_prefix(&env.key_prefix()).unwrap_or(fault.key.as_str());
        println!("  {}: {}", name.escape_debug(), fault.what);
    }
    println!("  {} of {} keys do not work", faults.len(), keys.len());
    if env.has("odd-keys") {
        assert!(faults.is_empty());
    }
    assert!(faults.iter().all(|fault| !fault.is_silent), "wrong content, and no error");
}

/// A key that does not come back.
#[derive(Debug)]
struct Fault {
    key: ObjectKey,
    what: String,
    /// The server said that all was well, and gave the wrong thing.
    is_silent: bool,
}

async fn round_trips(env: &Env, keys: &[ObjectKey]) -> Vec<Fault> {
    // Below a prefix of its own each, so that one that breaks a listing does not spoil it for another, nor `x` is in the way of `x/y`.
    let trips = keys.iter().map(|key| async move {
        let result = round_trip(env, key).await;
        let _ = env.client().send(&DeleteObject::new(key.clone())).await;
        result.err()
    });
    many::all(trips).await.into_iter().flatten().collect()
}

async fn round_trip(env: &Env, key: &ObjectKey) -> Result<(), Fault> {
    let client = env.client();
    let failed = |what: &str, error: &RequestError| Fault {
        key: key.clone(),
        what: format!("{what}: {}", chain(error.cause())),
        is_silent: false,
    };
    let silent = |what: &str| Fault { key: key.clone(), what: what.to_owned(), is_silent: true };
    // Different for each key, so that no other object passes for this one.
    let content = Bytes::from(format!("content of {key}"));

    client
        .send(&PutObject::new(key.clone(), content.clone()))
        .await
        .map_err(|error| failed("put", &error))?;
    let got = client.send(&GetObject::new(key.clone())).await.map_err(|error| failed("get", &error))?;
    if got.value.content != content {
        return Err(silent("get: another object"));
    }
    let head = client.send(&HeadObject::new(key.clone())).await.map_err(|error| failed("head", &error))?;
    if head.value.size != Some(content.len() as u64) {
        return Err(silent("head: another object"));
    }
    let mut listing = client.list(ListObjectsV2::new().with_prefix(key.as_str()));
    let mut listed = Vec::new();
    while let Some(object) = listing.next_object().await.map_err(|error| failed("list", &error))? {
        listed.push(object.key);
    }
    if listed != [key.clone()] {
        // No error that a client could see: such keys are not for a server that does this.
        return Err(Fault { is_silent: false, ..silent(&format!("list: {listed:?}")) });
    }

    let copy = env.key(&format!("copy of {:016x}", RandomState::new().hash_one(key)));
    let op = CopyObject::new(env.config().bucket().clone(), key.clone(), copy.clone());
    client.send(&op).await.map_err(|error| failed("copy from it", &error))?;
    let is_same = env.content(&copy).await == content;
    client.send(&DeleteObject::new(key.clone())).await.map_err(|error| failed("delete", &error))?;
    if env.is_there(key).await {
        return Err(silent("delete: it is still there"));
    }
    let op = CopyObject::new(env.config().bucket().clone(), copy.clone(), key.clone());
    client.send(&op).await.map_err(|error| failed("copy to it", &error))?;
    client.send(&DeleteObject::new(copy)).await.map_err(|error| failed("delete of the copy", &error))?;
    if !is_same {
        return Err(silent("copy: another object"));
    }

    if env.has("presign") {
        let now = SystemClock::new().now();
        let link = client.presign(&GetObject::new(key.clone()), now, Duration::from_mins(1)).await.unwrap();
        let got = fetch(&env.config(), link, Bytes::new()).await;
        if got.body != content {
            let what = format!("link: status {}, {}", got.status, String::from_utf8_lossy(&got.body));
            return Err(Fault { is_silent: got.status.is_success(), ..silent(&what) });
        }
    }
    Ok(())
}
