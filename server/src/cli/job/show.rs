//! Jobs for people.

use coldkeep_client::JobItem;

use crate::cli::human;
use crate::cli::table::{Align, Table, facts};

/// Lists jobs.
pub(super) fn table(jobs: &[JobItem]) -> String {
    let mut table = Table::new([
        ("job", Align::Left),
        ("kind", Align::Left),
        ("on", Align::Left),
        ("schedule", Align::Left),
        ("next run", Align::Left),
        ("last end", Align::Left),
        ("result", Align::Left),
    ]);
    for job in jobs {
        table.push([
            job.id.to_string(),
            job.kind.to_string(),
            place(job),
            schedule(job),
            next_run(job),
            job.last_run_endtime.map(human::time).unwrap_or_default(),
            result(job),
        ]);
    }
    table.render("no jobs")
}

/// Writes everything about a job.
pub(super) fn describe(job: &JobItem) -> String {
    let mut lines = vec![
        ("job", job.id.to_string()),
        ("does", format!("{} on {}", job.kind, place(job))),
        ("schedule", schedule(job)),
        ("next run", next_run(job)),
        ("runs as", job.run_as.clone()),
        ("retries", format!("{}, the first after {} s", job.retries, job.retry_wait)),
        ("tells", told(job)),
    ];
    // Whatever else is said of it, as the calls have it.
    let options = match serde_json::to_value(&job.options) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let options: Vec<(String, String)> = options
        .into_iter()
        .filter(|(name, _)| name != "ns")
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    lines.extend(options.iter().map(|(name, value)| (name.as_str(), value.clone())));
    if let Some(comment) = &job.comment {
        lines.push(("comment", comment.clone()));
    }
    if let Some(upid) = &job.last_run_upid {
        lines.push(("last run", upid.clone()));
        lines.push(("last end", job.last_run_endtime.map(human::time).unwrap_or_default()));
        lines.push(("result", result(job)));
    }
    if let Some(at) = job.next_retry {
        lines.push(("next retry", format!("{}, after {} retries", human::time(at), job.retries_done)));
    }
    facts(&lines)
}

fn place(job: &JobItem) -> String {
    job.options.ns.as_ref().map_or_else(|| job.store.to_string(), |ns| format!("{}/{ns}", job.store))
}

fn schedule(job: &JobItem) -> String {
    match &job.schedule {
        Some(event) if job.enabled => event.clone(),
        Some(event) => format!("{event} (off)"),
        None => "by hand".to_owned(),
    }
}

fn next_run(job: &JobItem) -> String {
    job.next_run.map(human::time).unwrap_or_default()
}

fn result(job: &JobItem) -> String {
    match (&job.last_run_upid, &job.last_run_state) {
        (Some(_), None) => "running".to_owned(),
        (_, state) => state.clone().unwrap_or_default(),
    }
}

fn told(job: &JobItem) -> String {
    let whom = job.notify_url.as_deref().unwrap_or("nobody");
    if job.notify_url.is_some() { format!("{whom}: {}", job.notify) } else { whom.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(more: &str) -> JobItem {
        let text = format!(
            r#"{{"id":"nightly","store":"tank","kind":"prune","enabled":true,"run-as":"root@pam","retries":2,
                "retry-wait":60,"notify":"failure","keep-last":3,"ns":"a/b"{more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_table_tells_when_and_how() {
        let jobs = [
            item(""),
            item(
                r#","schedule":"02:30","next-run":1700000000,"last-run-upid":"U","last-run-state":"OK","last-run-endtime":1"#,
            ),
            JobItem { enabled: false, ..item(r#","schedule":"02:30","last-run-upid":"U""#) },
        ];
        let text = table(&jobs);
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "job      kind   on        schedule     next run              last end              result",
                "nightly  prune  tank/a/b  by hand",
                "nightly  prune  tank/a/b  02:30        2023-11-14T22:13:20Z  1970-01-01T00:00:01Z  OK",
                "nightly  prune  tank/a/b  02:30 (off)                                              running",
            ]
        );
    }

    #[test]
    fn everything_is_shown() {
        let text = describe(&item(
            r#","notify-url":"http://a/","comment":"x","last-run-upid":"U","last-run-state":"no","next-retry":5,"retries-done":1"#,
        ));
        for line in ["keep-last:  3", "tells:      http://a/: failure", "result:     no", "after 1 retries"] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
