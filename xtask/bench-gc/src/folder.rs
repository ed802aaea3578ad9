//! Datastores in folders: the mark alone, and whole collections on a filesystem.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use coldkeep_chunk_store::{StoreOptions, SystemClock};
use coldkeep_datastore::Datastore;
use coldkeep_gc::{Control, End, Options, Report, collect as collect_chunks};

use crate::changes::Since;
use crate::measured::{Measured, Stopwatch};
use crate::references::StoreReferences;

/// Reads the indexes of a datastore without chunks, once.
pub(crate) async fn mark(folder: &Path) -> Result<Measured> {
    let datastore = open(folder).await?;
    let references = StoreReferences::new(Arc::clone(&datastore), true);
    let stopwatch = Stopwatch::start()?;
    let report = run(&datastore, &references).await?;
    let measured = stopwatch.stop()?.with_report(&report);
    ensure!(report.listed.count == 0, "the datastore has chunks, which are not to be measured here");
    close(&datastore).await?;
    Ok(measured)
}

/// Collects a datastore.
pub(crate) async fn collect(folder: &Path, is_unchanged: bool) -> Result<Measured> {
    let datastore = open(folder).await?;
    let references = StoreReferences::new(Arc::clone(&datastore), false);
    let since = Since::now().await;
    let stopwatch = Stopwatch::start()?;
    let report = run(&datastore, &references).await?;
    let measured = stopwatch.stop()?.with_report(&report);
    ensure!(report.missing.chunks == 0, "{} chunks are missing", report.missing.chunks);
    if is_unchanged {
        since.check_unchanged(folder)?;
    }
    close(&datastore).await?;
    Ok(measured)
}

async fn open(folder: &Path) -> Result<Arc<Datastore>> {
    let options = StoreOptions::new(Arc::new(SystemClock::new()));
    Datastore::open(folder, "default".parse()?, options).await.context("cannot open the datastore")
}

async fn run(datastore: &Datastore, references: &StoreReferences) -> Result<Report> {
    let chunks = datastore.chunks().as_folder().context("the datastore is in a bucket")?;
    let report = collect_chunks(&**chunks, references, &Options::default(), &Control::new()).await?;
    ensure!(report.end == End::Completed, "the collection did not run to its end");
    Ok(report)
}

async fn close(datastore: &Datastore) -> Result<()> {
    Ok(datastore.chunks().as_folder().context("the datastore is in a bucket")?.close().await?)
}
