//! The command line, written by the driver.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

use crate::objects::Objects;

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Job {
    /// Read the indexes of a datastore without chunks.
    Mark { folder: PathBuf },
    /// Collect a datastore on a filesystem. With `is_unchanged` nothing may be written but the clock.
    Collect { folder: PathBuf, is_unchanged: bool },
    /// Make the markers of a store in the synthetic bucket.
    FillMarkers { folder: PathBuf, scene: Scene },
    /// Collect a store in the synthetic bucket, with markers in a folder or in memory.
    Sweep { folder: Option<PathBuf>, scene: Scene },
    /// List the synthetic bucket, and nothing else.
    List { scene: Scene },
}

/// The synthetic bucket and how it is listed.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) objects: u64,
    /// Of the objects, those that no index names. Without any, nothing may be written but the clock.
    pub(crate) garbage_percent: u64,
    pub(crate) latency: Duration,
    /// Listings at once.
    pub(crate) parallel: usize,
}

impl Scene {
    pub(crate) fn objects(&self) -> Objects {
        Objects::new(self.objects, self.garbage_percent)
    }
}

/// What to do, and with how much of the machine.
#[derive(Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) job: Job,
    /// Processors to use; all if not given.
    pub(crate) cores: Option<usize>,
}

impl Flags {
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Flags> {
        let (mut job, mut folder, mut cores, mut is_unchanged) = (None, None, None, false);
        let mut scene = Scene { objects: 0, garbage_percent: 0, latency: Duration::ZERO, parallel: 32 };
        while let Some(arg) = args.next()? {
            match arg {
                Value(name) if job.is_none() => job = Some(name.string()?),
                Long("folder") => folder = Some(PathBuf::from(args.value()?)),
                Long("unchanged") => is_unchanged = true,
                Long("objects") => scene.objects = args.value()?.parse()?,
                Long("garbage-percent") => scene.garbage_percent = args.value()?.parse()?,
                Long("delay-ms") => scene.latency = Duration::from_millis(args.value()?.parse()?),
                Long("parallel") => scene.parallel = args.value()?.parse()?,
                Long("cores") => cores = Some(args.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(scene.garbage_percent <= 100, "--garbage-percent is at most 100");
        ensure!(scene.parallel > 0 && cores != Some(0), "--parallel and --cores start at 1");
        let needed = |folder: Option<PathBuf>| folder.context("--folder is missing");
        let filled = |scene: Scene| if scene.objects > 0 { Ok(scene) } else { bail!("--objects is missing") };
        let job = match job.as_deref() {
            Some("mark") => Job::Mark { folder: needed(folder)? },
            Some("collect") => Job::Collect { folder: needed(folder)?, is_unchanged },
            Some("fill-markers") => Job::FillMarkers { folder: needed(folder)?, scene: filled(scene)? },
            Some("sweep") => Job::Sweep { folder, scene: filled(scene)? },
            Some("list") => Job::List { scene: filled(scene)? },
            Some(other) => bail!("there is no job `{other}`"),
            None => bail!("which job?"),
        };
        Ok(Flags { job, cores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn a_job_has_its_flags() {
        let flags =
            parse("sweep --objects 9 --garbage-percent 5 --delay-ms 30 --parallel 8 --cores 1").unwrap();
        let scene = Scene { objects: 9, garbage_percent: 5, latency: Duration::from_millis(30), parallel: 8 };
        assert_eq!(flags, Flags { job: Job::Sweep { folder: None, scene }, cores: Some(1) });
        let flags = parse("collect --folder f --unchanged").unwrap();
        assert_eq!(flags.job, Job::Collect { folder: "f".into(), is_unchanged: true });
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "walk",
            "mark",
            "list",
            "list --objects 1 --parallel 0",
            "list --objects 1 --garbage-percent 101",
            "mark --folder f --cores 0",
            "mark --folder f --frobnicate",
        ] {
            parse(line).unwrap_err();
        }
    }
}
