//! `cargo xtask matrix`: the same suites on every storage backend.

use crate::flags::MatrixFlags;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// One storage backend.
struct Row {
    name: &'static str,
    backend: Backend,
}

/// What stands behind a row.
enum Backend {
    /// A folder: nothing to start. The suites are tests of the workspace, picked by these filters.
    Filesystem { suites: &'static [Suite] },
    /// An S3 server that others wrote.
    S3,
}

/// Tests picked by a filter.
struct Suite {
    name: &'static str,
    filter: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "filesystem",
        backend: Backend::Filesystem {
            suites: &[
                Suite { name: "store", filter: "conforms" },
                Suite { name: "server", filter: "embedded::" },
            ],
        },
    },
    Row { name: "radosgw", backend: Backend::S3 },
    Row { name: "moto", backend: Backend::S3 },
    Row { name: "rclone", backend: Backend::S3 },
];

/// Runs the quick tier, the only one so far.
pub(crate) fn run(workspace: &Workspace, flags: &MatrixFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    quick(workspace, flags.server.as_deref(), report);
}

/// Runs the rows of the quick tier, or only `server`.
pub(crate) fn quick(workspace: &Workspace, server: Option<&str>, report: &mut Report) {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| server.is_none_or(|wanted| wanted == row.name)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        report.step("matrix", || anyhow::bail!("there is no such server; there are {}", names.join(", ")));
    }
    for row in rows {
        match &row.backend {
            Backend::S3 => report.skip(row.name, "this build has no S3 backend"),
            Backend::Filesystem { suites } => {
                for suite in *suites {
                    report.counted(&format!("{} {}", row.name, suite.name), || {
                        // `--workspace --all-targets` although a filter picks a few tests: any other selection changes the features of shared
                        // dependencies and builds them again.
                        let mut command = shell::cargo();
                        command.args(["test", "--quiet", "--workspace", "--all-targets", "--", suite.filter]);
                        shell::tests_pass(command.current_dir(&workspace.root))
                    });
                }
            }
        }
    }
}
