//! Who may call what, from the specification's columns "Privilege" (rest-api.md §2.3 to §5, pull.md §1), not from the code.
//!
//! An endpoint is written as in the server's tables, with `S` for `/admin/datastore/{store}`. Each letter is a subject:
//!
//! | letter | who | letter | who |
//! |---|---|---|---|
//! | `N` | NoAccess | `x` | RemoteAudit |
//! | `U` | Audit | `y` | RemoteSyncOperator |
//! | `a` | DatastoreAudit | `z` | RemoteAdmin |
//! | `r` | DatastoreReader | `A` | Admin |
//! | `b` | DatastoreBackup | `t` | a token with DatastoreAdmin, its user with DatastoreBackup |
//! | `w` | DatastorePowerUser | `s` | DatastoreBackup and RemoteSyncOperator |
//! | `m` | DatastoreAdmin | `p` | DatastoreReader and RemoteSyncPushOperator |

/// Each subject: letter and roles, which it has everywhere.
pub(super) const SUBJECTS: &[(char, &[&str])] = &[
    ('N', &["NoAccess"]),
    ('U', &["Audit"]),
    ('a', &["DatastoreAudit"]),
    ('r', &["DatastoreReader"]),
    ('b', &["DatastoreBackup"]),
    ('w', &["DatastorePowerUser"]),
    ('m', &["DatastoreAdmin"]),
    ('x', &["RemoteAudit"]),
    ('y', &["RemoteSyncOperator"]),
    ('z', &["RemoteAdmin"]),
    ('A', &["Admin"]),
    ('t', &["DatastoreBackup"]),
    ('s', &["DatastoreBackup", "RemoteSyncOperator"]),
    ('p', &["DatastoreReader", "RemoteSyncPushOperator"]),
];

/// Who gets how far with an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) endpoint: &'static str,
    /// Whose privileges suffice for everything.
    pub(super) full: &'static str,
    /// Whose privileges suffice for what is their own; `*` for all that are not in `full`.
    pub(super) own: &'static str,
    pub(super) rule: Rule,
}

/// What the others, and those in `own` who ask for what is not theirs, are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everyone is let in, with credentials or without.
    Open,
    /// 403. There is nothing of anyone's own.
    Whole,
    /// 403; 400 for groups of others.
    Owned,
    /// 403; 401 for groups of others.
    HandedOver,
    /// 403; what is not one's own is 403, too.
    Private,
    /// 403; from a list, what has this name is left out.
    Listed(&'static str),
    /// 400; 400 for groups of others.
    Reader,
}

impl Row {
    /// The endpoint's whole name.
    pub(super) fn name(&self) -> String {
        self.endpoint.replace(" S", " /admin/datastore/{store}")
    }

    pub(super) fn is_full(&self, letter: char) -> bool {
        self.rule == Rule::Open || self.full.contains([letter, '*'])
    }

    pub(super) fn is_own(&self, letter: char) -> bool {
        !self.is_full(letter) && self.own.contains([letter, '*'])
    }
}

const fn row(rule: Rule, endpoint: &'static str, full: &'static str, own: &'static str) -> Row {
    Row { endpoint, full, own, rule }
}

const fn open(endpoint: &'static str) -> Row {
    row(Rule::Open, endpoint, "", "")
}

/// Any user.
const fn any(endpoint: &'static str) -> Row {
    whole(endpoint, "*")
}

const fn whole(endpoint: &'static str, full: &'static str) -> Row {
    row(Rule::Whole, endpoint, full, "")
}

const fn owned(endpoint: &'static str, full: &'static str, own: &'static str) -> Row {
    row(Rule::Owned, endpoint, full, own)
}

/// Any user, for their own; those of others for `full`.
const fn private(endpoint: &'static str, full: &'static str) -> Row {
    row(Rule::Private, endpoint, full, "*")
}

/// Any user, but no token, for themselves; others for `full`.
const fn themselves(endpoint: &'static str, full: &'static str) -> Row {
    row(Rule::Private, endpoint, full, "NUarbwmxyzsp")
}

const fn listed(shown: &'static str, endpoint: &'static str, full: &'static str, own: &'static str) -> Row {
    row(Rule::Listed(shown), endpoint, full, own)
}

/// One line for each endpoint, in the order of their paths.
pub(super) const TABLE: &[Row] = &[
    private("GET /access/permissions", "UA"),
    listed("theirs@pbs", "GET /access/users", "UA", "*"),
    open("DELETE /access/ticket"),
    open("POST /access/ticket"),
    listed("default", "GET /admin/datastore", "UarbwmtspA", "*"),
    // What is let through finds no such job; what else each kind asks for, `jobs` has tests for.
    whole("POST /admin/job/{id}/run", "UarmpA"),
    whole("GET S/active-operations", "UarmpA"),
    row(Rule::HandedOver, "POST S/change-owner", "mA", "bws"),
    owned("GET S/download", "rmpA", "bwts"),
    owned("GET S/download-decoded", "rmpA", "bwts"),
    owned("GET S/files", "UarmpA", "bwts"),
    whole("GET S/gc", "UarmpA"),
    whole("POST S/gc", "mA"),
    whole("GET S/gc-history", "UarmpA"),
    owned("GET S/group-notes", "UarmpA", "bwts"),
    owned("PUT S/group-notes", "mA", "bwts"),
    owned("DELETE S/groups", "mA", "w"),
    listed("theirs", "GET S/groups", "UarmpA", "bwts"),
    owned("POST S/move-group", "mA", "w"),
    whole("POST S/move-namespace", "mA"),
    whole("DELETE S/namespace", "mA"),
    whole("GET S/namespace", "UarbwmtspA"),
    whole("POST S/namespace", "mA"),
    owned("GET S/notes", "UarmpA", "bwts"),
    owned("PUT S/notes", "mA", "bwts"),
    owned("GET S/protected", "UarmpA", "bwts"),
    owned("PUT S/protected", "mA", "bwts"),
    owned("POST S/prune", "mA", "w"),
    // With Datastore.Prune of own groups only, which `prune` has a test for.
    whole("POST S/prune-datastore", "mwA"),
    whole("PUT S/s3-refresh", "mA"),
    owned("DELETE S/snapshots", "mA", "w"),
    listed("theirs", "GET S/snapshots", "UarmpA", "bwts"),
    whole("GET S/status", "UarbwmtspA"),
    owned("POST S/upload-backup-log", "", "bwmtsA"),
    owned("POST S/verify", "rmpA", "bwts"),
    owned("GET /backup", "", "bwmtsA"),
    listed("theirs@pbs", "GET /config/acl", "UA", "*"),
    whole("PUT /config/acl", "A"),
    listed("default", "GET /config/datastore", "UarmpA", "*"),
    whole("POST /config/datastore", "A"),
    whole("DELETE /config/datastore/{store}", "A"),
    whole("GET /config/datastore/{store}", "UarmpA"),
    whole("PUT /config/datastore/{store}", "A"),
    listed("nightly", "GET /config/job", "UarmpA", "*"),
    whole("POST /config/job", "mA"),
    whole("DELETE /config/job/{id}", "UarmpA"),
    whole("GET /config/job/{id}", "UarmpA"),
    whole("PUT /config/job/{id}", "UarmpA"),
    listed("off-site", "GET /config/remote", "xyzspA", "*"),
    whole("POST /config/remote", "zA"),
    whole("DELETE /config/remote/{name}", "zA"),
    whole("GET /config/remote/{name}", "xyzspA"),
    whole("PUT /config/remote/{name}", "zA"),
    whole("GET /config/remote/{name}/scan", "xyzspA"),
    any("GET /config/role"),
    listed("theirs@pbs", "GET /config/user", "UA", "*"),
    whole("POST /config/user", "A"),
    whole("DELETE /config/user/{userid}", "A"),
    themselves("GET /config/user/{userid}", "UA"),
    themselves("PUT /config/user/{userid}", "A"),
    themselves("GET /config/user/{userid}/token", "UA"),
    themselves("DELETE /config/user/{userid}/token/{token-name}", "A"),
    themselves("GET /config/user/{userid}/token/{token-name}", "UA"),
    themselves("POST /config/user/{userid}/token/{token-name}", "A"),
    themselves("PUT /config/user/{userid}/token/{token-name}", "A"),
    any("GET /nodes/{node}/identity"),
    listed("root@pam", "GET /nodes/{node}/tasks", "UA", "*"),
    private("DELETE /nodes/{node}/tasks/{upid}", "A"),
    private("GET /nodes/{node}/tasks/{upid}/log", "UA"),
    private("GET /nodes/{node}/tasks/{upid}/status", "UA"),
    open("GET /ping"),
    whole("POST /pull", "sA"),
    whole("POST /push", "pA"),
    row(Rule::Reader, "GET /reader", "rmpA", "bwts"),
    listed("default", "GET /status/datastore-usage", "UarbwmtspA", "*"),
    private("GET /sync-report", "UA"),
    any("GET /version"),
];
