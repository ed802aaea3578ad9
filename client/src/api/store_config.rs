//! The calls about the list of datastores.

use coldkeep_datastore::StoreName;
use http::Method;

use crate::client::Client;
use crate::encoding::{Parameters, path_component};
use crate::error::RequestError;

const PATH: &str = "/config/datastore";

impl Client {
    /// Lists the settings of the datastores that the caller may see, by name: each an object, as the server keeps it.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn datastore_configs(&self) -> Result<Vec<serde_json::Value>, RequestError> {
        self.query(Method::GET, PATH, &Parameters::new()).await
    }

    /// Returns the settings of one datastore.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn datastore_config(&self, name: &StoreName) -> Result<serde_json::Value, RequestError> {
        self.query(Method::GET, &path_of(name), &Parameters::new()).await
    }

    /// Starts to make a datastore in a folder of the server, or to take the one that is there; without a folder, in one below
    /// the server's data folder. Returns the id of the task.
    ///
    /// # Cancel safety
    /// The task may run.
    pub async fn start_create_datastore(
        &self,
        name: &StoreName,
        folder: Option<&str>,
        comment: Option<&str>,
    ) -> Result<String, RequestError> {
        let parameters = Parameters::new()
            .with("name", name.as_str())
            .with_some("path", folder)
            .with_some("comment", comment);
        self.post(PATH, &parameters).await
    }

    /// Starts to take a datastore off the list; its content stays. Returns the id of the task.
    ///
    /// # Cancel safety
    /// The task may run.
    pub async fn start_remove_datastore(&self, name: &StoreName) -> Result<String, RequestError> {
        self.query(Method::DELETE, &path_of(name), &Parameters::new()).await
    }
}

fn path_of(name: &StoreName) -> String {
    format!("{PATH}/{}", path_component(name.as_str()))
}
