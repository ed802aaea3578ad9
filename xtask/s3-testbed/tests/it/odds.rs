//! Faults by chance.

use coldkeep_s3_testbed::{FaultKind, FaultProxy, Odds};

use crate::client::{Client, origin, signed};

async fn run(seed: u64, odds: Odds) -> Vec<(FaultKind, bool)> {
    let origin = origin().await;
    let proxy = FaultProxy::start(origin.address()).await;
    proxy.randomly(seed, odds);
    for n in 0..150 {
        // Whatever happens: the next request gets a connection of its own.
        let mut client = Client::connect(proxy.address()).await;
        if client.send(&signed("PUT", &format!("/b/{n}"), &[], b"content")).await.is_ok() {
            let _ = client.answer().await;
        }
    }
    proxy.release_all();
    let seen = proxy.finished(150).await;
    for (n, request) in seen.iter().enumerate() {
        assert_eq!(request.forwarded, origin.object("b", &n.to_string()).is_some(), "{request:?}");
    }
    seen.into_iter().map(|request| (request.fault, request.forwarded)).collect()
}

#[tokio::test]
async fn one_seed_gives_one_run() {
    let first = run(42, Odds::each(40)).await;
    assert!(first.iter().any(|(fault, _)| *fault == FaultKind::Late));
    assert!(first.iter().any(|(fault, _)| *fault == FaultKind::Pass));
    assert_eq!(first, run(42, Odds::each(40)).await);
    assert_ne!(first, run(43, Odds::each(40)).await);
}
