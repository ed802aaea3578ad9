//! The sweep of a store in a bucket beside a plain listing of it, and beside what the latency alone takes.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::gc::flags::Flags;
use crate::gc::folder::{add, find};
use crate::gc::worker::{self, Measured};
use crate::gc::{GARBAGE_PERCENT, count};
use crate::output::{Metric, Samples};

/// Keys of a page (S3 API reference, `ListObjectsV2`).
const PAGE_KEYS: usize = 1000;

/// The peers' names.
const IDEAL: &str = "latency ideal";
const LIST: &str = "list";
const LIST_AND_FIND: &str = "list and find";

/// A bucket of so many objects, with markers in a folder or in memory.
pub(crate) struct Bucket<'a> {
    pub(crate) objects: usize,
    pub(crate) markers: Option<&'a Path>,
}

impl Bucket<'_> {
    /// The name of the case without garbage.
    pub(crate) fn case(&self, flags: &Flags) -> String {
        format!("sweep s3 {} {}ms", count(self.objects), flags.delay_millis)
    }

    /// Sweeps it without garbage and with some.
    pub(crate) fn measure(&self, flags: &Flags, samples: &mut Samples) -> Result<()> {
        let unchanged = self.case(flags);
        let removing = format!("{unchanged} remove {GARBAGE_PERCENT}%");
        for _ in 0..flags.runs {
            let list = worker::run(&flags.worker, "list", &self.args(flags, 0, None))?;
            for (case, garbage_percent) in [(&unchanged, 0), (&removing, GARBAGE_PERCENT)] {
                if !flags.wants(case) {
                    continue;
                }
                let mut find_seconds = None;
                if let Some(markers) = self.markers {
                    worker::run(
                        &flags.worker,
                        "fill-markers",
                        &self.args(flags, garbage_percent, self.markers),
                    )?;
                    find_seconds = Some(find(&markers.join(".chunks"))?.wall_seconds);
                }
                let ours =
                    worker::run(&flags.worker, "sweep", &self.args(flags, garbage_percent, self.markers))?;
                let (Measured { listed, removed, .. }, garbage) =
                    (&ours, self.objects * garbage_percent / 100);
                ensure!(*listed == self.objects as u64, "{listed} of {} objects were listed", self.objects);
                ensure!(*removed == garbage as u64, "{removed} of {garbage} unused chunks were removed");
                add(case, self.objects, &ours, samples);
                Self::add_requests(case, &ours, &list, samples);
                self.add_peers(case, flags, (&list, find_seconds), samples);
            }
        }
        Ok(())
    }

    fn args(&self, flags: &Flags, garbage_percent: usize, markers: Option<&Path>) -> Vec<OsString> {
        let numbers = [
            ("--objects", self.objects),
            ("--garbage-percent", garbage_percent),
            ("--delay-ms", flags.delay_millis as usize),
            ("--parallel", flags.parallel),
        ];
        let numbers = numbers.into_iter().flat_map(|(flag, number)| [flag.into(), number.to_string().into()]);
        numbers.chain(markers.into_iter().flat_map(|folder| ["--folder".into(), folder.into()])).collect()
    }

    fn add_requests(case: &str, ours: &Measured, list: &Measured, samples: &mut Samples) {
        let sum = |measured: &Measured| measured.requests.values().sum::<u64>() as f64;
        samples.add(case, Metric::Requests, None, sum(ours));
        samples.add(case, Metric::Requests, Some(LIST), sum(list));
        samples.add(&format!("{case} writes"), Metric::Requests, None, ours.writes() as f64);
        for (kind, count) in &ours.requests {
            samples.add(&format!("{case} {kind}"), Metric::Requests, None, *count as f64);
        }
    }

    fn add_peers(
        &self,
        case: &str,
        flags: &Flags,
        (list, find_seconds): (&Measured, Option<f64>),
        samples: &mut Samples,
    ) {
        let pages = self.objects.div_ceil(PAGE_KEYS) as f64;
        let ideal = pages * (flags.delay_millis as f64 / 1000.0) / flags.parallel as f64;
        samples.add(case, Metric::WallSeconds, Some(IDEAL), ideal);
        let (name, seconds) = match find_seconds {
            Some(seconds) => (LIST_AND_FIND, list.wall_seconds + seconds),
            None => (LIST, list.wall_seconds),
        };
        samples.add(case, Metric::WallSeconds, Some(name), seconds);
        let per_second = self.objects as f64 / list.cpu_seconds;
        samples.add(case, Metric::ObjectsPerCpuSecond, Some(LIST), per_second);
    }
}
