//! `cargo xtask test`: every test of every crate, and the quick tiers of simulation and matrix.

use crate::matrix;
use crate::report::Report;
use crate::shell;
use crate::sim;
use crate::workspace::Workspace;

/// Runs unit and integration tests, documentation tests, and the quick tiers of the simulation and of the matrix.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    if let Err(error) = shell::need_c_compiler() {
        report.step("prerequisites", || Err(error));
        return;
    }
    // One build for both, in the development profile: hashing and compression are optimised there too.
    report.counted("unit and integration tests", || {
        let mut command = shell::cargo();
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
        shell::tests_pass(command.current_dir(&workspace.root))
    });
    report.counted("documentation tests", || {
        let mut command = shell::cargo();
        command.args(["test", "--workspace", "--doc", "--no-fail-fast"]);
        shell::tests_pass(command.current_dir(&workspace.root))
    });
    sim::quick(workspace, report);
    matrix::quick(workspace, report);
}
