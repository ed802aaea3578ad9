//! An S3 server within the process, with any number of chunks by formula and the same latency for every request.
//!
//! It knows what a store asks of a bucket while it is opened and collected: pages of a listing, multi-deletes, and small objects with
//! conditions. It checks no signature. Everything else is refused, so that a collector that asks for more does not measure wrongly.

mod answer;
mod counts;
mod files;
mod listing;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::Digest;
use coldkeep_s3_client::transport::{Transport, TransportError};
use coldkeep_s3_client::{RequestBody, ResponseBody};
use http::{Method, Request, Response, request};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::bits::Bits;
use crate::bucket::answer::{Answer, refusal};
use crate::bucket::counts::Kind;
pub(crate) use crate::bucket::counts::{Counts, Requests};
use crate::bucket::files::Files;
pub(crate) use crate::bucket::listing::AGE;
use crate::bucket::listing::{ListQuery, Listed};
use crate::objects::Objects;

/// The bucket's name in addresses.
pub(crate) const BUCKET: &str = "bench";
/// The prefix of the store in the bucket, without a slash.
pub(crate) const STORE: &str = "store";

/// Holds the bucket; a clone is another handle of it.
#[derive(Debug, Clone)]
pub(crate) struct SyntheticBucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Objects,
    deleted: Bits,
    files: Files,
    latency: Duration,
    counts: Counts,
    listed: Listed,
}

impl SyntheticBucket {
    /// Makes a bucket that holds all of `objects` and answers after `latency`.
    pub(crate) fn new(objects: Objects, latency: Duration) -> SyntheticBucket {
        let shared = Shared {
            objects,
            deleted: Bits::new(objects.count()),
            files: Files::default(),
            latency,
            counts: Counts::default(),
            listed: Listed::new(),
        };
        SyntheticBucket { shared: Arc::new(shared) }
    }

    /// Puts an object of the store beside its chunks.
    pub(crate) fn put(&self, name: &str, content: impl Into<Bytes>) {
        self.shared.files.put(&format!("{STORE}/{name}"), content.into());
    }

    /// What was asked for so far.
    pub(crate) fn requests(&self) -> Requests {
        self.shared.counts.requests()
    }

    /// Most requests that were under way at once.
    pub(crate) fn requests_at_once(&self) -> u64 {
        self.shared.counts.at_once()
    }

    /// How many chunks were deleted.
    pub(crate) fn deleted(&self) -> u64 {
        self.shared.deleted.count_set()
    }
}

impl Transport for SyntheticBucket {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, TransportError> {
        let answered_at = Instant::now() + self.shared.latency;
        let (head, mut body) = request.into_parts();
        let mut content = Vec::with_capacity(body.remaining() as usize);
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await {
            content.extend_from_slice(&piece);
        }
        let (kind, answer) = self.shared.answer(&head, &content.into());
        let _under_way = self.shared.counts.begin(kind);
        if !self.shared.latency.is_zero() {
            tokio::time::sleep_until(answered_at).await;
        }
        Ok(answer.into_response())
    }
}

impl Shared {
    /// Carries a request out.
    fn answer(&self, head: &request::Parts, body: &Bytes) -> (Kind, Answer) {
        let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
        let query = Query(head.uri.query().unwrap_or_default());
        let key = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(_, key)| key);
        let headers = &head.headers;
        match (&head.method, key) {
            (&Method::GET, "") if query.get("list-type").is_some() => (Kind::List, self.list(&query)),
            (&Method::POST, "") if query.get("delete").is_some() => (Kind::MultiDelete, self.delete(body)),
            (&Method::HEAD, "") => (Kind::Head, Answer::empty(200)),
            (&Method::HEAD, _) => (Kind::Head, self.head(key)),
            (&Method::GET, _) => (Kind::Get, self.files.get(key)),
            (&Method::PUT, _) if !headers.contains_key("x-amz-copy-source") => {
                (Kind::Put, self.files.put_if(key, headers, body.clone()))
            }
            _ => (Kind::Other, refusal(501, "NotImplemented")),
        }
    }

    fn list(&self, query: &Query<'_>) -> Answer {
        let get = |name| query.get(name);
        let (prefix, token, start_after) = (get("prefix"), get("continuation-token"), get("start-after"));
        let keys_max = get("max-keys").map_or(Some(1000), |text| text.parse().ok());
        let (Some(keys_max), None) = (keys_max, get("delimiter")) else {
            return refusal(501, "NotImplemented");
        };
        let query = ListQuery { prefix: prefix.unwrap_or_default(), token, start_after, keys_max };
        self.listed.page(&query, self).map_or_else(|| refusal(501, "NotImplemented"), Answer::document)
    }

    fn head(&self, key: &str) -> Answer {
        match self.chunk_of(key) {
            Some(number) if !self.deleted.is_set(number) => self.listed.head(number),
            Some(_) => Answer::empty(404),
            None => self.files.head(key),
        }
    }

    /// Deletes all that a request names; what is not there counts as deleted, as on S3.
    fn delete(&self, body: &[u8]) -> Answer {
        let Ok(text) = std::str::from_utf8(body) else { return refusal(400, "MalformedXML") };
        let is_quiet = text.contains("<Quiet>true</Quiet>");
        let mut report = String::from(answer::DECLARATION);
        report.push_str("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        // Keys of a store need no escapes.
        for key in text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0)) {
            match self.chunk_of(key) {
                Some(number) => self.deleted.set(number),
                None => self.files.remove(key),
            }
            if !is_quiet {
                report.extend(["<Deleted><Key>", key, "</Key></Deleted>"]);
            }
        }
        report.push_str("</DeleteResult>");
        Answer::document(report)
    }

    fn chunk_of(&self, key: &str) -> Option<u64> {
        let (folder, name) = key.strip_prefix(listing::CHUNKS)?.split_once('/')?;
        let digest: Digest = name.parse().ok().filter(|_| name.starts_with(folder))?;
        self.objects.number_of(&digest)
    }
}

/// The query of a request's address.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
        values.next().map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests;
