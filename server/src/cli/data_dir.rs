//! Where data lies if nothing is said.

use std::path::PathBuf;

/// Returns `/var/lib/coldkeep` for root; for others `coldkeep` below `$XDG_DATA_HOME` or `~/.local/share`.
pub fn default_data_dir() -> PathBuf {
    choose(
        rustix::process::geteuid().is_root(),
        std::env::var_os("XDG_DATA_HOME").map(PathBuf::from),
        std::env::home_dir(),
    )
}

fn choose(is_root: bool, data_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    if is_root {
        return PathBuf::from("/var/lib/coldkeep");
    }
    // The XDG specification says that a relative path is to be ignored.
    let data_home = data_home.filter(|path| path.is_absolute());
    let data_home = data_home.or_else(|| Some(home?.join(".local/share")));
    data_home.map_or_else(|| PathBuf::from("coldkeep-data"), |folder| folder.join("coldkeep"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_depends_on_who_runs_it() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(choose(true, path("/x"), path("/home/a")), PathBuf::from("/var/lib/coldkeep"));
        assert_eq!(choose(false, path("/x"), path("/home/a")), PathBuf::from("/x/coldkeep"));
        for data_home in [None, path(""), path("x")] {
            assert_eq!(
                choose(false, data_home, path("/home/a")),
                PathBuf::from("/home/a/.local/share/coldkeep")
            );
        }
        assert_eq!(choose(false, None, None), PathBuf::from("coldkeep-data"));
    }
}
