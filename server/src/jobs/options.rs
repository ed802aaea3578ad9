//! The options of jobs: what they take, and which kinds of jobs they go with.

use coldkeep_client::{JobKind, JobOptions};
use coldkeep_datastore::{GroupFilter, Namespace, RemoteName, StoreName};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};

use super::JobError;
use crate::api::datastore::{gc, keep, verify};
use crate::api::{Kind, Param, sync};
use crate::auth::AuthId;

/// Everything that is an option of a job; the table of REST parameters has the same, and so has what a file may hold.
pub(crate) const OPTIONS: [Param; 27] = [
    Param::optional("ns", NAMESPACE, "Namespace, not of gc jobs; absent for the root."),
    Param::optional(
        "max-depth",
        sync::DEPTH,
        "How many levels of namespaces below it, not of gc jobs; default: all.",
    ),
    Param::optional("max-delete-rate", gc::RATE, "gc: remove so many chunks a second at most."),
    Param::optional("keep-last", keep::COUNT, "prune: keep so many of the newest snapshots."),
    Param::optional("keep-hourly", keep::COUNT, "prune: keep the newest snapshot of so many hours."),
    Param::optional("keep-daily", keep::COUNT, "prune: keep the newest snapshot of so many days."),
    Param::optional("keep-weekly", keep::COUNT, "prune: keep the newest snapshot of so many weeks."),
    Param::optional("keep-monthly", keep::COUNT, "prune: keep the newest snapshot of so many months."),
    Param::optional("keep-yearly", keep::COUNT, "prune: keep the newest snapshot of so many years."),
    Param::optional(
        "ignore-verified",
        Kind::Boolean,
        "verify: skip snapshots that were verified before; default: true.",
    ),
    Param::optional(
        "outdated-after",
        verify::DAYS,
        "verify: days after which a verification no longer counts.",
    ),
    Param::optional(
        "verify-threads",
        verify::THREADS,
        "verify: read and check so many chunks at once; default: 4.",
    ),
    Param::optional("max-read-rate", verify::RATE, "verify: read so many bytes of chunks a second at most."),
    Param::optional("remote", Kind::name::<RemoteName>("remote name"), "pull, push: the other server."),
    Param::optional("remote-store", Kind::name::<StoreName>("datastore name"), "pull, push: its datastore."),
    Param::optional("remote-ns", NAMESPACE, "pull, push: its namespace."),
    Param::optional(
        "owner",
        Kind::name::<AuthId>("user or token"),
        "pull: owner of the groups; default: whoever the job runs as. Any other needs Datastore.Modify.",
    ),
    Param::optional(
        "remove-vanished",
        Kind::Boolean,
        "pull, push: remove what the source no longer has, but for protected snapshots.",
    ),
    Param::optional(
        "group-filter",
        Kind::List(&Kind::name::<GroupFilter>("group filter")),
        "pull, push: `[include:|exclude:]` and `type:vm`, `group:vm/100` or `regex:…`.",
    ),
    Param::optional(
        "transfer-last",
        sync::COUNT,
        "pull, push: only so many of the newest snapshots of each group.",
    ),
    Param::optional(
        "resync-corrupt",
        Kind::Boolean,
        "pull: copy snapshots again that failed their verification here.",
    ),
    Param::optional("encrypted-only", Kind::Boolean, "pull, push: only snapshots that are encrypted whole."),
    Param::optional(
        "verified-only",
        Kind::Boolean,
        "pull, push: only snapshots that were verified and found whole.",
    ),
    Param::optional(
        "worker-threads",
        sync::GROUPS_AT_ONCE,
        "pull, push: groups that are copied at the same time.",
    ),
    Param::optional("rate-in", sync::BYTES_A_SECOND, "pull: most bytes a second."),
    Param::optional("rate-out", sync::BYTES_A_SECOND, "push: most bytes a second."),
    Param::optional(
        "trusted-remote",
        Kind::Boolean,
        "pull: use any chunk that the datastore has without fetching it. Needs Datastore.Modify on the whole datastore.",
    ),
];

/// Longest filters of a job, all of them together, in bytes: they stand in a file with those of all other jobs.
const FILTERS_BYTES_MAX: usize = 16 << 10;

const NAMESPACE: Kind = Kind::name::<Namespace>("namespace");

/// Tells whether an option goes with a kind of jobs.
fn goes_with(option: &str, kind: JobKind) -> bool {
    match option {
        "ns" | "max-depth" => kind != JobKind::Gc,
        "max-delete-rate" => kind == JobKind::Gc,
        "ignore-verified" | "outdated-after" | "verify-threads" | "max-read-rate" => kind == JobKind::Verify,
        "owner" | "resync-corrupt" | "rate-in" | "trusted-remote" => kind == JobKind::Pull,
        "rate-out" => kind == JobKind::Push,
        keep if keep.starts_with("keep-") => kind == JobKind::Prune,
        _ => matches!(kind, JobKind::Pull | JobKind::Push),
    }
}

/// Returns the options that are given, by their names.
pub(crate) fn to_map(options: &JobOptions) -> Map<String, Value> {
    // Options have a plain JSON form, so nothing is lost here.
    match serde_json::to_value(options) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Reads options without taking unknown ones: clients ignore those of later servers, but in a file they are slips of the pen.
pub(super) fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobOptions, D::Error> {
    let map = Map::deserialize(deserializer)?;
    if let Some(name) = map.keys().find(|name| OPTIONS.iter().all(|param| param.name != name.as_str())) {
        return Err(D::Error::custom(format_args!("unknown option {name}")));
    }
    serde_json::from_value(map.into()).map_err(D::Error::custom)
}

/// Refuses options that do not go with the kind, and values that the same REST parameter would not take: they may come from a
/// file that somebody edited.
pub(super) fn check(kind: JobKind, options: &JobOptions) -> Result<(), JobError> {
    if options.group_filter.iter().flatten().map(String::len).sum::<usize>() > FILTERS_BYTES_MAX {
        let reason = format!("longer than {FILTERS_BYTES_MAX} bytes in all");
        return Err(JobError::Value { option: "group-filter", reason });
    }
    for (option, value) in to_map(options) {
        let param = OPTIONS.iter().find(|param| param.name == option && goes_with(&option, kind));
        let Some(param) = param else { return Err(JobError::Foreign { option, kind }) };
        let values = match value {
            Value::Array(values) => values,
            single => vec![single],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let normal = param.kind.normalise(text);
            normal.map_err(|reason| JobError::Value { option: param.name, reason })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_a_member_and_goes_with_some_kind() {
        let names: Vec<&str> = OPTIONS.iter().map(|param| param.name).collect();
        for name in &names {
            assert!(JobKind::ALL.into_iter().any(|kind| goes_with(name, kind)), "{name}");
        }
        let counts = JobKind::ALL.map(|kind| names.iter().filter(|name| goes_with(name, kind)).count());
        // pull, push, prune, verify, gc.
        assert_eq!(counts, [15, 12, 8, 6, 1]);
        for param in OPTIONS {
            let value: Value = match param.kind {
                Kind::Boolean => true.into(),
                Kind::Integer { min, .. } => min.into(),
                Kind::List(_) => vec!["type:vm"].into(),
                _ if param.name == "owner" => "joe@pbs".into(),
                _ => "tank".into(),
            };
            let map: Map<String, Value> = [(param.name.to_owned(), value)].into_iter().collect();
            let options: JobOptions = serde_json::from_value(map.clone().into()).unwrap();
            assert_eq!(to_map(&options), map);
        }
    }

    #[test]
    fn values_that_no_request_could_give_are_refused() {
        let options = JobOptions { max_depth: Some(8), ..JobOptions::default() };
        let error = check(JobKind::Verify, &options).unwrap_err();
        assert_eq!(error.to_string(), "parameter 'max-depth': must be from 0 to 7");
        let options = JobOptions { group_filter: Some(vec!["what".to_owned()]), ..JobOptions::default() };
        assert!(matches!(
            check(JobKind::Pull, &options),
            Err(JobError::Value { option: "group-filter", .. })
        ));
        assert!(matches!(check(JobKind::Prune, &options), Err(JobError::Foreign { .. })));
        let long = vec![format!("regex:{}", "x".repeat(4000)); 5];
        let options = JobOptions { group_filter: Some(long), ..JobOptions::default() };
        assert!(matches!(
            check(JobKind::Pull, &options),
            Err(JobError::Value { option: "group-filter", .. })
        ));
        let options = JobOptions { worker_threads: Some(0), ..JobOptions::default() };
        assert!(check(JobKind::Push, &options).is_err());
        assert!(check(JobKind::Push, &JobOptions::default()).is_ok());
    }
}
