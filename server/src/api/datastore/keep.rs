//! The parameters of a retention rule.

use coldkeep_datastore::prune::KeepOptions;

use crate::api::{ApiError, Kind, Param, Params};

pub(crate) const COUNT: Kind = Kind::Integer { min: 1, max: u32::MAX as i64 };

pub(super) const KEEP_LAST: Param =
    Param::optional("keep-last", COUNT, "Keep so many of the newest snapshots.");
pub(super) const KEEP_HOURLY: Param =
    Param::optional("keep-hourly", COUNT, "Keep the newest snapshot of so many hours.");
pub(super) const KEEP_DAILY: Param =
    Param::optional("keep-daily", COUNT, "Keep the newest snapshot of so many days.");
pub(super) const KEEP_WEEKLY: Param =
    Param::optional("keep-weekly", COUNT, "Keep the newest snapshot of so many weeks.");
pub(super) const KEEP_MONTHLY: Param =
    Param::optional("keep-monthly", COUNT, "Keep the newest snapshot of so many months.");
pub(super) const KEEP_YEARLY: Param =
    Param::optional("keep-yearly", COUNT, "Keep the newest snapshot of so many years.");

/// Returns the rules that are given.
pub(super) fn options(params: &Params) -> Result<KeepOptions, ApiError> {
    let mut keep = KeepOptions::default();
    keep.last = params.find(KEEP_LAST.name)?;
    keep.hourly = params.find(KEEP_HOURLY.name)?;
    keep.daily = params.find(KEEP_DAILY.name)?;
    keep.weekly = params.find(KEEP_WEEKLY.name)?;
    keep.monthly = params.find(KEEP_MONTHLY.name)?;
    keep.yearly = params.find(KEEP_YEARLY.name)?;
    Ok(keep)
}
