//! The bounds of a server: what it holds at once and how long it waits.

use std::time::Duration;

/// The bounds of a server. The defaults suit a server with a few hundred clients; tests shorten the waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most connections at once; further ones wait in the listen queue.
    pub connections_max: usize,
    /// Most connections at once of one address (of IPv6: of one network of 64 bits); further ones are answered 503.
    pub connections_per_address_max: usize,
    /// Most backup and reader sessions at once; further ones are answered 503.
    pub sessions_max: usize,
    /// The same of one user with all tokens.
    pub sessions_per_user_max: usize,
    /// Longest time for the first byte and the TLS handshake of a connection.
    pub handshake: Duration,
    /// Longest time for a complete request head, counted from the connection's start or the previous answer: so it
    /// bounds both idle connections and heads that are sent slowly.
    pub request_head: Duration,
    /// Longest time for one uploaded body, once the server reads it (R18).
    pub upload: Duration,
    /// Most bytes of uploaded bodies that one session holds in memory; at least one chunk of the greatest size.
    pub session_upload_bytes: usize,
    /// The same for all sessions together; each store in a bucket has 128 MiB, and the sessions of all of them
    /// 256 MiB beyond that.
    pub upload_bytes_max: usize,
    /// Most bytes of chunks on their way to readers, all sessions together; each store in a bucket has 512 MiB.
    pub download_bytes_max: usize,
    /// Bytes a second.
    pub bandwidth: Bandwidth,
    /// As `session_upload_bytes`, for uploads to the REST API, all connections together.
    pub rest_upload_bytes: usize,
    /// How often an HTTP/2 client is asked for a sign of life (R18).
    pub ping_interval: Duration,
    /// How long that sign may take (R18).
    pub ping_timeout: Duration,
    /// How long an answer 401 is held back, so that guessing is slow; stock clients know of it.
    pub unauthorized_delay: Duration,
    /// How long an answer 403 is held back.
    pub forbidden_delay: Duration,
    /// How many wrong passwords and token secrets are looked at.
    pub logins: LoginLimits,
    /// How much of the audit log is kept.
    pub audit: AuditLimits,
    /// How long chunks that nothing refers to stay after their last use, where the datastore's entry does not say (R13).
    pub gc_grace: Duration,
    /// What is taken off the cutoff once more, where the datastore's entry does not say (R13).
    pub gc_margin: Duration,
    /// How many jobs run at a time, in all datastores together; in one, one does.
    pub jobs_at_once: usize,
    /// How long running sessions and tasks may go on after the server was asked to end.
    pub shutdown: Duration,
}

/// How many wrong passwords and token secrets are looked at. Tickets, their renewal, and secrets of tokens that were found
/// right since the server started are not refused for what others guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginLimits {
    /// How long failures count, from the first one on.
    pub window: Duration,
    /// Failures from one address (of IPv6: from one /64), after which nothing more from there is looked at.
    pub failures_per_address: u32,
    /// Failures of one user or token from one address, after which nothing more of that user from there is looked at.
    pub failures_per_user_and_address: u32,
    /// Failures of one user or token from all addresses together, after which each further attempt waits first.
    pub failures_per_user: u32,
    /// How long it waits then.
    pub user_delay: Duration,
    /// Most addresses, users, and users at addresses that are remembered; about 200 bytes each.
    pub entries_max: usize,
}

/// How much of the audit log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLimits {
    /// Size of one file, after which the next one is begun.
    pub file_bytes: usize,
    /// Files kept, the current one among them; at least one.
    pub files: u32,
    /// Lines that wait to be written; what comes beyond that is counted and lost.
    pub queue_lines: usize,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(5),
            failures_per_address: 20,
            failures_per_user_and_address: 5,
            failures_per_user: 50,
            user_delay: Duration::from_secs(3),
            entries_max: 8192,
        }
    }
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 10, queue_lines: 4096 }
    }
}

/// Most bytes of bodies a second, on average; 0 for as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// What the server receives from one user with all tokens.
    pub user_in: u64,
    /// What it sends to one user with all tokens.
    pub user_out: u64,
    /// What it receives for one datastore.
    pub store_in: u64,
    /// What it sends from one datastore.
    pub store_out: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            connections_per_address_max: 256,
            sessions_max: 256,
            sessions_per_user_max: 128,
            handshake: Duration::from_secs(10),
            request_head: Duration::from_mins(2),
            upload: Duration::from_mins(10),
            session_upload_bytes: 17 * 1024 * 1024,
            upload_bytes_max: 128 * 1024 * 1024,
            download_bytes_max: 128 * 1024 * 1024,
            bandwidth: Bandwidth::default(),
            rest_upload_bytes: 32 * 1024 * 1024,
            ping_interval: Duration::from_mins(1),
            ping_timeout: Duration::from_mins(1),
            unauthorized_delay: Duration::from_secs(3),
            forbidden_delay: Duration::from_millis(500),
            logins: LoginLimits::default(),
            audit: AuditLimits::default(),
            gc_grace: coldkeep_gc::GRACE_DEFAULT,
            gc_margin: coldkeep_gc::MARGIN_DEFAULT,
            jobs_at_once: 4,
            shutdown: Duration::from_secs(30),
        }
    }
}
