//! The scenarios, and what they start from.

mod chunks;
mod generations;

use chunks::CHUNKS;
use generations::GENERATIONS;

use super::{Claims, Item, Scenario};
use crate::state::{EARLIER, File, INDEX, Object, State};

/// Every scenario.
pub(crate) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    CHUNKS.iter().chain(GENERATIONS)
}

pub(super) const D: Item = Item::Insert(0);
const E: Item = Item::Insert(1);

/// Digest `digest` is in the bucket and has a marker from before.
pub(super) fn stored(state: &mut State, digest: usize) {
    state.bucket.objects[digest] = Object::Good;
    state.hosts[0].disk.marker[digest] = File::old(0);
}

/// The earlier snapshot is committed and names the digests.
pub(super) fn earlier(state: &mut State, digests: u8) {
    state.bucket.index[0] = INDEX | digests;
    state.bucket.manifest[0] = EARLIER;
    state.promised[0] = EARLIER;
}

pub(super) const PLAIN: Scenario = Scenario {
    name: "",
    about: "",
    needs: &[],
    is_quick: true,
    setup: |_| {},
    writers: &[],
    has_generation: false,
    heals: false,
    has_wall: false,
    claims: Claims::ALL,
};
