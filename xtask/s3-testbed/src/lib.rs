//! An S3 server in memory and a proxy that misbehaves, for the tests of Coldkeep's S3 client and of what stands on it.
//!
//! - [`MemoryS3`] answers as S3 does, on loopback, with a clock that the test sets. It checks the *form* of a request (is it signed, does
//!   the signature cover what it must, is its date acceptable, does the body match its hashes), not secrets: that the signature itself is
//!   right is shown by published vectors and by servers that others wrote.
//! - [`FaultProxy`] stands between a client and any origin, this one or a real server, and does to each request what the test scripted:
//!   cuts, resets, stalls, lost replies, late effects, early answers, nonsense.
//! - [`Choices`] are what a test does by chance, the same for the same seed, as the proxy's faults are ([`FaultProxy::randomly`]).
//!
//! Nothing here sleeps, and no test needs to: every state that a test could wait for is an event ([`FaultProxy::until`],
//! [`MemoryS3::logged`], [`Gate`]).
//!
//! What it is not: an S3 server for data that somebody needs, or a judge of signatures.
//!
//! ```
//! use coldkeep_s3_testbed::{Answer, End, Fault, FaultProxy, MemoryS3};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let origin = MemoryS3::start().await;
//! origin.create_bucket("backups");
//! let proxy = FaultProxy::start(origin.address()).await;
//! proxy.next(Fault::LostReply(End::Reset)); // The put takes effect, the client sees a reset …
//! proxy.next(Fault::Answer(Answer::error(503, "SlowDown").header("Retry-After", "1"))); // … and its retry is slowed down.
//! // Point the client at `proxy.endpoint()`, run it, then look at `proxy.seen()` and `origin.log()`.
//! # });
//! ```
//!
//! # Panics
//! Starting a server panics where loopback has no free port, and looking at state panics after a panic of another thread that held it:
//! in a test that is the right report.

mod choices;
mod clock;
mod fault;
mod gate;
mod memory;
mod tasks;

pub use crate::choices::Choices;
pub use crate::clock::TestClock;
pub use crate::fault::answer::Answer;
pub use crate::fault::odds::Odds;
pub use crate::fault::proxy::FaultProxy;
pub use crate::fault::seen::Seen;
pub use crate::fault::{EarlyEnd, End, Fault, FaultKind, RequestHead};
pub use crate::gate::Gate;
pub use crate::memory::held::Held;
pub use crate::memory::log::Logged;
pub use crate::memory::object::Object;
pub use crate::memory::options::{ConditionalPut, Lack, Options};
pub use crate::memory::server::MemoryS3;
