//! `cargo xtask crash`: SIGKILL at random moments under load.

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
    report.counted(&format!("{} kills of a loaded server", flags.rounds), || {
        let mut command = shell::cargo();
        command.args(["test", "--workspace", "--test", "it", "--", "kill::", "--nocapture"]);
        command.current_dir(&workspace.root).env("COLDKEEP_KILL_ROUNDS", flags.rounds.to_string());
        shell::tests_pass(&mut command)
    });
}
