//! Lists the snapshots of a datastore: `list REPOSITORY FINGERPRINT PASSWORD`.

use coldkeep_client::{Client, Credentials, Repository, Secret, TlsConnector, Trust};
use coldkeep_datastore::Namespace;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [repository, fingerprint, password] = arguments.as_slice() else {
        return Err("usage: list REPOSITORY FINGERPRINT PASSWORD".into());
    };
    let at: Repository = repository.parse()?;
    let connector = TlsConnector::new(&at.host, at.port, Trust::Pinned(fingerprint.parse()?));
    let client = Client::new(connector, Credentials::new(at.auth_id, Secret::new(password)));
    let store = client.store(at.store, Namespace::root());
    for snapshot in store.snapshots(None, None).await? {
        let size = snapshot.size.map_or_else(|| "unfinished".to_owned(), |bytes| format!("{bytes} bytes"));
        println!("{}  {size}", snapshot.name());
    }
    Ok(())
}
