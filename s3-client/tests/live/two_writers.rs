//! Two clients that put one key at once: none fails (R3 of Coldkeep's design).

use bytes::Bytes;
use coldkeep_s3_client::ops::DeleteTarget;
use coldkeep_s3_client::{CallOptions, Client, GetObject, ObjectKey, PutNew, PutObject, RequestError};

use crate::env::{Env, connect};
use crate::sample;

const ROUNDS: u64 = 1000;

/// Enough for several packets, so that bodies can overlap.
const CONTENT_BYTES: usize = 5000;

/// Goal: two clients that write one chunk at once both succeed, whatever the server makes of the condition.
/// Method: two clients with connections of their own, a new key a round, the same content, as objects have that are named by it.
pub(crate) async fn none_fails_in_a_thousand_rounds(env: Env) {
    race(&env, [0, 0]).await;
}

/// Goal: after such a race, and during it, the object is what one of them wrote, whole.
/// Method: as above, with different content to tell whose it is, and a reader in between.
pub(crate) async fn the_object_is_one_writers(env: Env) {
    race(&env, [0, 1]).await;
}

async fn race(env: &Env, seeds: [u64; 2]) {
    let writers = [connect(env.config()), connect(env.config())];
    let (mut created, mut keys) = (0, Vec::new());
    for round in 0..ROUNDS {
        let key = env.key(&format!("{round:04}"));
        let bodies = seeds.map(|seed| sample::content(CONTENT_BYTES, 2 * round + seed));
        let puts = [0, 1].map(|writer| put(writers[writer].clone(), key.clone(), bodies[writer].clone()));
        let [one, two] = puts.map(tokio::spawn);
        let get = GetObject::new(key.clone());
        let (one, two, read) = tokio::join!(one, two, env.client().send(&get));
        for result in [one.unwrap(), two.unwrap()] {
            let put = result.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            created += u64::from(matches!(put, PutNew::Created(_)));
        }
        match read {
            // What a reader gets during an overwrite can be torn (spec `s3-servers.md` §3, point 17).
            _ if !env.has("whole-reads") => {}
            Ok(reply) => {
                assert!(bodies.contains(&reply.value.content), "round {round}: a reader saw neither");
            }
            Err(error) => assert!(error.is_not_found(), "round {round}: {error:?}"),
        }
        assert!(bodies.contains(&env.content(&key).await), "round {round}: the object is neither's");
        keys.push(DeleteTarget::new(key));
    }
    if env.has("conditional-put-atomic") {
        assert_eq!(created, ROUNDS, "each key is created once");
    }
    let report = env.client().delete_batch(&keys, &CallOptions::new()).await.unwrap().into_value();
    assert_eq!(report.deleted.len() as u64, ROUNDS);
}

async fn put(client: Client, key: ObjectKey, content: Bytes) -> Result<PutNew, RequestError> {
    let put = PutObject::new(key, content);
    client.put_new_or_overwrite(&put, &CallOptions::new()).await.map(|reply| reply.value)
}
