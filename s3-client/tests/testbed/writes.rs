//! The requests that change something, so that each fault can meet each of them.

use coldkeep_s3_client::ops::{
    CompleteMultipartUpload, CopyObject, CreateMultipartUpload, DeleteObjects, DeleteTarget, UploadPart,
};
use coldkeep_s3_client::{CallOptions, DeleteObject, Outcome, Reply, RequestError};

use crate::scene::*;

/// A request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Put,
    PutIfAbsent,
    Delete,
    MultiDelete,
    Complete,
    Copy,
}

impl Write {
    pub(crate) const ALL: [Write; 6] =
        [Write::Put, Write::PutIfAbsent, Write::Delete, Write::MultiDelete, Write::Complete, Write::Copy];
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) attempts: u32,
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<RequestError>,
}

impl Ended {
    fn of<T>(result: Result<Reply<T>, RequestError>) -> Ended {
        match result {
            Ok(reply) => Ended { attempts: reply.attempts, outcome: reply.outcome, error: None },
            Err(error) => Ended { attempts: error.attempts(), outcome: error.outcome(), error: Some(error) },
        }
    }

    pub(crate) fn facts(&self) -> (bool, u32, Outcome) {
        (self.error.is_none(), self.attempts, self.outcome)
    }
}

impl Scene {
    /// Prepares for `write`, scripts what becomes of its attempts by `faults`, and carries it out.
    pub(crate) async fn write(&self, write: Write, faults: impl FnOnce(&Scene)) -> Ended {
        self.write_with(write, &CallOptions::default(), faults).await
    }

    pub(crate) async fn write_with(
        &self,
        write: Write,
        options: &CallOptions,
        faults: impl FnOnce(&Scene),
    ) -> Ended {
        let client = &self.client;
        match write {
            Write::Put => {
                faults(self);
                Ended::of(client.send_with(&put("k", "new"), options).await)
            }
            Write::PutIfAbsent => {
                faults(self);
                Ended::of(client.send_with(&put("k", "new").if_absent(), options).await)
            }
            Write::Delete => {
                self.origin.insert(BUCKET, "k", "old");
                faults(self);
                Ended::of(client.send_with(&DeleteObject::new(key("k")), options).await)
            }
            Write::MultiDelete => {
                self.origin.insert(BUCKET, "k", "old");
                faults(self);
                let targets = ["k", "other"].map(|name| DeleteTarget::new(key(name)));
                Ended::of(client.send_with(&DeleteObjects::new(targets), options).await)
            }
            Write::Complete => {
                let upload = client.send(&CreateMultipartUpload::new(key("k"))).await.unwrap().into_value();
                let part = UploadPart::new(upload.clone(), 1, "new");
                let part = client.send(&part).await.unwrap().into_value();
                faults(self);
                Ended::of(client.send_with(&CompleteMultipartUpload::new(upload, [part]), options).await)
            }
            Write::Copy => {
                self.origin.insert(BUCKET, "source", "new");
                faults(self);
                let copy = CopyObject::new(BUCKET.parse().unwrap(), key("source"), key("k"));
                Ended::of(client.send_with(&copy, options).await)
            }
        }
    }

    /// Whether the effect of `write` is there.
    pub(crate) fn has_effect(&self, write: Write) -> bool {
        let wanted = match write {
            Write::Delete | Write::MultiDelete => None,
            Write::Put | Write::PutIfAbsent | Write::Complete | Write::Copy => Some("new".to_owned()),
        };
        self.held("k") == wanted
    }

    /// The attempts of the request scripted last and how many of them the server got; requests that prepared for it do not count.
    pub(crate) fn attempts_of(&self, write: Write) -> (usize, usize) {
        let (seen, forwarded) = self.counts();
        let before = if write == Write::Complete { 2 } else { 0 };
        (seen - before, forwarded - before)
    }
}
