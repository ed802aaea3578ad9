//! Reading the store's own small objects.

use super::BucketStore;
use crate::backend::{BackendError, ObjectBackend, ObjectInfo, ObjectKey};
use crate::dir::MarkerDir;

/// So often an object is read that looks damaged before it counts as such.
const READS_MAX: u32 = 4;

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Reads an object that has no checksum inside.
    ///
    /// On a server that sends no checksums an answer can end early with a length that says that this is all. What looks damaged
    /// is therefore read again: nobody's bucket is given up, and no server closed for good (R10), for one bad answer.
    pub(super) async fn read_own<T>(
        &self,
        key: &ObjectKey,
        parse: impl Fn(ObjectInfo, &[u8]) -> T,
        is_damaged: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, BackendError> {
        let mut reads = 0;
        loop {
            reads += 1;
            let answer = self.backend_clock.noted(self.backend.get(key).await, &self.clock)?;
            let object = answer.value.map(|(info, content)| parse(info, &content));
            if reads == READS_MAX || !object.as_ref().is_some_and(&is_damaged) {
                return Ok(object);
            }
        }
    }
}
