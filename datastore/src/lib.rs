//! Snapshots of deduplicated backups: namespaces, groups, indexes, manifests, verification.
