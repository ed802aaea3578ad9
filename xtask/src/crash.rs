//! `cargo xtask crash`: SIGKILL at random moments under load, and collections cut short.

use crate::flags::CrashFlags;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// Runs the kill tests of the server with as many rounds as asked for.
pub(crate) fn run(workspace: &Workspace, flags: &CrashFlags, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    let campaigns = [("kills of a loaded server", "kill::"), ("collections cut short", "interrupted::")];
    for (what, tests) in campaigns {
        report.counted(&format!("{} {what}", flags.rounds), || {
            let mut command = shell::cargo();
            command.args(["test", "--workspace", "--test", "it", "--", tests, "--nocapture"]);
            command.current_dir(&workspace.root).env("COLDKEEP_KILL_ROUNDS", flags.rounds.to_string());
            shell::tests_pass(&mut command)
        });
    }
}
