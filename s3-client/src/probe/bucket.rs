//! Settings of the bucket that keep deleted objects or delete kept ones.

use super::bare::Bare;
use super::findings::{BucketVersions, Found};
use super::report::BucketSettings;
use super::session::Session;
use crate::error::RequestError;
use crate::ops::{
    GetBucketLifecycleConfiguration, GetBucketVersioning, GetObjectLockConfiguration, Lifecycle, ObjectLock,
    S3Operation, Versioning,
};
use crate::transport::Transport;

/// What a bucket without any says instead of a configuration (S3 API reference, "Error responses").
const NONE_CODES: [&str; 2] = ["NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"];

/// Reads the settings. What the credentials may not ask, or the server does not know, is unknown.
pub(super) async fn settings<T: Transport>(session: &Session<'_, T>) -> BucketSettings {
    let versioning = ask(session, GetBucketVersioning::new()).await;
    let lock = or_none(ask(session, GetObjectLockConfiguration::new()).await);
    let lifecycle = or_none(ask(session, GetBucketLifecycleConfiguration::new()).await);
    decide(versioning.ok(), lock.as_ref(), lifecycle.as_ref())
}

async fn ask<T: Transport, O: S3Operation>(
    session: &Session<'_, T>,
    op: O,
) -> Result<O::Output, RequestError> {
    let op = Bare::new(op);
    let raw = session.ask(&op).await?;
    session.read(&op, raw)
}

/// Takes the answer that there is no configuration for an empty one.
fn or_none<V: Default>(result: Result<V, RequestError>) -> Option<V> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let code = error.service_error().and_then(|error| error.code().name());
            code.is_some_and(|code| NONE_CODES.contains(&code)).then(V::default)
        }
    }
}

fn decide(
    versioning: Option<Versioning>,
    lock: Option<&ObjectLock>,
    lifecycle: Option<&Lifecycle>,
) -> BucketSettings {
    let any = |is: fn(&crate::ops::LifecycleRule) -> bool| -> Found {
        lifecycle.map(|lifecycle| lifecycle.rules.iter().any(|rule| rule.is_enabled && is(rule))).into()
    };
    BucketSettings {
        versions: match versioning {
            Some(Versioning::Off) => BucketVersions::Off,
            Some(Versioning::Enabled) => BucketVersions::Kept,
            Some(Versioning::Suspended) => BucketVersions::Suspended,
            None => BucketVersions::Unknown,
        },
        object_lock: lock.map(|lock| lock.is_enabled).into(),
        locks_by_default: lock.map(|lock| lock.default_retention.is_some()).into(),
        expires_objects: any(|rule| rule.expiration.is_some()),
        moves_objects: any(|rule| rule.transitions.iter().any(|transition| !transition.is_noncurrent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, Operation, ServiceError, Subject};
    use crate::ops::{LifecycleDue, LifecycleRule};
    use crate::outcome::Outcome;

    fn rule(is_enabled: bool) -> Lifecycle {
        let expiration = Some(LifecycleDue::Days(1));
        Lifecycle { rules: vec![LifecycleRule { is_enabled, expiration, ..LifecycleRule::default() }] }
    }

    #[test]
    fn only_rules_in_force_count() {
        assert_eq!(decide(None, None, Some(&rule(true))).expires_objects, Found::Yes);
        assert_eq!(decide(None, None, Some(&rule(false))).expires_objects, Found::No);
        assert_eq!(decide(None, None, None).expires_objects, Found::Unknown);
    }

    #[test]
    fn no_configuration_is_one_and_no_permission_is_not() {
        let refused = |status, code| -> Option<Lifecycle> {
            let cause = Cause::Refused(ServiceError::new(status, Some(code), "", None));
            let subject =
                Subject { operation: Operation::GetBucketLifecycleConfiguration, target: String::new() };
            or_none(Err(RequestError::new(subject, 1, Outcome::NONE, cause)))
        };
        assert_eq!(refused(404, "NoSuchLifecycleConfiguration"), Some(Lifecycle::default()));
        assert_eq!(refused(403, "AccessDenied"), None);
    }
}
