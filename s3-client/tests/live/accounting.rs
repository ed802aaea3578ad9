//! Many requests at once, and the count of them.

use coldkeep_s3_client::{DeleteObject, GetObject, Operation, PutObject};
use futures_util::future::join_all;

use crate::env::{Env, connect};
use crate::sample;

const AT_ONCE: u64 = 64;

pub(crate) async fn sixty_four_at_once_do_not_mix_up(env: Env) {
    let client = connect(env.config());
    let content = |number: u64| sample::content(100_000 + number as usize, number);
    let tasks = (0..AT_ONCE).map(|number| {
        let (client, key) = (client.clone(), env.key(&format!("{number:02}")));
        tokio::spawn(async move {
            client.send(&PutObject::new(key.clone(), content(number))).await.unwrap();
            let object = client.send(&GetObject::new(key)).await.unwrap().into_value();
            assert!(object.content == content(number), "{number}: other content than was put");
        })
    });
    for result in join_all(tasks).await {
        result.unwrap();
    }
    let gets = (0..AT_ONCE).map(|number| {
        let (client, key) = (client.clone(), env.key(&format!("{number:02}")));
        tokio::spawn(async move {
            let object = client.send(&GetObject::new(key)).await.unwrap().into_value();
            assert!(object.content == content(number), "{number}: content of another object");
        })
    });
    for result in join_all(gets).await {
        result.unwrap();
    }
    let total = client.stats().total();
    assert_eq!((total.requests, total.failed), (3 * AT_ONCE, 0), "{total:?}");
}

pub(crate) async fn every_request_is_counted(env: Env) {
    let client = connect(env.config());
    let key = env.key("object");
    client.send(&PutObject::new(key.clone(), sample::content(1000, 1))).await.unwrap();
    client.clone().send(&GetObject::new(key.clone())).await.unwrap();
    client.send(&DeleteObject::new(key.clone())).await.unwrap();
    client.send(&GetObject::new(key)).await.unwrap_err();
    let stats = client.stats();
    let put = &stats.operations[&Operation::PutObject];
    assert_eq!((put.requests, put.attempts, put.failed, put.bytes_sent), (1, 1, 0, 1000));
    assert!(put.latency.quantile(1.0).is_some(), "{put:?}");
    let get = &stats.operations[&Operation::GetObject];
    assert_eq!((get.requests, get.attempts, get.retries, get.failed), (2, 2, 0, 1));
    assert!(get.bytes_received >= 1000, "{get:?}");
    assert_eq!(get.errors["NoSuchKey"], 1);
    assert_eq!(stats.total().requests, 4);
}
