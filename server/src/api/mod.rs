//! The REST API below `/api2/json`, and the endpoint mechanism that upgraded connections share with it.

mod access;
pub(crate) mod datastore;
pub mod description;
mod endpoint;
mod error;
mod identity;
mod jobs;
pub(crate) mod nodes;
mod param;
mod params;
pub(crate) mod path;
mod remotes;
mod reply;
mod room;
mod root;
mod router;
mod store_config;
pub(crate) mod sync;
mod upload;
mod watch;

pub use crate::pace::Pace;
pub use description::Description;
pub use endpoint::{Access, BodyKind, Call, Endpoint, Handler, Method, Scope};
pub use error::{ApiError, chain};
pub use param::{Kind, LIST_LEN_MAX, Name, Param, Presence};
pub use params::Params;
pub(crate) use reply::refusal;
pub use reply::{Reply, ResponseBody};
pub(crate) use room::{HeldRoom, UserRoom, WholeRoom};
pub use router::{Admit, Matched, PARAMS_BODY_BYTES_LIMIT, Router, URI_BYTES_MAX};
pub use upload::{RequestBody, Upload, UploadRoom, Uploaded};
pub use watch::{Asked, Watch};

use crate::Server;
use crate::protocol::{backup, reader};

/// Makes the router of the REST API: every table of this module.
pub fn router() -> Router<Server> {
    let own: [&'static [Endpoint<Server>]; 12] = [
        root::ENDPOINTS,
        access::ENDPOINTS,
        identity::USERS,
        identity::TOKENS,
        identity::ACL,
        nodes::ENDPOINTS,
        remotes::ENDPOINTS,
        jobs::ENDPOINTS,
        store_config::ENDPOINTS,
        sync::ENDPOINTS,
        backup::UPGRADE,
        reader::UPGRADE,
    ];
    Router::new(&["api2", "json"], &[&own, datastore::TABLES].concat())
}

/// Panics unless each endpoint describes its path variables as required parameters, each name once, and what is named like a
/// secret as one.
#[cfg(test)]
pub(crate) fn assert_tables_are_sound<S: ?Sized>(endpoints: &'static [Endpoint<S>]) {
    for endpoint in endpoints {
        for variable in path::Pattern::parse(endpoint.path).names() {
            let described = endpoint.params.iter().find(|param| param.name == variable);
            assert_eq!(
                described.map(|param| param.presence),
                Some(Presence::Required),
                "{endpoint:?}: {variable}"
            );
        }
        for (i, param) in endpoint.params.iter().enumerate() {
            assert!(
                endpoint.params[..i].iter().all(|other| other.name != param.name),
                "{endpoint:?}: {}",
                param.name
            );
            assert!(
                param.is_secret
                    || !["secret", "password", "-key"].iter().any(|word| param.name.contains(word)),
                "{endpoint:?}: {} is not marked as a secret",
                param.name
            );
            if let Presence::Default(text) = param.presence {
                assert_eq!(
                    param.kind.normalise(text.to_owned()).as_deref(),
                    Ok(text),
                    "{endpoint:?}: {}",
                    param.name
                );
            }
        }
    }
}
