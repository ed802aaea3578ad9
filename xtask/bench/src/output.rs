//! Figures, and how they are printed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine::Machine;

/// One benchmark's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

/// One figure, ours beside those of others.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: String,
    metric: &'static str,
    unit: &'static str,
    coldkeep: f64,
    peers: BTreeMap<String, f64>,
    /// Above 1 means ahead of the best peer; `null` without peers.
    best_peer_ratio: Option<f64>,
}

/// What is measured. The names are those of the design; other tools read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    WallSeconds,
    BytesPerSecond,
    CpuSecondsPerGib,
    ServerCpuSecondsPerGib,
    ClientCpuSecondsPerGib,
    ServerCpuSeconds,
    PeakMemoryBytes,
    StoredBytes,
    ObjectsPerSecond,
    ObjectsPerCpuSecond,
    ReferencesPerSecondPerCore,
    BytesPerChunk,
    Requests,
    RateKeptAtLatency,
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Metric::WallSeconds => "wall_seconds",
            Metric::BytesPerSecond => "bytes_per_second",
            Metric::CpuSecondsPerGib => "cpu_seconds_per_gib",
            Metric::ServerCpuSecondsPerGib => "server_cpu_seconds_per_gib",
            Metric::ClientCpuSecondsPerGib => "client_cpu_seconds_per_gib",
            Metric::ServerCpuSeconds => "server_cpu_seconds",
            Metric::PeakMemoryBytes => "peak_memory_bytes",
            Metric::StoredBytes => "stored_bytes",
            Metric::ObjectsPerSecond => "objects_per_second",
            Metric::ObjectsPerCpuSecond => "objects_per_cpu_second",
            Metric::ReferencesPerSecondPerCore => "references_per_second_per_core",
            Metric::BytesPerChunk => "bytes_per_chunk",
            Metric::Requests => "requests",
            Metric::RateKeptAtLatency => "rate_kept_at_latency",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Metric::WallSeconds | Metric::ServerCpuSeconds => "s",
            Metric::BytesPerSecond => "B/s",
            Metric::CpuSecondsPerGib | Metric::ServerCpuSecondsPerGib | Metric::ClientCpuSecondsPerGib => {
                "s/GiB"
            }
            Metric::PeakMemoryBytes | Metric::StoredBytes | Metric::BytesPerChunk => "B",
            Metric::ObjectsPerSecond | Metric::ObjectsPerCpuSecond | Metric::ReferencesPerSecondPerCore => {
                "1/s"
            }
            Metric::Requests => "requests",
            Metric::RateKeptAtLatency => "ratio",
        }
    }

    fn more_is_better(self) -> bool {
        matches!(
            self,
            Metric::BytesPerSecond
                | Metric::ObjectsPerSecond
                | Metric::ObjectsPerCpuSecond
                | Metric::ReferencesPerSecondPerCore
                | Metric::RateKeptAtLatency
        )
    }
}

/// The values of all runs, from which rows are made.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// In the order in which they first came; `None` is us.
    order: Vec<(String, Metric)>,
    values: BTreeMap<(String, Metric), BTreeMap<Option<String>, Vec<f64>>>,
}

impl Samples {
    /// Adds what one run of ours (`who` is `None`) or of a peer gave.
    pub(crate) fn add(&mut self, case: &str, metric: Metric, who: Option<&str>, value: f64) {
        let key = (case.to_owned(), metric);
        if !self.order.contains(&key) {
            self.order.push(key.clone());
        }
        self.values.entry(key).or_default().entry(who.map(str::to_owned)).or_default().push(value);
    }

    /// Makes one row of medians for each figure that we have a value for.
    pub(crate) fn into_rows(mut self) -> Vec<Row> {
        let order = std::mem::take(&mut self.order);
        order.into_iter().filter_map(|key| row(&key, self.values.remove(&key)?)).collect()
    }
}

fn row((case, metric): &(String, Metric), values: BTreeMap<Option<String>, Vec<f64>>) -> Option<Row> {
    let medians = values.into_iter().map(|(who, values)| (who, median(values)));
    let (ours, peers): (Vec<_>, Vec<_>) = medians.partition(|(who, _)| who.is_none());
    let coldkeep = ours.first()?.1;
    let peers: BTreeMap<String, f64> =
        peers.into_iter().filter_map(|(who, value)| Some((who?, value))).collect();
    let best_peer_ratio = best_peer_ratio(*metric, coldkeep, peers.values().copied());
    Some(Row {
        case: case.clone(),
        metric: metric.name(),
        unit: metric.unit(),
        coldkeep,
        peers,
        best_peer_ratio,
    })
}

/// Ours over the best peer where more is better, the inverse where less is: above 1 always means ahead.
fn best_peer_ratio(metric: Metric, ours: f64, peers: impl Iterator<Item = f64>) -> Option<f64> {
    let ratio =
        if metric.more_is_better() { ours / peers.reduce(f64::max)? } else { peers.reduce(f64::min)? / ours };
    // A division by zero has no place in JSON.
    ratio.is_finite().then_some(ratio)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Prints a table, or with `json` exactly one object.
pub(crate) fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report).context("cannot write JSON")?);
        return Ok(());
    }
    let Report { machine, rows, .. } = report;
    println!("{machine:?}");
    for row in rows {
        let peers = row.peers.iter().map(|(name, value)| format!("  {name} {}", shown(*value)));
        let ratio = row.best_peer_ratio.map(|ratio| format!("  ratio {ratio:.2}")).unwrap_or_default();
        println!(
            "{:28} {:32} {:>14} {:6}{}{ratio}",
            row.case,
            row.metric,
            shown(row.coldkeep),
            row.unit,
            peers.collect::<String>()
        );
    }
    Ok(())
}

fn shown(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_above_one_means_ahead() {
        let wall = best_peer_ratio(Metric::WallSeconds, 2.0, [4.0, 8.0].into_iter()).unwrap();
        assert!((wall - 2.0).abs() < 1e-9);
        let rate = best_peer_ratio(Metric::BytesPerSecond, 30.0, [10.0, 15.0].into_iter()).unwrap();
        assert!((rate - 2.0).abs() < 1e-9);
        assert!(best_peer_ratio(Metric::WallSeconds, 2.0, std::iter::empty()).is_none());
        assert!(best_peer_ratio(Metric::WallSeconds, 0.0, [1.0].into_iter()).is_none());
    }

    #[test]
    fn rows_have_the_shape_that_readers_expect() {
        let mut samples = Samples::default();
        for value in [1.0, 3.0, 2.0] {
            samples.add("restore", Metric::WallSeconds, None, value);
        }
        samples.add("restore", Metric::WallSeconds, Some("restic"), 4.0);
        samples.add("restore", Metric::StoredBytes, Some("restic"), 4.0);
        let rows = samples.into_rows();
        let json = serde_json::to_value(&rows).unwrap();
        let expected = serde_json::json!([{"case": "restore", "metric": "wall_seconds", "unit": "s", "coldkeep": 2.0,
            "peers": {"restic": 4.0}, "best_peer_ratio": 2.0}]);
        assert_eq!(json, expected);
    }
}
