//! What cargo knows about the workspace.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::shell;

/// The workspace that this program belongs to.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// All members, in cargo's order.
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its features, `default` excluded.
    pub(crate) features: Vec<String>,
    /// Whether it may be published.
    pub(crate) published: bool,
    /// The oldest compiler it promises to build with.
    pub(crate) rust_version: Option<String>,
}

impl Workspace {
    /// Asks `cargo metadata`.
    pub(crate) fn load() -> Result<Workspace> {
        let mut command = shell::cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = command.output().context("cannot start cargo")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cannot parse cargo metadata")?;
        Workspace::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Result<Workspace> {
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("cargo metadata has no `{key}`"))
        };
        let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
        Ok(Workspace {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            packages: packages.iter().map(Package::from_metadata).collect::<Result<_>>()?,
        })
    }
}

impl Package {
    fn from_metadata(package: &Value) -> Result<Package> {
        let name = package["name"].as_str().context("a package has no name")?.to_owned();
        let features = package["features"].as_object().into_iter().flat_map(|features| features.keys());
        let features = features.filter(|name| *name != "default").cloned().collect();
        // `publish = false` is an empty list of registries.
        let published = package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
        let rust_version = package["rust_version"].as_str().map(str::to_owned);
        Ok(Package { name, features, published, rust_version })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_gives_features_and_publication() {
        let metadata = json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [
                {"name": "a", "features": {"default": [], "testing": []}, "publish": null, "rust_version": "1.95"},
                {"name": "b", "features": {}, "publish": [], "rust_version": null},
            ],
        });
        let workspace = Workspace::from_metadata(&metadata).unwrap();
        assert_eq!(workspace.packages[0].features, ["testing"]);
        assert!(workspace.packages[0].published);
        assert!(!workspace.packages[1].published);
    }

    #[test]
    fn missing_facts_are_errors() {
        assert!(Workspace::from_metadata(&json!({})).is_err());
    }
}
