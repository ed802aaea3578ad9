//! In-memory implementations of the traits and their conformance suites (feature `testing`).
//!
//! Each suite is one `async fn` that panics with a description of what does not hold; it runs on memory, disk,
//! simulated and real implementations alike.

mod call_gate;
mod clock;
mod held_call;
mod in_place;
mod memory_backend;
mod memory_dir;
mod memory_faults;
mod memory_files;
mod memory_markers;
mod random;
mod staged_backend;
mod suite_backend;
mod suite_dir;
mod suite_markers;

pub use call_gate::CallGate;
pub use clock::ManualClock;
pub use held_call::{HeldCall, HeldCalls};
pub use in_place::InPlace;
pub(crate) use in_place::place_of_work;
pub use memory_backend::MemoryBackend;
pub use memory_dir::MemoryDir;
pub use memory_faults::Room;
pub use random::TestRandom;
pub use staged_backend::{Held, HeldRequest, Late, Request, RequestKind, StagedBackend, Which};
pub use suite_backend::check_object_backend;
pub use suite_dir::check_chunk_dir;
pub use suite_markers::check_marker_dir;
