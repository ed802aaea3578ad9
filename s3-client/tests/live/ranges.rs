//! GetObject with a range.

use bytes::Bytes;
use coldkeep_s3_client::ops::ContentRange;
use coldkeep_s3_client::{ByteRange, Cause, GetObject, RequestError, ServiceError};

use crate::env::Env;
use crate::sample;

const SIZE: u64 = 1000;

pub(crate) async fn each_kind_of_range_is_read(env: Env) {
    let content = sample::content(SIZE as usize, 1);
    let key = env.put("object", content.clone()).await;
    for (range, first, end) in [
        (ByteRange::Bounded { first: 0, last: 0 }, 0, 1),
        (ByteRange::Bounded { first: 0, last: 99 }, 0, 100),
        (ByteRange::Bounded { first: 500, last: 501 }, 500, 502),
        (ByteRange::Bounded { first: 0, last: 999 }, 0, SIZE),
        (ByteRange::Bounded { first: 999, last: 999 }, 999, SIZE),
        (ByteRange::Bounded { first: 990, last: 5000 }, 990, SIZE),
        (ByteRange::From(0), 0, SIZE),
        (ByteRange::From(990), 990, SIZE),
        (ByteRange::Last(10), 990, SIZE),
        (ByteRange::Last(SIZE), 0, SIZE),
    ] {
        let get = GetObject::new(key.clone()).with_range(range);
        let object = env.client().send(&get).await.unwrap().into_value();
        assert_eq!(object.content, content.slice(first as usize..end as usize), "{range:?}");
        let expected = ContentRange { first, last: end - 1, size: Some(SIZE) };
        assert_eq!(object.range, Some(expected), "{range:?}");
        assert_eq!(object.meta.size, Some(SIZE), "{range:?}");
    }
}

pub(crate) async fn more_than_there_is_at_the_end_is_all_or_refused(env: Env) {
    let content = sample::content(SIZE as usize, 2);
    let key = env.put("object", content.clone()).await;
    let get = GetObject::new(key).with_range(ByteRange::Last(5000));
    match env.client().send(&get).await {
        Ok(reply) => assert_eq!(reply.value.content, content),
        Err(error) if !env.has("range-416") => assert!(status(&error).is_some(), "{error:?}"),
        Err(error) => assert_eq!(status(&error), Some(416), "{error:?}"),
    }
}

pub(crate) async fn a_range_of_nothing_is_refused(env: Env) {
    let some = env.put("object", sample::content(SIZE as usize, 3)).await;
    let empty = env.put("empty", Bytes::new()).await;
    for (key, range) in [
        (&some, ByteRange::Bounded { first: SIZE, last: SIZE + 9 }),
        (&some, ByteRange::From(SIZE)),
        (&empty, ByteRange::Bounded { first: 0, last: 0 }),
        (&empty, ByteRange::From(0)),
        (&empty, ByteRange::Last(1)),
    ] {
        let get = GetObject::new(key.clone()).with_range(range);
        let error = env.client().send(&get).await.expect_err("there is no such range");
        if env.has("range-416") {
            assert_eq!(status(&error), Some(416), "{range:?} of {key}: {error:?}");
            assert_eq!(error.attempts(), 1, "{range:?} of {key}: {error:?}");
        } else {
            let is_typed = matches!(error.cause(), Cause::Refused(_) | Cause::Malformed(_));
            assert!(is_typed, "{range:?} of {key}: {error:?}");
        }
    }
}

pub(crate) async fn a_range_is_streamed(env: Env) {
    let content = sample::content(3 << 20, 4);
    let key = env.put("object", content.clone()).await;
    let get = GetObject::new(key).with_range(ByteRange::From(7));
    let mut stream = env.client().stream(&get).await.unwrap().into_value();
    assert_eq!(stream.range().map(|range| range.first), Some(7));
    let mut streamed = Vec::new();
    while let Some(piece) = stream.next().await.unwrap() {
        streamed.extend_from_slice(&piece);
    }
    assert!(streamed == content.slice(7..), "another range than was asked for");
}

fn status(error: &RequestError) -> Option<u16> {
    error.service_error().map(ServiceError::status)
}
