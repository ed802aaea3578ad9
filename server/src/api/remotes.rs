//! Remotes: `/config/remote` and what lies below it. Parameters are named as stock servers have them (spec `pull.md` §1).

use std::num::NonZeroU16;
use std::sync::Arc;

use coldkeep_client::{AuthId, Fingerprint, RemoteItem, RemoteProperty, RequestError, Secret};
use coldkeep_datastore::RemoteName;

use super::{Access, ApiError, BodyKind, Call, Endpoint, Kind, Method, Param, Params, Reply};
use crate::Server;
use crate::auth::{AclPath, PASSWORD_BYTES_MAX, Privileges};
use crate::state::{Remote, RemoteHost, RemoteUpdate};

/// Longest comment.
const COMMENT_BYTES_MAX: usize = 512;

const NAME: Param = Param::required("name", Kind::name::<RemoteName>("remote name"), "Name of the remote.");
const HOST_KIND: Kind = Kind::name::<RemoteHost>("host");
const HOST: &str = "DNS name or address.";
const PORT: Param = Param::optional("port", Kind::Integer { min: 1, max: 65535 }, "Port, if it is not 8007.");
const AUTH_ID_KIND: Kind = Kind::name::<AuthId>("user or token");
const AUTH_ID: &str = "The user or token there.";
const PASSWORD_KIND: Kind = Kind::Text { bytes_max: PASSWORD_BYTES_MAX };
const PASSWORD: &str = "The user's password or the token's secret; no answer ever has it.";
const FINGERPRINT: Param = Param::optional(
    "fingerprint",
    Kind::name::<Fingerprint>("fingerprint"),
    "SHA-256 of the certificate that it must show; without it, the system's authorities must vouch for the certificate.",
);
const COMMENT: Param = Param::optional("comment", Kind::Text { bytes_max: COMMENT_BYTES_MAX }, "Free text.");
const PROPERTY: Kind = Kind::name::<RemoteProperty>("property");

/// Who may see a remote.
const SEE: Access = Access::Remote { any: Privileges::REMOTE_AUDIT };
/// Who may change a remote.
const CHANGE: Access = Access::Remote { any: Privileges::REMOTE_MODIFY };

pub(super) static ENDPOINTS: &[Endpoint<Server>] = &[
    Endpoint {
        method: Method::Get,
        path: "/config/remote",
        doc: "Lists the remotes that the caller has Remote.Audit on, by name.",
        params: &[],
        body: BodyKind::Params,
        access: Access::Authenticated,
        handler: |call| Box::pin(list(call)),
    },
    Endpoint {
        method: Method::Post,
        path: "/config/remote",
        doc: "Adds a remote.",
        params: &[
            NAME,
            Param::required("host", HOST_KIND, HOST),
            PORT,
            Param::required("auth-id", AUTH_ID_KIND, AUTH_ID),
            Param::required("password", PASSWORD_KIND, PASSWORD).secret(),
            FINGERPRINT,
            COMMENT,
        ],
        body: BodyKind::Params,
        access: Access::At { path: "/remote", any: Privileges::REMOTE_MODIFY },
        handler: |call| Box::pin(add(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/remote/{name}",
        doc: "Returns a remote.",
        params: &[NAME],
        body: BodyKind::Params,
        access: SEE,
        handler: |call| Box::pin(show(call)),
    },
    Endpoint {
        method: Method::Put,
        path: "/config/remote/{name}",
        doc: "Changes a remote. Who may do this can have the secret that is stored sent to a server of their choice.",
        params: &[
            NAME,
            Param::optional("host", HOST_KIND, HOST),
            PORT,
            Param::optional("auth-id", AUTH_ID_KIND, AUTH_ID),
            Param::optional("password", PASSWORD_KIND, PASSWORD).secret(),
            FINGERPRINT,
            COMMENT,
            Param::optional(
                "delete",
                Kind::List(&PROPERTY),
                "What is unset before the rest is set: `port`, `fingerprint`, `comment`.",
            ),
        ],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(update(call)),
    },
    Endpoint {
        method: Method::Delete,
        path: "/config/remote/{name}",
        doc: "Removes a remote; what was pulled from it stays.",
        params: &[NAME],
        body: BodyKind::Params,
        access: CHANGE,
        handler: |call| Box::pin(remove(call)),
    },
    Endpoint {
        method: Method::Get,
        path: "/config/remote/{name}/scan",
        doc: "Lists the datastores that the remote shows this server.",
        params: &[NAME],
        body: BodyKind::Params,
        access: SEE,
        handler: |call| Box::pin(scan(call)),
    },
];

/// A remote did not tell its datastores.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the datastores of the remote {name}")]
struct ScanError {
    name: RemoteName,
    #[source]
    source: RequestError,
}

async fn list(call: Call<Server>) -> Result<Reply, ApiError> {
    let is_seen = |remote: &Remote| {
        let path = AclPath::remote(remote.name.as_str(), None);
        call.caller.privileges(&path).has_any(Privileges::REMOTE_AUDIT)
    };
    let remotes = call.state.remotes().list();
    let items: Vec<RemoteItem> =
        remotes.iter().filter(|remote| is_seen(remote)).map(|remote| remote.to_item()).collect();
    Reply::json(&items)
}

async fn add(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let remote = Remote {
        name: params.get("name")?,
        host: params.get("host")?,
        port: params.find("port")?,
        auth_id: params.get("auth-id")?,
        secret: Secret::new(params.get::<String>("password")?),
        fingerprint: params.find("fingerprint")?,
        comment: comment(params),
    };
    call.state.remotes().add(remote).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn show(call: Call<Server>) -> Result<Reply, ApiError> {
    Reply::json(&find(&call)?.to_item())
}

async fn update(call: Call<Server>) -> Result<Reply, ApiError> {
    let params = &call.params;
    let update = RemoteUpdate {
        host: params.find("host")?,
        port: params.find::<NonZeroU16>("port")?,
        auth_id: params.find("auth-id")?,
        secret: params.find::<String>("password")?.map(Secret::new),
        fingerprint: params.find("fingerprint")?,
        comment: comment(params),
        delete: params.list("delete")?,
    };
    let name: RemoteName = params.get("name")?;
    call.state.remotes().update(&name, update).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn remove(call: Call<Server>) -> Result<Reply, ApiError> {
    let name: RemoteName = call.params.get("name")?;
    call.state.remotes().remove(&name).await.map_err(|error| ApiError::failed(&error))?;
    Ok(Reply::null())
}

async fn scan(call: Call<Server>) -> Result<Reply, ApiError> {
    let remote = find(&call)?;
    // Whatever the other server says is 400 here: its 401 is about this server's credentials, not about the caller's.
    let stores = remote.client().datastores().await;
    let stores =
        stores.map_err(|source| ApiError::failed(&ScanError { name: remote.name.clone(), source }))?;
    Reply::json(&stores)
}

fn find(call: &Call<Server>) -> Result<Arc<Remote>, ApiError> {
    call.state.remotes().get(&call.params.get("name")?).map_err(|error| ApiError::failed(&error))
}

/// Returns the comment; an empty one is none.
fn comment(params: &Params) -> Option<String> {
    params.text("comment").filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_table_is_sound() {
        assert_tables_are_sound(ENDPOINTS);
    }
}
