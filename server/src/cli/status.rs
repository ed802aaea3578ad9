//! `coldkeep status`.

use anyhow::Result;
use clap::Args;
use coldkeep_client::{StoreStatus, TypeCount};
use coldkeep_datastore::StoreName;
use serde::Serialize;
use serde_json::Value;

use super::human;
use super::shell::Shell;
use super::table::facts;
use super::target::{Missing, Target};

/// The arguments of `coldkeep status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Serialize)]
struct Shown {
    store: StoreName,
    #[serde(flatten)]
    status: StoreStatus,
}

impl Status {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let ask = async |store: coldkeep_client::Store| {
            Ok(Shown { store: store.name().clone(), status: store.status().await? })
        };
        let shown = self.target.run(shell, Missing::Refuse, ask).await?;
        shell.show(&shown, describe)
    }
}

fn describe(shown: &Shown) -> String {
    let StoreStatus { total, used, avail, counts, gc_status, .. } = &shown.status;
    let mut lines = vec![
        ("datastore", shown.store.to_string()),
        ("size", human::bytes(*total)),
        ("used", format!("{} ({})", human::bytes(*used), human::percent(*used, *total))),
        ("free", human::bytes(*avail)),
    ];
    if let Some(counts) = counts {
        for (name, count) in
            [("hosts", counts.host), ("virtual machines", counts.vm), ("containers", counts.ct)]
        {
            let TypeCount { groups, snapshots } = count.unwrap_or_default();
            if groups > 0 {
                lines.push((name, format!("{groups} with {}", human::count(snapshots, "snapshot"))));
            }
        }
    }
    if let Some(gc) = gc_status.as_ref().filter(|gc| gc.upid.is_some()) {
        let ended =
            gc.last_run_endtime.map_or_else(String::new, |time| format!(", ended {}", human::time(time)));
        let state = gc.last_run_state.as_deref().unwrap_or("OK");
        lines.push(("last collection", format!("{state}{ended}")));
        lines.push((
            "chunks",
            format!("{} in {}", human::bytes(gc.disk_bytes), human::count(gc.disk_chunks, "chunk")),
        ));
    }
    if let Some(bucket) = &shown.status.bucket {
        lines.extend(describe_bucket(bucket));
    }
    facts(&lines)
}

/// Says what a datastore in a bucket tells about itself; what a server leaves out is not shown.
fn describe_bucket(bucket: &Value) -> Vec<(&'static str, String)> {
    let number = |pointer: &str| bucket.pointer(pointer).and_then(Value::as_u64);
    let bytes = |pointer: &str| number(pointer).map(human::bytes).unwrap_or_default();
    let count = |pointer: &str| number(pointer).unwrap_or_default();
    let text = |pointer: &str| bucket.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![
        ("state", text("/state")),
        ("bucket", format!("{}/{} on {}", text("/bucket"), text("/prefix"), text("/endpoint"))),
        ("cache", format!("{} of {}", bytes("/cache/bytes"), bytes("/cache/bytes-max"))),
    ];
    if let Some(rate) = bucket.pointer("/cache/hit-rate").and_then(Value::as_f64) {
        lines.push((
            "read from the cache",
            format!("{:.0} % of {}", rate * 100.0, {
                human::count(count("/cache/hits") + count("/cache/misses"), "chunk")
            }),
        ));
    }
    let uploads = (count("/uploads/running"), count("/uploads/allowed"), bytes("/uploads/bytes"));
    lines.push(("uploads", format!("{} of {} at once, {}", uploads.0, uploads.1, uploads.2)));
    let journal = (count("/journal/in-limbo"), count("/journal/closed-paths"));
    if journal != (0, 0) {
        lines.push((
            "waiting for expiry",
            format!("{} and {}", human::count(journal.0, "chunk"), human::count(journal.1, "path")),
        ));
    }
    if let Some(operations) = bucket.get("operations").and_then(Value::as_object) {
        for (name, one) in operations {
            let of = |key: &str| one.get(key).and_then(Value::as_u64).unwrap_or_default();
            let transferred = human::bytes(of("bytes-sent") + of("bytes-received"));
            let failed = match of("failed") {
                0 => String::new(),
                failed => format!(", {failed} failed"),
            };
            lines.push(("requests", format!("{} {name}, {transferred}{failed}", of("requests"))));
        }
    }
    if let Some(monthly) = number("/requests-per-month") {
        lines.push(("requests a month", format!("about {monthly}")));
    }
    let caveats = bucket.get("caveats").and_then(Value::as_array).into_iter().flatten();
    lines.extend(caveats.filter_map(Value::as_str).map(|caveat| ("note", caveat.to_owned())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_and_counts_are_shown() {
        let vector =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/json/status-verbose.json"));
        let answer: serde_json::Value = serde_json::from_str(vector).unwrap();
        let status = serde_json::from_value(answer["data"].clone()).unwrap();
        let shown = Shown { store: "tank".parse().unwrap(), status };
        let text = describe(&shown);
        assert!(text.contains("used:      4.00 GiB (1 %)\n"), "{text}");
        assert!(text.contains("hosts:     1 with 1 snapshot\n"), "{text}");
        assert!(!text.contains("virtual") && !text.contains("collection"), "{text}");
        assert_eq!(serde_json::to_value(&shown).unwrap()["store"], "tank");
    }
}
