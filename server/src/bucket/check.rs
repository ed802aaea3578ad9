//! What is checked before a datastore is made in a bucket: rights, what the server does, settings of the bucket.

use std::time::Duration;

use bytes::Bytes;
use coldkeep_chunk_store::backend::{
    AnyBackend, BackendError, Fault, ObjectBackend, ObjectKey, Put, PutCondition, Validity,
};
use coldkeep_s3_client::ops::{GetBucketLifecycleConfiguration, Lifecycle};
use coldkeep_s3_client::probe::{BucketVersions, Found, ProbeOptions, ProbeReport, RequestBound, Warning};
use coldkeep_s3_client::{Client, RequestError};

use super::config::{S3Config, bound_of};

/// Where the rights are tried out, below the store's prefix.
const CHECK_KEY: &str = ".coldkeep-check";
/// What is put there.
const CHECK_CONTENT: &[u8] = b"coldkeep checks the rights on this bucket";

/// Why no datastore is made in a bucket. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The bucket cannot be listed.
    #[error(
        "cannot list bucket {bucket}; check endpoint, region, bucket name and keys, and that they grant s3:ListBucket"
    )]
    List {
        /// The bucket.
        bucket: String,
        /// Why.
        #[source]
        source: Box<BackendError>,
    },
    /// The server did not answer.
    #[error(
        "cannot reach {endpoint}; check the endpoint, the network and, with a certificate of its own, --fingerprint"
    )]
    Unreachable {
        /// The server.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<BackendError>,
    },
    /// A right is missing, or does not do what it should.
    #[error("the keys do not let objects below {prefix}/ be {done}; grant {action} on them")]
    Right {
        /// The store's prefix.
        prefix: String,
        /// What was tried, as a participle.
        done: &'static str,
        /// The name of the right.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<BackendError>,
    },
    /// An object was not there, or not as it was put.
    #[error("bucket {bucket} does not give back what was put into it; another server or gateway is needed")]
    Inconsistent {
        /// The bucket.
        bucket: String,
    },
    /// The probe failed.
    #[error("cannot find out what the server does; try again, or leave the check out with --no-check")]
    Probe(#[source] Box<RequestError>),
    /// The probe did not come to its end.
    #[error("the server was too slow to be checked; try again, or leave the check out with --no-check")]
    TooSlow,
    /// The bucket keeps old versions.
    #[error(
        "bucket {bucket} keeps old versions, so that deleted chunks would stay and cost space for ever; suspend \
         versioning, or use another bucket"
    )]
    KeepsVersions {
        /// The bucket.
        bucket: String,
    },
    /// Objects are locked.
    #[error("bucket {bucket} has object lock, so that chunks cannot be deleted; use a bucket without it")]
    Locked {
        /// The bucket.
        bucket: String,
    },
    /// A rule deletes or moves objects of the store.
    #[error(
        "lifecycle rule {rule} of bucket {bucket} {effect} objects below {prefix}/, and with them chunks that snapshots \
         need; exempt that prefix, or use another bucket"
    )]
    Lifecycle {
        /// The bucket.
        bucket: String,
        /// The rule's name.
        rule: String,
        /// `deletes` or `moves`.
        effect: &'static str,
        /// The store's prefix.
        prefix: String,
    },
    /// Listings cannot be trusted.
    #[error(
        "listings of bucket {bucket} leave objects out, repeat them or lack dates, so that nothing could be collected \
         safely; use another server"
    )]
    Listings {
        /// The bucket.
        bucket: String,
    },
    /// Answers bear no date.
    #[error(
        "answers of {endpoint} bear no Date, so that nobody can tell when a request has expired; use another server, or \
         have the proxy before it keep the header"
    )]
    NoDate {
        /// The server.
        endpoint: String,
    },
    /// Nothing bounds the age of requests (R9).
    #[error(
        "{endpoint} takes requests of any age, so that a delayed delete could remove a chunk that was stored again; use \
         another server, or accept that with --accept-late-requests (every chunk being readable is then not guaranteed)"
    )]
    LateRequests {
        /// The server.
        endpoint: String,
    },
    /// Requests are good for longer than the setting says (R9, R19).
    #[error(
        "{endpoint} takes requests for {} s after they were signed, whatever --request-lifetime says; leave that out, or \
         accept late requests with --accept-late-requests (every chunk being readable is then not guaranteed)",
        found.as_secs()
    )]
    Lifetime {
        /// The server.
        endpoint: String,
        /// For how long it takes requests, or is assumed to.
        found: Duration,
    },
}

/// Checks that what is set of the lifetimes of requests is true.
pub(crate) fn check_lifetime(config: &S3Config) -> Result<(), CheckError> {
    match config.lifetime_exceeded() {
        Some(found) if !config.accept_late_requests => {
            Err(CheckError::Lifetime { endpoint: config.endpoint.to_string(), found })
        }
        _ => Ok(()),
    }
}

/// Checks the bucket, and returns what the probe found.
pub(crate) async fn check(
    client: &Client,
    backend: &AnyBackend,
    config: &S3Config,
) -> Result<ProbeReport, CheckError> {
    check_rights(backend, config).await?;
    let options = ProbeOptions::new().with_prefix(&format!("{}/", config.prefix));
    let options = options.expect("invariant: prefixes are shorter than the probe allows");
    let report = client.probe(&options).await.map_err(|error| CheckError::Probe(Box::new(error)))?;
    // Asked once more, because the report does not say which keys a rule is about.
    let lifecycle = client.send(&GetBucketLifecycleConfiguration::new()).await;
    let lifecycle = lifecycle.ok().map(coldkeep_s3_client::Reply::into_value);
    judge(&report, lifecycle.as_ref(), config)?;
    Ok(report)
}

/// Lists, puts, reads and deletes an object, as plainly as can be.
async fn check_rights(backend: &AnyBackend, config: &S3Config) -> Result<(), CheckError> {
    let key = ObjectKey::new(CHECK_KEY).expect("invariant: the key is well-formed");
    let right = |done, action| {
        move |source| {
            let source = Box::new(source);
            CheckError::Right { prefix: config.prefix.to_string(), done, action, source }
        }
    };
    let listed = backend.list(CHECK_KEY, None).await.map_err(|source| match source.fault {
        Fault::Unavailable => {
            CheckError::Unreachable { endpoint: config.endpoint.to_string(), source: Box::new(source) }
        }
        _ => CheckError::List { bucket: config.bucket.to_string(), source: Box::new(source) },
    })?;
    let content = Bytes::from_static(CHECK_CONTENT);
    let put = Put { key: key.clone(), content, condition: PutCondition::Always, validity: None };
    backend.put(put).await.map_err(right("put", "s3:PutObject"))?;
    let found = backend.get(&key).await.map_err(right("read", "s3:GetObject"))?;
    let is_same = found.value.is_some_and(|(_, content)| content == CHECK_CONTENT);
    // By the server's clock: a wrong local one is not what is looked for here.
    let validity = Validity { signed_at: found.date.max(listed.date), lasts: config.lifetimes().longest() };
    let deletion = backend.delete(std::slice::from_ref(&key), validity).await;
    let deletion = deletion.map_err(right("deleted", "s3:DeleteObject"))?;
    if let Some((key, reason)) = deletion.value.refused.into_iter().next() {
        let source = BackendError {
            action: "delete",
            key: key.to_string(),
            is_unclear: false,
            fault: Fault::Denied,
            date: Some(deletion.date),
            source: reason.into(),
        };
        return Err(right("deleted", "s3:DeleteObject")(source));
    }
    if is_same { Ok(()) } else { Err(CheckError::Inconsistent { bucket: config.bucket.to_string() }) }
}

/// Decides whether a store can be made on what was found.
fn judge(report: &ProbeReport, lifecycle: Option<&Lifecycle>, config: &S3Config) -> Result<(), CheckError> {
    let bucket = || config.bucket.to_string();
    let endpoint = || config.endpoint.to_string();
    if !report.is_complete {
        return Err(CheckError::TooSlow);
    }
    if report.bucket.object_lock == Found::Yes || report.bucket.locks_by_default == Found::Yes {
        return Err(CheckError::Locked { bucket: bucket() });
    }
    if report.bucket.versions == BucketVersions::Kept {
        return Err(CheckError::KeepsVersions { bucket: bucket() });
    }
    if let Some(lifecycle) = lifecycle {
        check_lifecycle(lifecycle, config)?;
    }
    let warnings = report.warnings();
    if warnings.contains(&Warning::ListingUnreliable) {
        return Err(CheckError::Listings { bucket: bucket() });
    }
    if warnings.contains(&Warning::NoDate) {
        return Err(CheckError::NoDate { endpoint: endpoint() });
    }
    if bound_of(report) == RequestBound::None && !config.accept_late_requests {
        return Err(CheckError::LateRequests { endpoint: endpoint() });
    }
    Ok(())
}

/// Refuses rules that delete or move objects of the store. What a narrowed rule is about cannot be told, so it counts.
fn check_lifecycle(lifecycle: &Lifecycle, config: &S3Config) -> Result<(), CheckError> {
    let below = format!("{}/", config.prefix);
    let touches = |prefix: &str| prefix.starts_with(&below) || below.starts_with(prefix);
    for rule in lifecycle.rules.iter().filter(|rule| rule.is_enabled && touches(&rule.prefix)) {
        let effect = if rule.expiration.is_some() {
            "deletes"
        } else if rule.transitions.iter().any(|transition| !transition.is_noncurrent) {
            "moves"
        } else {
            continue;
        };
        let rule = rule.id.clone().unwrap_or_else(|| "without a name".to_owned());
        let (bucket, prefix) = (config.bucket.to_string(), config.prefix.to_string());
        return Err(CheckError::Lifecycle { bucket, rule, effect, prefix });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coldkeep_s3_client::ops::{LifecycleDue, LifecycleRule};
    use coldkeep_s3_client::probe::{ClockOffset, Presigning};

    use super::*;

    fn config() -> S3Config {
        let text = r#"{"endpoint":"http://127.0.0.1:9","bucket":"backups","region":"us-east-1","prefix":"tank","cache-size":1}"#;
        serde_json::from_str(text).unwrap()
    }

    fn good() -> ProbeReport {
        let mut report = ProbeReport::default();
        report.is_complete = true;
        let presigned = Presigning::Enforced { late: Duration::from_secs(5) };
        (report.signatures.delete.presigned, report.signatures.put.presigned) = (presigned, presigned);
        report.dates.offset = Some(ClockOffset { ahead_millis: 0, uncertainty_millis: 500 });
        report
    }

    #[test]
    fn what_would_break_a_store_is_refused_with_the_reason() {
        type Spoil = fn(&mut ProbeReport);
        assert!(judge(&good(), None, &config()).is_ok());
        let cases: [(Spoil, &str); 7] = [
            (|report| report.is_complete = false, "--no-check"),
            (|report| report.bucket.versions = BucketVersions::Kept, "versioning"),
            (|report| report.bucket.object_lock = Found::Yes, "object lock"),
            (|report| report.listing.paging = Found::No, "listings"),
            (|report| report.dates.offset = None, "Date"),
            (|report| report.signatures.delete.presigned = Presigning::NotEnforced, "--accept-late-requests"),
            (|report| report.signatures.put.presigned = Presigning::Unknown, "--accept-late-requests"),
        ];
        for (spoil, named) in cases {
            let mut report = good();
            spoil(&mut report);
            let error = judge(&report, None, &config()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let accepting = S3Config { accept_late_requests: true, ..config() };
        let mut unbounded = good();
        unbounded.signatures.delete.presigned = Presigning::NotEnforced;
        assert!(judge(&unbounded, None, &accepting).is_ok());
    }

    #[test]
    fn a_lifetime_that_the_server_does_not_enforce_needs_consent() {
        let short = S3Config { request_lifetime: Some(5), ..config() };
        let error = check_lifetime(&short).unwrap_err().to_string();
        assert!(error.contains("900 s") && error.contains("--accept-late-requests"), "{error}");
        let presigned = S3Config { probe: Some(good()), ..short.clone() };
        let accepting = S3Config { accept_late_requests: true, ..short };
        for fine in [config(), presigned, accepting] {
            assert!(check_lifetime(&fine).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn only_rules_that_touch_the_store_count() {
        let verdict = |prefix: &str, is_enabled, expiration| {
            let mut rule = LifecycleRule::default();
            rule.id = Some("tidy".to_owned());
            prefix.clone_into(&mut rule.prefix);
            (rule.is_enabled, rule.expiration) = (is_enabled, expiration);
            let mut lifecycle = Lifecycle::default();
            lifecycle.rules.push(rule);
            check_lifecycle(&lifecycle, &config())
        };
        let due = Some(LifecycleDue::Days(1));
        for prefix in ["", "t", "tank/", "tank/.chunks/"] {
            let error = verdict(prefix, true, due).unwrap_err().to_string();
            assert!(error.contains("rule tidy of bucket backups deletes"), "{prefix}: {error}");
            assert!(verdict(prefix, false, due).is_ok() && verdict(prefix, true, None).is_ok());
        }
        for prefix in ["tank2", "logs/", "tank.old/"] {
            assert!(verdict(prefix, true, due).is_ok(), "{prefix}");
        }
    }
}
