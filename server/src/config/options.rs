//! The table of all options.

use std::time::Duration;

use coldkeep_chunk_store::blob::BLOB_ENCODED_BYTES_MAX;

use super::field::Field;

/// One option.
pub(super) struct Opt {
    /// The section that it stands in.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) key: &'static str,
    /// What it means, in a sentence or two.
    pub(super) doc: &'static str,
    /// What it may be.
    pub(super) field: Field,
}

/// The sections, in the order of the file, each with what it is about.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("server", "How the server is reached, and how it ends."),
    ("log", "What is written to standard error, where systemd takes it to the journal."),
    ("limits", "What the server holds at once, and how long it waits for whom."),
    ("logins", "How many wrong passwords and secrets of tokens are looked at."),
    (
        "bandwidth",
        "Bytes a second of the bodies of requests and answers, on average; 0 for as many as there may be. Whoever shares a limit takes turns.",
    ),
    ("audit", "How much of the audit log is kept, `log/audit.log` in the data folder."),
    (
        "metrics",
        "How the server is watched. Its own port has /health for everybody, and /metrics for users and tokens with the privilege Sys.Audit on /system/metrics.",
    ),
    ("gc", "When chunks that no snapshot needs are removed. Entries of datastores may say otherwise."),
];

/// Lists the names of the sections.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name)
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Most failed logins that can be allowed for; more would be no bound.
const FAILURES_MAX: u32 = 10_000;

/// Every option, in the order of the file.
pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        section: "server",
        key: "listen",
        doc: "Addresses and ports to listen on. An empty list stands for all addresses, port 8007.",
        field: Field::Addresses { of: |config| &mut config.server.listen },
    },
    Opt {
        section: "server",
        key: "certificate",
        doc: "File with the server's certificate and its chain in PEM form, the certificate first; relative to the folder of this file. Without one, a self-signed certificate in the data folder is made and used. SIGHUP has it read again, and leaves open connections alone.",
        field: Field::File { of: |config| &mut config.server.certificate },
    },
    Opt {
        section: "server",
        key: "key",
        doc: "File with the private key of that certificate in PEM form.",
        field: Field::File { of: |config| &mut config.server.key },
    },
    Opt {
        section: "server",
        key: "shutdown-timeout",
        doc: "How long running sessions and tasks may go on after SIGTERM or SIGINT. systemd must wait longer (TimeoutStopSec).",
        field: Field::Span { of: |config| &mut config.limits.shutdown, min: Duration::ZERO, max: DAY },
    },
    Opt {
        section: "log",
        key: "level",
        doc: "How much is logged. The environment variable COLDKEEP_LOG goes before it.",
        field: Field::Filter { of: |config| &mut config.log.level },
    },
    Opt {
        section: "log",
        key: "format",
        doc: "How a line looks: for people, or one JSON object.",
        field: Field::Format { of: |config| &mut config.log.format },
    },
    Opt {
        section: "limits",
        key: "connections",
        doc: "Most connections at once; further ones wait in the queue of the system.",
        field: Field::Count { of: |config| &mut config.limits.connections_max, min: 1, max: 65_536 },
    },
    Opt {
        section: "limits",
        key: "connections-per-address",
        doc: "Most connections of one address (of IPv6: of one /64) at once; further ones are answered 503.",
        field: Field::Count {
            of: |config| &mut config.limits.connections_per_address_max,
            min: 1,
            max: 65_536,
        },
    },
    Opt {
        section: "limits",
        key: "sessions",
        doc: "Most backups and readers at once; further ones are answered 503.",
        field: Field::Count { of: |config| &mut config.limits.sessions_max, min: 1, max: 1000 },
    },
    Opt {
        section: "limits",
        key: "sessions-per-user",
        doc: "Most backups and readers of one user with all tokens at once; further ones are answered 503.",
        field: Field::Count { of: |config| &mut config.limits.sessions_per_user_max, min: 1, max: 1000 },
    },
    Opt {
        section: "limits",
        key: "session-upload-bytes",
        doc: "Most bytes of chunks under way that one backup to a store in a folder holds in memory.",
        field: Field::Bytes {
            of: |config| &mut config.limits.session_upload_bytes,
            min: BLOB_ENCODED_BYTES_MAX,
            max: 1 << 30,
        },
    },
    Opt {
        section: "limits",
        key: "upload-bytes",
        doc: "The same for all backups together, of which one user can have half, or four of the largest chunks. Each store in a bucket has 128MiB of its own, and backups to all of them 256MiB beyond that.",
        field: Field::Bytes {
            of: |config| &mut config.limits.upload_bytes_max,
            min: BLOB_ENCODED_BYTES_MAX,
            max: 1 << 31,
        },
    },
    Opt {
        section: "limits",
        key: "download-bytes",
        doc: "Most bytes of chunks on their way to readers of stores in folders, all readers together, of which one user can have half, or four of the largest chunks. Those of each store in a bucket have 512MiB.",
        field: Field::Bytes {
            of: |config| &mut config.limits.download_bytes_max,
            min: BLOB_ENCODED_BYTES_MAX,
            max: 1 << 31,
        },
    },
    Opt {
        section: "limits",
        key: "rest-upload-bytes",
        doc: "Most bytes of uploads outside of backups that are held in memory, all connections together.",
        field: Field::Bytes {
            of: |config| &mut config.limits.rest_upload_bytes,
            min: BLOB_ENCODED_BYTES_MAX,
            max: 1 << 30,
        },
    },
    Opt {
        section: "limits",
        key: "handshake-timeout",
        doc: "Longest time for the first byte and the TLS handshake of a connection.",
        field: Field::Span { of: |config| &mut config.limits.handshake, min: SECOND, max: HOUR },
    },
    Opt {
        section: "limits",
        key: "request-timeout",
        doc: "Longest time for the head of a request, counted from the answer before it: connections that idle longer are closed.",
        field: Field::Span { of: |config| &mut config.limits.request_head, min: SECOND, max: DAY },
    },
    Opt {
        section: "limits",
        key: "upload-timeout",
        doc: "Longest time for one uploaded body, once the server reads it.",
        field: Field::Span { of: |config| &mut config.limits.upload, min: SECOND, max: DAY },
    },
    Opt {
        section: "limits",
        key: "ping-interval",
        doc: "How often a client in a session is asked for a sign of life.",
        field: Field::Span { of: |config| &mut config.limits.ping_interval, min: SECOND, max: DAY },
    },
    Opt {
        section: "limits",
        key: "ping-timeout",
        doc: "How long that sign may take. A peer that reads nothing for both spans together is dropped.",
        field: Field::Span { of: |config| &mut config.limits.ping_timeout, min: SECOND, max: DAY },
    },
    Opt {
        section: "limits",
        key: "unauthorized-delay",
        doc: "How long an answer 401 is held back, so that guessing passwords is slow.",
        field: Field::Span {
            of: |config| &mut config.limits.unauthorized_delay,
            min: Duration::ZERO,
            max: Duration::from_mins(1),
        },
    },
    Opt {
        section: "limits",
        key: "forbidden-delay",
        doc: "How long an answer 403 is held back.",
        field: Field::Span {
            of: |config| &mut config.limits.forbidden_delay,
            min: Duration::ZERO,
            max: Duration::from_mins(1),
        },
    },
    Opt {
        section: "limits",
        key: "jobs-at-once",
        doc: "How many jobs run at a time, in all datastores together; in one, one does.",
        field: Field::Count { of: |config| &mut config.limits.jobs_at_once, min: 1, max: 64 },
    },
    Opt {
        section: "logins",
        key: "window",
        doc: "How long failures count, from the first one on.",
        field: Field::Span { of: |config| &mut config.limits.logins.window, min: SECOND, max: DAY },
    },
    Opt {
        section: "logins",
        key: "failures-per-address",
        doc: "Failures from one address (of IPv6: from one /64), after which nothing more from there is looked at. As many attempts from there are looked at at once.",
        field: Field::Few {
            of: |config| &mut config.limits.logins.failures_per_address,
            min: 1,
            max: FAILURES_MAX,
        },
    },
    Opt {
        section: "logins",
        key: "failures-per-user-and-address",
        doc: "Failures of one user or token from one address, after which nothing more of that user from there is looked at.",
        field: Field::Few {
            of: |config| &mut config.limits.logins.failures_per_user_and_address,
            min: 1,
            max: FAILURES_MAX,
        },
    },
    Opt {
        section: "logins",
        key: "failures-per-user",
        doc: "Failures of one user or token from all addresses together, after which each further attempt waits first.",
        field: Field::Few {
            of: |config| &mut config.limits.logins.failures_per_user,
            min: 1,
            max: FAILURES_MAX,
        },
    },
    Opt {
        section: "logins",
        key: "user-delay",
        doc: "How long it waits then.",
        field: Field::Span {
            of: |config| &mut config.limits.logins.user_delay,
            min: Duration::ZERO,
            max: Duration::from_mins(1),
        },
    },
    Opt {
        section: "logins",
        key: "remembered",
        doc: "Most addresses, users, and users at addresses whose failures are remembered; about 200 bytes each.",
        field: Field::Count { of: |config| &mut config.limits.logins.entries_max, min: 64, max: 1 << 20 },
    },
    Opt {
        section: "bandwidth",
        key: "user-in",
        doc: "What the server receives from one user with all tokens.",
        field: Field::Rate { of: |config| &mut config.limits.bandwidth.user_in },
    },
    Opt {
        section: "bandwidth",
        key: "user-out",
        doc: "What the server sends to one user with all tokens.",
        field: Field::Rate { of: |config| &mut config.limits.bandwidth.user_out },
    },
    Opt {
        section: "bandwidth",
        key: "store-in",
        doc: "What the server receives for one datastore.",
        field: Field::Rate { of: |config| &mut config.limits.bandwidth.store_in },
    },
    Opt {
        section: "bandwidth",
        key: "store-out",
        doc: "What the server sends from one datastore.",
        field: Field::Rate { of: |config| &mut config.limits.bandwidth.store_out },
    },
    Opt {
        section: "audit",
        key: "file-bytes",
        doc: "Size of one file, after which the next one is begun.",
        field: Field::Bytes { of: |config| &mut config.limits.audit.file_bytes, min: 1 << 20, max: 1 << 30 },
    },
    Opt {
        section: "audit",
        key: "files",
        doc: "Files kept, the current one among them.",
        field: Field::Few { of: |config| &mut config.limits.audit.files, min: 1, max: 1000 },
    },
    Opt {
        section: "audit",
        key: "queue-lines",
        doc: "Lines that wait to be written; what comes beyond that is counted and lost.",
        field: Field::Count { of: |config| &mut config.limits.audit.queue_lines, min: 64, max: 65_536 },
    },
    Opt {
        section: "metrics",
        key: "listen",
        doc: "Address and port of a listener that answers /metrics and /health by plain HTTP, without credentials: choose one that strangers cannot reach.",
        field: Field::Address { of: |config| &mut config.metrics.listen },
    },
    Opt {
        section: "gc",
        key: "grace",
        doc: "How long chunks that nothing refers to stay after their last use.",
        field: Field::Span {
            of: |config| &mut config.limits.gc_grace,
            min: Duration::ZERO,
            max: Duration::from_hours(24 * 365),
        },
    },
    Opt {
        section: "gc",
        key: "margin",
        doc: "What is taken off that cutoff once more, for clocks that are not quite right.",
        field: Field::Span {
            of: |config| &mut config.limits.gc_margin,
            min: Duration::ZERO,
            max: Duration::from_hours(24 * 365),
        },
    },
];
