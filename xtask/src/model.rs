//! `cargo xtask model`: the rules as an explicit-state model.

use crate::flags::ModelFlags;
use crate::report::Report;
use crate::shell;
use crate::workspace::Workspace;

/// Builds the model in release mode and runs it; it says itself what it explored.
pub(crate) fn run(workspace: &Workspace, flags: &ModelFlags, report: &mut Report) {
    report.step("model", || {
        let mut command = shell::cargo();
        command.args(["run", "--quiet", "--release", "--package", "coldkeep-model", "--"]);
        shell::run(command.args(&flags.pass_on).current_dir(&workspace.root))
    });
}
