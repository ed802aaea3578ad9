//! What a server keeps on disk beside its datastores: one folder with users, keys, tasks and the lists of
//! stores and remotes.

mod data_dir;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod identities;
mod instance;
pub(crate) mod json_file;
mod keys;
mod remotes;
mod stores;

pub use data_dir::{DataDir, StateError};
pub use identities::{
    Identities, IdentityError, IdentityFacts, IdentityProperty, IdentityPropertyError, IdentityUpdate, Token,
    User,
};
pub(crate) use instance::load_instance_id;
pub(crate) use keys::load_ticket_key;
pub use keys::{Certificate, load_certificate, read_certificate};
pub use remotes::{Remote, RemoteHost, RemoteHostError, RemoteUpdate, Remotes, RemotesError};
pub use stores::{BucketUpdate, CreatedBucket, Destruction, NewBucket, StoreConfig, StoreSync, StoresError};
pub(crate) use stores::{DEFAULT_STORE, OpenStore, Stores, StoresOptions};
