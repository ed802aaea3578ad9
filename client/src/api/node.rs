//! The calls that concern the whole server (spec `rest-api.md` §3, §4).

use http::Method;
use serde::Deserialize;

use super::types::{DatastoreItem, Version};
use crate::client::Client;
use crate::encoding::Parameters;
use crate::error::RequestError;

impl Client {
    /// Returns the server's version; needs valid credentials.
    pub async fn version(&self) -> Result<Version, RequestError> {
        self.query(Method::GET, "/version", &Parameters::new()).await
    }

    /// Asks the server whether it is there.
    pub async fn ping(&self) -> Result<bool, RequestError> {
        #[derive(Deserialize)]
        struct Answer {
            pong: bool,
        }
        let answer: Answer = self.query(Method::GET, "/ping", &Parameters::new()).await?;
        Ok(answer.pong)
    }

    /// Lists the datastores that the caller may see.
    pub async fn datastores(&self) -> Result<Vec<DatastoreItem>, RequestError> {
        self.query(Method::GET, "/admin/datastore", &Parameters::new()).await
    }
}
