//! Campaigns on the server: `cargo xtask crash` kills it at random moments under load and cuts collections short, or takes the power away
//! from it and its disk; `cargo xtask faults` lets it work over a line that fails all the time. Their buckets are in memory, or on a
//! server of the matrix.

use std::fs::File;

use crate::flags::{CampaignFlags, CrashFlags};
use crate::matrix::Started;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// Tests whose rounds and choices the environment says.
struct Campaign {
    what: &'static str,
    tests: &'static str,
    rounds: &'static str,
    seed: &'static str,
    /// It makes one in so many of the rounds that are asked for, and others the rest.
    share: u32,
}

const CRASH: [Campaign; 3] = [
    Campaign {
        what: "kills of a loaded server, its store in a folder",
        tests: "sigkill_at_any_moment_on_a_filesystem",
        rounds: "COLDKEEP_KILL_ROUNDS",
        seed: "COLDKEEP_KILL_SEED",
        share: 2,
    },
    Campaign {
        what: "kills of a loaded server, its store in a bucket",
        tests: "sigkill_at_any_moment_in_a_bucket",
        rounds: "COLDKEEP_KILL_ROUNDS",
        seed: "COLDKEEP_KILL_SEED",
        share: 2,
    },
    Campaign {
        what: "collections cut short, on each kind of store",
        tests: "interrupted::",
        rounds: "COLDKEEP_KILL_ROUNDS",
        seed: "COLDKEEP_KILL_SEED",
        share: 1,
    },
];

const POWER: [Campaign; 1] = [Campaign {
    what: "power cuts on each kind of store",
    tests: "power::",
    rounds: "COLDKEEP_POWER_ROUNDS",
    seed: "COLDKEEP_POWER_SEED",
    share: 1,
}];

const FAULTS: [Campaign; 1] = [Campaign {
    what: "rounds of work over a bad line",
    tests: "faults::",
    rounds: "COLDKEEP_FAULT_ROUNDS",
    seed: "COLDKEEP_FAULT_SEED",
    share: 1,
}];

/// Kills a server and cuts collections short, or takes the power away, as often as asked for.
pub(crate) fn crash(workspace: &Workspace, flags: &CrashFlags, report: &mut Report) {
    if !flags.power {
        run(workspace, &CRASH, &flags.campaign, report);
    } else if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
        report.skip("power cuts", &format!("cannot open /dev/fuse: {error}"));
    } else {
        run(workspace, &POWER, &flags.campaign, report);
    }
}

/// Works over a bad line, as often as asked for.
pub(crate) fn faults(workspace: &Workspace, flags: &CampaignFlags, report: &mut Report) {
    run(workspace, &FAULTS, flags, report);
}

fn run(workspace: &Workspace, campaigns: &[Campaign], flags: &CampaignFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    let server = flags.server.as_deref().map(|name| Started::of_row(workspace, name)).transpose();
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            report.step("server", || Err(error));
            return;
        }
    };
    let place = flags.server.as_deref().map(|name| format!(" (buckets on {name})")).unwrap_or_default();
    for Campaign { what, tests, rounds, seed, share } in campaigns {
        let count = flags.rounds.div_ceil(*share);
        report.counted(&format!("{count} {what}{place}"), || {
            let mut command = shell::cargo();
            command.args([
                "test",
                "--package",
                "coldkeep-server",
                "--test",
                "it",
                "--",
                tests,
                "--nocapture",
            ]);
            command.current_dir(&workspace.root).env(rounds, count.to_string());
            if let Some(number) = flags.seed {
                command.env(seed, number.to_string());
            }
            if let Some(server) = &server {
                server.tell(&mut command);
            }
            let outcome = shell::tests_pass(&mut command);
            if let (Err(_), Some(server)) = (&outcome, &server) {
                server.show_log();
            }
            outcome
        });
    }
}
