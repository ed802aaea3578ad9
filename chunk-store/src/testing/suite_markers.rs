//! What every directory of markers must do.

use crate::dir::MarkerDir;

/// Checks an empty directory of markers against the contract of [`MarkerDir`].
///
/// # Panics
/// If something does not hold.
pub async fn check_marker_dir<D: MarkerDir>(dir: &D) {
    dir.begin_fresh(false).await.expect("begin");
}
