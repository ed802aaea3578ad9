//! The fresh tree takes the place of the old one; a crash at any point is made good by the next open. Blocking.
//!
//! `.coldkeep/refresh/new` gets all four folders of a tree, also empty ones. When it is whole and durable, the file
//! `ready` says so, and from then on it is only moved: a folder that is still in `new` has not been switched.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::durable::{replace_file, sync_folder};

use super::plan::Plan;
use crate::file::{Context as _, FILE_MODE, Found, list_all, look, remove_if_there};
use crate::tree::Layout;

fn work(layout: &Layout) -> PathBuf {
    layout.state().join("refresh")
}

/// Where the fresh tree is made.
pub(super) fn fresh(layout: &Layout) -> PathBuf {
    work(layout).join("new")
}

fn old(layout: &Layout) -> PathBuf {
    work(layout).join("old")
}

fn ready(layout: &Layout) -> PathBuf {
    work(layout).join("ready")
}

/// Makes the folders of the fresh tree, and removes what an attempt that was cut short left there of no use.
pub(super) fn prepare(layout: &Layout, plan: &Plan) -> Result<(), DirError> {
    let fresh = fresh(layout);
    let planned: BTreeSet<PathBuf> = plan.files.keys().map(|path| fresh.join(path)).collect();
    remove_unplanned(&fresh, &planned)?;
    let folders = Layout::TOPS.iter().map(PathBuf::from).chain(plan.folders.iter().cloned());
    for folder in folders {
        let path = fresh.join(folder);
        fs::create_dir_all(&path).context("create the folder", &path)?;
    }
    Ok(())
}

fn remove_unplanned(folder: &Path, planned: &BTreeSet<PathBuf>) -> Result<(), DirError> {
    for (name, found) in list_all(folder)?.unwrap_or_default() {
        let path = folder.join(name);
        match found {
            Found::Folder => {
                remove_unplanned(&path, planned)?;
                // It stays if anything in it does.
                let _ = fs::remove_dir(&path);
            }
            _ if planned.contains(&path) => {}
            _ => remove_if_there(&path)?,
        }
    }
    Ok(())
}

/// Makes the fresh tree durable and puts it in the place of the old one.
pub(super) fn switch(layout: &Layout) -> Result<(), DirError> {
    remove_folder(&old(layout))?;
    let base = layout.base();
    let opened = fs::File::open(base).context("open", base)?;
    rustix::fs::syncfs(&opened).map_err(io::Error::from).context("sync the filesystem of", base)?;
    replace_file(&ready(layout), b"", FILE_MODE)?;
    complete(layout)
}

/// Goes on with a switch that was begun; does nothing if none was.
pub(super) fn complete(layout: &Layout) -> Result<(), DirError> {
    if look(&ready(layout))? == Found::Nothing {
        return Ok(());
    }
    let (fresh, old) = (fresh(layout), old(layout));
    fs::create_dir_all(&old).context("create the folder", &old)?;
    for top in Layout::TOPS {
        let (from, at) = (fresh.join(top), layout.base().join(top));
        if look(&from)? == Found::Nothing {
            continue;
        }
        if look(&at)? != Found::Nothing {
            let away = old.join(top);
            fs::rename(&at, &away).context("rename to", &away)?;
        }
        fs::rename(&from, &at).context("rename to", &at)?;
        sync_folder(layout.base())?;
        sync_folder(&fresh)?;
    }
    remove_folder(&fresh)?;
    remove_if_there(&ready(layout))?;
    sync_folder(&work(layout))?;
    // Nobody misses it now.
    remove_folder(&work(layout))
}

fn remove_folder(folder: &Path) -> Result<(), DirError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove", folder),
    }
}
