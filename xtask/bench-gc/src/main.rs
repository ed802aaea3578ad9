//! One job of `cargo xtask bench gc`, in a process of its own, so that memory and CPU time are those of the job.
//!
//! Prints one JSON object. The collector runs as it does in the server: on a runtime with a thread for each processor, over the
//! datastore's own references and the store's own directory. Only the bucket is synthetic, and on demand the markers beside it.

mod bits;
mod bucket;
mod changes;
mod flags;
mod folder;
mod list;
mod measured;
mod memory_dir;
mod objects;
mod references;
mod store;
mod sweep;

use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::flags::{Flags, Job};
use crate::measured::Measured;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coldkeep-bench-gc-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let flags = Flags::parse(lexopt::Parser::from_env())?;
    if let Some(cores) = flags.cores {
        keep_to(cores)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let measured = runtime.block_on(carry_out(flags.job))?;
    println!("{}", serde_json::to_string(&measured).context("cannot write JSON")?);
    Ok(())
}

async fn carry_out(job: Job) -> Result<Measured> {
    match job {
        Job::Mark { folder } => folder::mark(&folder).await,
        Job::Collect { folder, is_unchanged } => folder::collect(&folder, is_unchanged).await,
        Job::FillMarkers { folder, scene } => {
            store::fill_markers(&folder, scene.objects()).await?;
            Ok(Measured::default())
        }
        Job::Sweep { folder: Some(folder), scene } => sweep::on_disk(&folder, &scene).await,
        Job::Sweep { folder: None, scene } => sweep::in_memory(&scene).await,
        Job::List { scene } => list::all(&scene).await,
    }
}

/// Runs this process, with all threads that it starts from here on, on the first so many processors.
fn keep_to(cores: usize) -> Result<()> {
    let mut set = CpuSet::new();
    (0..cores).for_each(|core| set.set(core));
    sched_setaffinity(None, &set).with_context(|| format!("cannot keep to {cores} processors"))
}
