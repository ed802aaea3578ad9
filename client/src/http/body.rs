//! Reading bodies with a limit.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::error::{Call, RequestError};

/// Most memory set aside because of a length that a peer merely announces.
const RESERVE_BYTES_MAX: u64 = 16 << 20;

/// Reads a whole body of at most `limit` bytes; one that arrives in a single frame is not copied.
pub(crate) async fn collect(call: &Call, mut body: Incoming, limit: usize) -> Result<Bytes, RequestError> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(RequestError::TooLong { call: call.clone(), limit });
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| RequestError::transport(call.clone(), source))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(RequestError::TooLong { call: call.clone(), limit });
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.min(RESERVE_BYTES_MAX) as usize);
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
