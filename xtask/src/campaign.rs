//! Campaigns on the server: `cargo xtask crash` kills it at random moments under load and cuts collections short, or takes the power away
//! from it and its disk; `cargo xtask faults` lets it work over a line that fails all the time.

use std::fs::File;

use crate::flags::{CrashFlags, RoundsFlags};
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// A test whose rounds the environment says.
struct Campaign {
    what: &'static str,
    tests: &'static str,
    rounds: &'static str,
}

const CRASH: [Campaign; 2] = [
    Campaign { what: "kills of a loaded server", tests: "kill::", rounds: "COLDKEEP_KILL_ROUNDS" },
    Campaign { what: "collections cut short", tests: "interrupted::", rounds: "COLDKEEP_KILL_ROUNDS" },
];

const POWER: [Campaign; 1] = [Campaign {
    what: "power cuts on each kind of store",
    tests: "power::",
    rounds: "COLDKEEP_POWER_ROUNDS",
}];

const FAULTS: [Campaign; 1] =
    [Campaign { what: "rounds of work over a bad line", tests: "faults::", rounds: "COLDKEEP_FAULT_ROUNDS" }];

/// Kills a server and cuts collections short, or takes the power away, as often as asked for.
pub(crate) fn crash(workspace: &Workspace, flags: &CrashFlags, report: &mut Report) {
    if !flags.power {
        run(workspace, &CRASH, &flags.rounds, report);
    } else if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
        report.skip("power cuts", &format!("cannot open /dev/fuse: {error}"));
    } else {
        run(workspace, &POWER, &flags.rounds, report);
    }
}

/// Works over a bad line, as often as asked for.
pub(crate) fn faults(workspace: &Workspace, flags: &RoundsFlags, report: &mut Report) {
    run(workspace, &FAULTS, flags, report);
}

fn run(workspace: &Workspace, campaigns: &[Campaign], flags: &RoundsFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    for Campaign { what, tests, rounds } in campaigns {
        report.counted(&format!("{} {what}", flags.rounds), || {
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
            command.current_dir(&workspace.root).env(rounds, flags.rounds.to_string());
            shell::tests_pass(&mut command)
        });
    }
}
