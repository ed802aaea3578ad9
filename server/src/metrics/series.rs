//! Values that are known only when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// One metric with the values of all its label sets.
#[derive(Debug)]
pub(super) struct Series {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    points: Vec<(Labels, f64)>,
}

/// Labels with their values.
pub(super) type Labels = Vec<(&'static str, String)>;

impl Series {
    /// A value that only grows; `_total` is added to its name.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, is_counter: true, points: Vec::new() }
    }

    /// A value that goes up and down.
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { is_counter: false, ..Self::counter(name, help) }
    }

    /// Adds a value.
    pub(super) fn add(&mut self, labels: Labels, value: f64) {
        self.points.push((labels, value));
    }

    /// Returns the metric with the value 1 and one label.
    pub(super) fn labelled(mut self, name: &'static str, value: &str) -> Self {
        self.add(vec![(name, value.to_owned())], 1.0);
        self
    }

    /// Returns the metric with its only value.
    pub(super) fn with(mut self, value: f64) -> Self {
        self.add(Vec::new(), value);
        self
    }
}

/// What was gathered.
#[derive(Debug)]
pub(super) struct Gathered(pub(super) Vec<Series>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for series in self.0.iter().filter(|series| !series.points.is_empty()) {
            let kind = if series.is_counter { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(series.name, series.help, None, kind)?;
            for (labels, value) in &series.points {
                let mut point = metric.encode_family(labels)?;
                if series.is_counter {
                    point.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
                } else {
                    point.encode_gauge(value)?;
                }
            }
        }
        Ok(())
    }
}
