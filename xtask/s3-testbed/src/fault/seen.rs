//! What happened to each request.

use super::{FaultKind, RequestHead};

/// One request that came to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `PUT`, …
    pub method: String,
    /// As sent, still encoded.
    pub path: String,
    /// As sent, still encoded.
    pub query: String,
    /// On which connection of the client, counted from 0.
    pub connection: usize,
    /// What was done to it.
    pub fault: FaultKind,
    /// Whether the origin got the request whole and answered it, so that its effect took place.
    pub forwarded: bool,
    /// The status that was sent to the client, if any.
    pub answered: Option<u16>,
    /// It waits at a gate, or stalls.
    pub stalled: bool,
    /// Nothing more will happen to it.
    pub finished: bool,
}

impl Seen {
    pub(crate) fn new(head: &RequestHead, connection: usize, fault: FaultKind) -> Seen {
        Seen {
            method: head.method.clone(),
            path: head.path().to_owned(),
            query: head.query().to_owned(),
            connection,
            fault,
            forwarded: false,
            answered: None,
            stalled: false,
            finished: false,
        }
    }
}
