//! The datastore through its public interface, on real folders and the real chunk store.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]
#![expect(clippy::duplicate_mod, reason = "the same tests run on a filesystem and in a bucket")]

mod bucket;
mod collect;
mod hazards;
mod leftovers;
mod support;
mod vector;
mod verify;

/// What holds wherever the chunks are, on a filesystem.
#[path = "."]
mod on_filesystem {
    mod backup;
    mod begin;
    mod copy;
    mod moves;
    mod tree;

    async fn fixture() -> crate::support::Fixture {
        crate::support::Fixture::new().await
    }
}

/// The same in a bucket.
#[path = "."]
mod in_bucket {
    mod backup;
    mod begin;
    pub(crate) mod copy;
    mod moves;
    mod tree;

    async fn fixture() -> crate::support::Fixture {
        crate::support::Fixture::in_bucket().await
    }
}
