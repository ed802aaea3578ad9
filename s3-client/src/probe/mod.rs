//! Finding out by behaviour what a server does.
//!
//! Tables of providers age, and a provider's name says little about the software behind it. [`Client::probe`] asks the server at hand: it
//! writes, reads, lists and deletes below a random prefix of its own, lets writers race, signs requests at times long past, and reports what
//! came of it as a [`ProbeReport`]. What it looks for are the differences that spec `s3-servers.md` lists.
//!
//! ```no_run
//! # async fn example(client: coldkeep_s3_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use coldkeep_s3_client::ProbeOptions;
//!
//! let report = client.probe(&ProbeOptions::new()).await?;
//! println!("{report}");
//! let config = client.config().clone();
//! let config = config.with_quirks(report.quirks()).with_signature_window(report.signature_window());
//! # Ok(())
//! # }
//! ```
//!
//! How it is made: each part (`conditions`, `deletes`, `integrity`, `listing`, `odd_keys`, `reading`, `bucket`, `signatures`, `freshness`)
//! gathers facts, and a pure function beside it decides what they mean. Nothing waits for time to pass.

mod bare;
mod bucket;
mod cleanup;
mod clock;
mod conditions;
mod deletes;
mod display;
mod findings;
mod freshness;
mod integrity;
mod listing;
mod odd_keys;
mod options;
mod reading;
mod report;
mod session;
mod signatures;
#[cfg(feature = "serde")]
mod stored;
mod warning;

pub use findings::{
    BucketVersions, ClockOffset, ConditionClass, Found, KeyEncoding, KeyFault, MultiDelete, OddKey,
    Presigning, Ranges, Refresh, RequestBound, SignatureWindow, TagForm, Verification,
};
pub use options::{InvalidPrefix, PROBE_PREFIX_BYTES_MAX, ProbeOptions};
pub use report::{
    BucketSettings, ConditionalPut, Dates, Deletes, Integrity, Listings, ProbeReport, Reading, SignatureAge,
    Signatures,
};
pub use warning::Warning;

use self::bare::Bare;
use self::session::{Attempts, Session};
use crate::call::{Signing, within};
use crate::client::Client;
use crate::error::{Cause, Operation, RequestError};
use crate::ops::{GetObject, PutObject};
use crate::outcome::Outcome;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// Finds out what the server does, and removes what that left behind.
    ///
    /// It depends on the client's endpoint, addressing, bucket, credentials, limits, timeouts and retry policy, and on nothing else of its
    /// configuration: quirks and checksums that are set do not change what is asked. It sends some 250 small requests, most of them 16 at a
    /// time, and for each writer of each race (of which there are two kinds) a HEAD and a put of 16 KiB: 450 in all by default. On a server
    /// that is near it takes one to six seconds.
    ///
    /// # Errors
    /// An object cannot be put, read or deleted as plainly as can be: permissions, network, no such bucket. Then the one key
    /// `…/coldkeep-probe-…/basic` may be left. Everything else is a finding.
    ///
    /// # Cancel safety
    /// Dropping the future leaves objects below the prefix `coldkeep-probe-…/`. To bound the time, set
    /// [`ProbeOptions::with_time_max`]: the probe then tidies up, for a minute at most.
    pub async fn probe(&self, options: &ProbeOptions) -> Result<ProbeReport, RequestError> {
        let engine = self.engine();
        let session = Session::new(engine, options);
        let mut report = ProbeReport::default();
        let (limit, begun_at) = (options.time_max, engine.clock.monotonic());
        let Some(basic) = within(&*engine.clock, limit, Box::pin(basics(&session))).await else {
            Box::pin(cleanup::clean(&session, &report)).await;
            return Err(session.error(Operation::PutObject, Cause::TimedOut { limit }));
        };
        if let Err(error) = basic {
            // A put that did nothing has left nothing, and a server that takes none need not be asked to delete.
            if error.operation() != Operation::PutObject || error.outcome() != Outcome::NONE {
                Box::pin(cleanup::clean(&session, &report)).await;
            }
            return Err(error);
        }
        let left = limit.saturating_sub(engine.clock.monotonic().saturating_sub(begun_at));
        let asked = within(&*engine.clock, left, Box::pin(ask(&session, &mut report))).await;
        report.is_complete = asked.is_some();
        report.remains = Box::pin(cleanup::clean(&session, &report)).await;
        let notes = session.notes();
        report.server.clone_from(&notes.server);
        report.dates.offset = notes.clock.offset();
        report.dates.modified_ahead = notes.modified_ahead;
        drop(notes);
        Ok(report)
    }
}

/// Puts, reads and deletes one object.
async fn basics<T: Transport>(session: &Session<'_, T>) -> Result<(), RequestError> {
    let key = session.key("basic");
    let put = Bare::new(PutObject::new(key.clone(), "basic"));
    session.put_with(&key, &put, Attempts::Configured, Signing::EachAttempt).await?;
    let get = Bare::new(GetObject::new(key.clone()));
    session.ask_with(&get, Attempts::Configured, Signing::EachAttempt).await?;
    session.delete(&key, Attempts::Configured, Signing::EachAttempt).await?;
    Ok(())
}

/// Asks everything; what was found so far stands in the report if the time is up before the end.
async fn ask<T: Transport>(session: &Session<'_, T>, report: &mut ProbeReport) {
    let begun = freshness::begin(session).await;
    report.bucket = bucket::settings(session).await;
    report.put_if_absent = conditions::put_if_absent(session).await;
    (report.compare_and_swap, report.tag_form) = conditions::compare_and_swap(session).await;
    let keeps_versions = report.bucket.versions == BucketVersions::Kept;
    report.deletes = deletes::deletes(session, keeps_versions).await;
    report.integrity = integrity::integrity(session).await;
    report.listing = listing::listings(session).await;
    let odd = odd_keys::odd_keys(session, report.listing.encoding).await;
    (report.odd_keys, report.odd_keys_tried, report.listing.encoding) = (odd.faults, odd.tried, odd.encoding);
    report.reading = reading::reading(session).await;
    let has_multi_delete = report.deletes.multi == MultiDelete::Works;
    report.signatures = signatures::signatures(session, has_multi_delete).await;
    (report.dates.put_again, report.dates.copy_onto_itself) = freshness::end(session, begun).await;
}
