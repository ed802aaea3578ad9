//! `cargo xtask matrix`: the same suites on every storage backend, among them S3 servers that others wrote.

mod http;
mod iam;
mod install;
mod live;
mod servers;
mod start;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::flags::{MatrixFlags, OwnServer, Secret, Selection};
use crate::matrix::live::{Live, Place};
use crate::matrix::servers::{Backend, CAPABILITIES, CLIENT, ROWS, Row, Server, Suite, Tests};
use crate::matrix::start::{Ground, Running};
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

pub(crate) use servers::{Addressing, Tier};

/// Runs the rows of a tier, one row, or the client's suite on a server of the user's.
pub(crate) fn run(workspace: &Workspace, flags: &MatrixFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    match &flags.selection {
        Selection::Own(own) => report.counted("own server", || own_server(workspace, own)),
        Selection::Tier(tier) => tier_of(workspace, *tier, flags.stress_seconds, report),
        Selection::Row(name) => match row(name) {
            Ok(row) => rows(workspace, &[row], flags.stress_seconds, report),
            Err(error) => report.step("matrix", || Err(error)),
        },
    }
}

/// A server of the table for tests outside of its suites; it stops when this value goes.
pub(crate) struct Started {
    name: &'static str,
    server: &'static Server,
    running: Running,
}

impl Started {
    /// Installs a server, if it is not there, and starts it.
    pub(crate) fn of_row(workspace: &Workspace, name: &str) -> Result<Started> {
        let row = row(name)?;
        let Backend::S3(server) = &row.backend else { anyhow::bail!("`{name}` is no server") };
        let ground = Ground::of(workspace);
        ground.installed.ensure(row.name, &server.install)?;
        Ok(Started { name: row.name, server, running: Running::start(&ground, row.name, server)? })
    }

    /// Lets a test find the server in its environment.
    pub(crate) fn tell(&self, command: &mut Command) {
        let endpoint = self.running.endpoint();
        Place::of(self.name, &endpoint, self.server, &self.running).tell(command);
    }

    /// Shows the end of the server's log.
    pub(crate) fn show_log(&self) {
        self.running.show_log();
    }
}

fn row(name: &str) -> Result<&'static Row> {
    ROWS.iter().find(|row| row.name == name).with_context(|| {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        format!("there is no server `{name}`; there are {}", names.join(", "))
    })
}

/// Runs the quick tier.
pub(crate) fn quick(workspace: &Workspace, report: &mut Report) {
    tier_of(workspace, Tier::Quick, None, report);
}

fn tier_of(workspace: &Workspace, tier: Tier, stress_seconds: Option<u32>, report: &mut Report) {
    // The full tier holds the quick one.
    let of_tier: Vec<_> = ROWS.iter().filter(|row| row.tier <= tier).collect();
    rows(workspace, &of_tier, stress_seconds, report);
}

fn rows(workspace: &Workspace, rows: &[&Row], stress_seconds: Option<u32>, report: &mut Report) {
    let ground = Ground::of(workspace);
    // Built before the first server starts, and once for all.
    let needs_live =
        rows.iter().any(|row| row.suites.iter().any(|suite| matches!(suite.tests, Tests::OnServer(_))));
    let live = if needs_live { Some(Live::build(&workspace.root, stress_seconds)) } else { None };
    let live = match live.transpose() {
        Ok(live) => live,
        Err(error) => {
            report.step("suites on servers", || Err(error));
            None
        }
    };
    for row in rows {
        match &row.backend {
            Backend::Filesystem => {
                for suite in row.suites {
                    report.counted(&step(row, suite), || on_filesystem(workspace, suite));
                }
            }
            Backend::S3(server) => {
                let Some(live) = &live else {
                    report.skip(row.name, "not run: its suite was not built");
                    continue;
                };
                if let Err(error) = ground.installed.ensure(row.name, &server.install) {
                    report.skip(row.name, &format!("not run: {error:#}"));
                    continue;
                }
                for suite in row.suites {
                    report.counted(&step(row, suite), || on_server(&ground, row.name, server, suite, live));
                }
            }
        }
    }
}

fn step(row: &Row, suite: &Suite) -> String {
    format!("{} {}", row.name, suite.name)
}

fn on_filesystem(workspace: &Workspace, suite: &Suite) -> Result<String> {
    let Tests::Named(filter) = suite.tests else {
        anyhow::bail!("the suite {} needs a server", suite.name);
    };
    // `--workspace --all-targets` although a filter picks a few tests: any other selection changes the features of shared dependencies
    // and builds them again.
    let mut command = shell::cargo();
    command.args(["test", "--quiet", "--workspace", "--all-targets", "--", filter]);
    shell::tests_pass(command.current_dir(&workspace.root))
}

fn on_server(ground: &Ground, name: &str, server: &Server, suite: &Suite, live: &Live) -> Result<String> {
    let Tests::OnServer(tests) = suite.tests else {
        anyhow::bail!("the suite {} runs on no server", suite.name);
    };
    let running = Running::start(ground, name, server)?;
    let outcome = live.run(tests, &Place::of(name, &running.endpoint(), server, &running));
    if outcome.is_err() {
        running.show_log();
    }
    outcome
}

fn own_server(workspace: &Workspace, own: &OwnServer) -> Result<String> {
    let is_known = |lack: &&String| CAPABILITIES.iter().any(|(name, _)| name == lack);
    if let Some(unknown) = own.lacks.iter().find(|lack| !is_known(lack)) {
        let known: Vec<_> = CAPABILITIES.iter().map(|(name, meaning)| format!("{name}: {meaning}")).collect();
        anyhow::bail!("`--lacks {unknown}` names no capability; there are\n  {}", known.join("\n  "));
    }
    let secret_key = match &own.secret_key {
        Secret::Variable(name) => {
            std::env::var(name).with_context(|| format!("cannot read the secret key from ${name}"))?
        }
        Secret::File(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the secret key from {}", path.display()))?,
    };
    let place = Place {
        name: "own",
        endpoint: &own.endpoint,
        region: &own.region,
        bucket: own.bucket.as_deref(),
        access_key: &own.access_key,
        secret_key: secret_key.trim(),
        addressing: own.addressing,
        lacks: own.lacks.join(","),
        quirks: own.quirks.join(","),
    };
    Live::build(&workspace.root, None)?.run(&CLIENT, &place)
}
