//! Moves of groups and namespaces inside a datastore (R16).
//!
//! A bucket renames nothing, and a rename on disk could hide an index from a mark that has listed the new place and not yet the old
//! one. So a move is what the chunk protocol knows already: a session that copies each snapshot and refreshes every chunk that it
//! names (R5), and then the removal of the originals. Moves and collections exclude each other all the same (R16): a collection
//! waits for a move, and a move is refused while one runs.
//!
//! A group is moved whole or not at all: all its snapshots are there, committed and locked against their removal, before the first one
//! goes here, and if one cannot be copied, those that were are removed again. A crash between may leave snapshots in both places; to
//! move the group again, merging, goes on from there.

mod error;
mod group;
mod namespace;

use std::sync::Arc;
use std::time::Duration;

pub use error::MoveError;
pub use namespace::MovedNamespace;

use crate::lock::{Hold, LockGuard, LockKey};
use crate::name::{GroupName, Namespace, SnapshotName};
use crate::store::Datastore;

/// The right to move in a datastore; no collection runs while it is there.
#[derive(Debug)]
pub struct Moves {
    store: Arc<Datastore>,
    _lock: LockGuard,
}

/// The right to collect; nothing is moved while it is there.
#[derive(Debug)]
pub struct NoMoves(#[expect(dead_code, reason = "held for its end")] LockGuard);

/// What is moved where.
#[derive(Debug, Clone)]
pub struct GroupMove {
    /// The namespace that the group is in.
    pub from: Namespace,
    /// The group.
    pub group: GroupName,
    /// The namespace that it is to be in, which exists.
    pub to: Namespace,
    /// Whether a group of the same name that is there is no reason to refuse: both become one.
    pub merges: bool,
}

/// Hears of a move and may end it.
pub trait MoveWatch: Send {
    /// A snapshot is there now; it is still here, too.
    fn copied(&mut self, snapshot: &SnapshotName);

    /// Nothing is left of a group here but what is not moved: what was begun and never finished, for a collection to remove.
    fn stays(&mut self, ns: &Namespace, group: &GroupName);

    /// Tells whether the move is to end; it then leaves the group where it was.
    fn is_cancelled(&self) -> bool;

    /// Tells whether a namespace with what is in it may be moved so that it becomes another one.
    fn may_move(&self, from: &Namespace, to: &Namespace) -> bool;
}

impl Datastore {
    /// Begins to move.
    ///
    /// # Errors
    /// [`MoveError::Collecting`], [`MoveError::Moving`].
    pub fn begin_moves(self: &Arc<Self>) -> Result<Moves, MoveError> {
        // It ends by itself, and waits only for locks whose holders wait for none: a collection can wait for it.
        match self.tree().locks.try_exclusive(LockKey::Moves, Hold::Passing) {
            Ok(lock) => Ok(Moves { store: Arc::clone(self), _lock: lock }),
            Err(refused) if refused.passes => Err(MoveError::Moving),
            Err(_) => Err(MoveError::Collecting),
        }
    }

    /// Waits for the end of moves, and keeps others from beginning as long as the result is there: for collections, from before
    /// they list the first index until they have read the last one (R16).
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn pause_moves(&self) -> NoMoves {
        loop {
            if let Ok(lock) = self.tree().locks.try_shared(LockKey::Moves) {
                return NoMoves(lock);
            }
            let clock = self.chunks().clock();
            self.tree().locks.has_passed(&LockKey::Moves, clock, Duration::MAX).await;
        }
    }
}
