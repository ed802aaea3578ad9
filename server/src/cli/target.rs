//! The options that say where a verb works, and the connection that comes of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use coldkeep_chunk_store::SystemClock;
use coldkeep_client::{
    Client, Connect, Connecting, Credentials, Fingerprint, Repository, Secret, Store, TlsConnector, Trust,
};
use coldkeep_datastore::{Namespace, StoreName};

use super::environment::Setting;
use super::failure::Interrupted;
use super::location::{DataFolder, LocalStore, Location};
use super::secret;
use super::shell::Shell;
use super::signals;
use crate::embedded::Embedded;
use crate::{Limits, Server, ServerError, ServerOptions};

/// How long to wait for another process to give the data folder free (DECISIONS, "embedded repository").
const OWNER_WAIT: Duration = Duration::from_secs(10);

/// How often to look whether it did.
const OWNER_POLL: Duration = Duration::from_millis(100);

/// How often to tell how far a store that is being opened is.
const OPEN_POLL: Duration = Duration::from_secs(1);

/// How long a task may go on after the command was interrupted; nothing else runs on at the end of a command.
const EMBEDDED_SHUTDOWN: Duration = Duration::from_secs(2);

/// Where a verb works.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where the backups are: a data folder, FOLDER[:STORE] with a slash in it, or a server,
    /// [[USER@REALM@]HOST[:PORT]:]STORE.
    ///
    /// Default: `PBS_REPOSITORY`, else the store `default` of the data folder. A server wants `PBS_PASSWORD` (or
    /// `PBS_PASSWORD_FILE`, _CMD, _FD) and, unless its certificate is trusted, `PBS_FINGERPRINT`.
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<String>,
    /// Namespace in the datastore, as in `a/b`; default: `PBS_NAMESPACE`, else the root.
    #[arg(long, value_name = "NAMESPACE")]
    ns: Option<Namespace>,
}

/// What a verb does with a folder that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made: a first backup.
    Create,
    /// It is made, without the datastore that every folder begins with.
    CreateEmpty,
    /// It is an error: nothing can be in it.
    Refuse,
}

impl Target {
    /// Connects, runs `work`, and closes again, also when `work` failed or a signal ended it.
    pub(crate) async fn run<T>(
        &self,
        shell: &Shell,
        missing: Missing,
        work: impl AsyncFnOnce(Store) -> Result<T>,
    ) -> Result<T> {
        self.run_within(shell, missing, embedded_limits(), work).await
    }

    /// As [`run`](Self::run), for what is not about a datastore: none is opened, and the namespace does not count.
    pub(crate) async fn run_on_server<T>(
        &self,
        shell: &Shell,
        missing: Missing,
        work: impl AsyncFnOnce(Client) -> Result<T>,
    ) -> Result<T> {
        match Location::choose(self.repository.as_deref(), shell.data_folder(), &shell.environment)? {
            Location::Remote(repository) => interruptible(work(connect_remote(&repository, shell)?)).await,
            Location::Local(local) => {
                let embedded = open_local(shell, &local, missing, embedded_limits()).await?;
                let result = run_on(&embedded, work).await;
                close(embedded).await;
                result
            }
        }
    }

    /// As [`run`](Self::run), for a verb that names the datastore itself, with its namespace.
    pub(crate) async fn run_on_store<T>(
        &self,
        shell: &Shell,
        missing: Missing,
        store: &StoreName,
        work: impl AsyncFnOnce(Client) -> Result<T>,
    ) -> Result<T> {
        if let Some(ns) = &self.ns {
            bail!("the namespace stands behind the datastore here, as in {store}/{ns}; leave out --ns");
        }
        match Location::choose(self.repository.as_deref(), shell.data_folder(), &shell.environment)? {
            Location::Remote(repository) => interruptible(work(connect_remote(&repository, shell)?)).await,
            Location::Local(local) => {
                let local = LocalStore { store: store.clone(), ..local };
                run_embedded(shell, &local, (missing, embedded_limits()), work).await
            }
        }
    }

    /// Tells whether the verb works on a folder.
    pub(crate) fn is_local(&self, shell: &Shell) -> Result<bool> {
        let location = Location::choose(self.repository.as_deref(), shell.data_folder(), &shell.environment)?;
        Ok(matches!(location, Location::Local(_)))
    }

    /// As [`run`](Self::run), with other limits for the embedded server; a real one has its own.
    pub(crate) async fn run_within<T>(
        &self,
        shell: &Shell,
        missing: Missing,
        limits: Limits,
        work: impl AsyncFnOnce(Store) -> Result<T>,
    ) -> Result<T> {
        let namespace = match (&self.ns, shell.environment.text("PBS_NAMESPACE")?) {
            (Some(ns), _) => ns.clone(),
            (None, Some(text)) => text.parse().context("PBS_NAMESPACE")?,
            (None, None) => Namespace::root(),
        };
        match Location::choose(self.repository.as_deref(), shell.data_folder(), &shell.environment)? {
            Location::Remote(repository) => {
                let client = connect_remote(&repository, shell)?;
                interruptible(work(client.store(repository.store, namespace))).await
            }
            Location::Local(local) => {
                let work = async |client: Client| work(client.store(local.store.clone(), namespace)).await;
                run_embedded(shell, &local, (missing, limits), work).await
            }
        }
    }
}

/// Opens this command line's data folder, runs `work` on the server in it, and closes it again: for what is not part of
/// the protocol, such as users.
pub(crate) async fn run_on_folder<T>(
    shell: &Shell,
    missing: Missing,
    work: impl AsyncFnOnce(&Server) -> Result<T>,
) -> Result<T> {
    if let DataFolder::Default(folder) = shell.data_folder() {
        Shell::note(&format!("data folder {}", folder.display()));
    }
    let embedded = open(shell, shell.data_folder().path(), missing, embedded_limits()).await?;
    let result = interruptible(work(embedded.server())).await;
    embedded.close().await;
    result
}

/// Runs `work` unless a signal ends it.
async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        signal = signals::interrupted() => Err(signal.map_or_else(Into::into, |()| Interrupted.into())),
    }
}

fn connect_remote(repository: &Repository, shell: &Shell) -> Result<Client> {
    let trust = match shell.environment.setting(Setting::Fingerprint)? {
        Some(text) => Trust::Pinned(text.parse::<Fingerprint>().context("PBS_FINGERPRINT")?),
        None => Trust::SystemRoots,
    };
    let password = match shell.environment.setting(Setting::Password)? {
        Some(password) => password,
        None if secret::can_ask() => secret::ask(&format!("Password for {}: ", repository.auth_id))?,
        None => bail!(
            "no password for {}: set PBS_PASSWORD, or PBS_PASSWORD_FILE, _CMD or _FD",
            repository.auth_id
        ),
    };
    let connector = TlsConnector::new(&repository.host, repository.port, trust);
    Ok(Client::new(connector, Credentials::new(repository.auth_id.clone(), Secret::new(password.as_str()))))
}

async fn run_embedded<T>(
    shell: &Shell,
    local: &LocalStore,
    (missing, limits): (Missing, Limits),
    work: impl AsyncFnOnce(Client) -> Result<T>,
) -> Result<T> {
    let embedded = open_local(shell, local, missing, limits).await?;
    let result = match interruptible(open_store(&embedded, &local.store)).await {
        Ok(()) => run_on(&embedded, work).await,
        Err(error) => Err(error),
    };
    close(embedded).await;
    result
}

/// Opens the data folder of a location.
async fn open_local(
    shell: &Shell,
    local: &LocalStore,
    missing: Missing,
    limits: Limits,
) -> Result<Arc<Embedded>> {
    if local.is_default {
        Shell::note(&format!("data folder {}", local.folder.display()));
    }
    Ok(Arc::new(open(shell, &local.folder, missing, limits).await?))
}

/// Runs `work` with a client of the embedded server; no other is made.
async fn run_on<T>(embedded: &Arc<Embedded>, work: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
    let client = Client::new(InMemory(Arc::clone(embedded)), Credentials::Local);
    interruptible(work(client)).await
}

/// Closes the stores also after a failure, so that the next start is quick.
async fn close(embedded: Arc<Embedded>) {
    // `run_on` took the only client with it.
    if let Some(embedded) = Arc::into_inner(embedded) {
        embedded.close().await;
    } else {
        tracing::warn!("a connection is still in use; the data folder is not closed cleanly");
    }
}

/// Returns the limits of an embedded server.
pub(crate) fn embedded_limits() -> Limits {
    Limits { shutdown: EMBEDDED_SHUTDOWN, ..Limits::default() }
}

/// Opens a data folder for this process; waits a while if another one has it.
async fn open(shell: &Shell, folder: &Path, missing: Missing, limits: Limits) -> Result<Embedded> {
    let s3_credentials = shell.environment.s3_credentials()?;
    if missing == Missing::Refuse && !folder.exists() {
        bail!("there is no data folder {}; the first backup makes it, or `coldkeep serve`", folder.display());
    }
    let mut options =
        ServerOptions::new(folder, Arc::new(SystemClock::new()), limits).with_s3_credentials(s3_credentials);
    if missing == Missing::CreateEmpty {
        options = options.without_default();
    }
    let started_at = Instant::now();
    let mut is_told = false;
    loop {
        let error = match Embedded::open(options.clone()).await {
            Ok(embedded) => return Ok(embedded),
            Err(error) => error,
        };
        let Some(owner) = error.owner() else { return Err(error.into()) };
        if started_at.elapsed() >= OWNER_WAIT {
            return Err(owned(error, folder, owner));
        }
        if !is_told {
            is_told = true;
            Shell::note_if_watched(&format!("waiting for the data folder, which {} uses …", process(owner)));
        }
        let pause = async {
            tokio::time::sleep(OWNER_POLL).await;
            Ok(())
        };
        interruptible(pause).await?;
    }
}

fn process(owner: Option<u32>) -> String {
    owner.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

fn owned(error: ServerError, folder: &Path, owner: Option<u32>) -> anyhow::Error {
    let process = process(owner);
    let text = format!(
        "{process} uses the data folder {}; if it is `coldkeep serve`, name the server instead: \
         --repository root@pam@localhost:8007:default with PBS_PASSWORD and PBS_FINGERPRINT",
        folder.display()
    );
    anyhow!(error).context(text)
}

/// Waits until a store is open: one in a bucket may have to be rebuilt first.
async fn open_store(embedded: &Embedded, store: &StoreName) -> Result<()> {
    check_store(embedded, store)?;
    let server = embedded.server();
    let mut ready = std::pin::pin!(server.ready_datastore(store));
    let mut told = String::new();
    loop {
        tokio::select! {
            opened = &mut ready => return Ok(opened.map(drop)?),
            () = tokio::time::sleep(OPEN_POLL) => {}
        }
        if let Err(state) = server.datastore(store)
            && state.message() != told
        {
            state.message().clone_into(&mut told);
            Shell::note_if_watched(&told);
        }
    }
}

/// Names the stores that there are: a slip of the pen is easier to see this way.
fn check_store(embedded: &Embedded, store: &StoreName) -> Result<()> {
    let configs = embedded.server().datastore_configs();
    if configs.iter().any(|config| config.name == *store) {
        return Ok(());
    }
    let names: Vec<String> = configs.iter().map(|config| config.name.to_string()).collect();
    Err(super::failure::not_among(&format!("there is no datastore {store}"), &names))
}

/// Connects to the embedded server.
struct InMemory(Arc<Embedded>);

impl Connect for InMemory {
    fn connect(&self) -> Connecting<'_> {
        let stream = self.0.connect();
        Box::pin(async move { Ok(Box::new(stream) as _) })
    }

    fn authority(&self) -> &'static str {
        "localhost"
    }
}
