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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Goal: wherever a switch is killed, the next open ends it, and the tree is the new one as a whole.
    /// Method: do by hand what a switch does up to each of its steps, then complete it.
    #[test]
    fn a_switch_that_was_cut_short_is_completed() {
        for steps in 0..=2 * Layout::TOPS.len() {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::new(folder.path().to_owned());
            for top in ["ct", "vm"] {
                write(&layout.base().join(top).join("1/owner"), "old");
            }
            for top in Layout::TOPS {
                fs::create_dir_all(fresh(&layout).join(top)).unwrap();
            }
            write(&fresh(&layout).join("vm/1/owner"), "new");
            write(&ready(&layout), "");
            fs::create_dir_all(old(&layout)).unwrap();
            for step in 0..steps {
                let top = Layout::TOPS[step / 2];
                let at = layout.base().join(top);
                if step % 2 == 0 {
                    // Not every folder was there before.
                    let _ = fs::rename(&at, old(&layout).join(top));
                } else {
                    fs::rename(fresh(&layout).join(top), &at).unwrap();
                }
            }
            complete(&layout).unwrap();
            complete(&layout).unwrap();
            assert_eq!(fs::read_to_string(layout.base().join("vm/1/owner")).unwrap(), "new", "{steps}");
            assert!(!layout.base().join("ct/1").exists() && !work(&layout).exists(), "{steps}");
        }
    }

    #[test]
    fn without_the_word_that_it_is_ready_nothing_is_switched() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        write(&layout.base().join("vm/1/owner"), "old");
        write(&fresh(&layout).join("vm/1/owner"), "new");
        complete(&layout).unwrap();
        assert_eq!(fs::read_to_string(layout.base().join("vm/1/owner")).unwrap(), "old");
    }

    #[test]
    fn what_an_earlier_attempt_left_stays_as_far_as_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        let object = |key: &str| coldkeep_chunk_store::backend::ObjectInfo {
            key: coldkeep_chunk_store::backend::ObjectKey::new(format!(".cnt/vm/1/{key}")).unwrap(),
            len: 3,
            etag: coldkeep_chunk_store::backend::ETag("x".into()),
            modified_at: coldkeep_chunk_store::StoreTime::EPOCH,
        };
        for file in ["vm/1/owner", "vm/1/notes", "ct/2/owner"] {
            write(&fresh(&layout).join(file), "new");
        }
        let wanted = [object("2026-01-01T00:00:00Z/index.json.blob"), object("owner")];
        prepare(&layout, &Plan::of(&wanted)).unwrap();
        assert!(fresh(&layout).join("vm/1/owner").exists());
        assert!(!fresh(&layout).join("vm/1/notes").exists() && !fresh(&layout).join("ct/2").exists());
        assert!(Layout::TOPS.iter().all(|top| fresh(&layout).join(top).is_dir()));
    }
}
