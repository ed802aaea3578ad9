//! `coldkeep namespace`.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use coldkeep_client::{NamespaceItem, Store};
use coldkeep_datastore::Namespace;
use serde_json::json;

use super::human;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};
use super::task::follow;

/// The arguments of `coldkeep namespace`.
#[derive(Debug, Args)]
pub(crate) struct NamespaceVerbs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the namespace (--ns) and those below it.
    List {
        /// How many levels below it.
        #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u64).range(0..=7))]
        max_depth: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Makes a namespace; the one that it is in must be there.
    Create {
        /// The whole path, as a/b.
        namespace: Namespace,
        #[command(flatten)]
        target: Target,
    },
    /// Moves a namespace with all in it, so that it becomes another one, whose parent must be there.
    Move {
        /// The whole path, as a/b.
        namespace: Namespace,
        /// What it becomes, as c/d; "" for the root.
        to: Namespace,
        /// Let groups of the same name and owner that are there take the snapshots in.
        #[arg(long)]
        merge: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Removes a namespace with those below it.
    Delete {
        /// The whole path, as a/b.
        namespace: Namespace,
        /// Remove the groups in it as well; without this they are an error.
        #[arg(long)]
        delete_groups: bool,
        #[command(flatten)]
        target: Target,
    },
}

impl NamespaceVerbs {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        match self.verb {
            Verb::List { max_depth, target } => {
                let list =
                    async |store: Store| Ok(store.namespaces(max_depth.map(|depth| depth as usize)).await?);
                let namespaces = target.run(shell, Missing::Refuse, list).await?;
                shell.show(&namespaces, |namespaces| table(namespaces))
            }
            Verb::Create { namespace, target } => {
                let (parent, name) = split(&namespace)?;
                let create = async |store: Store| {
                    let created = at(&store, parent).create_namespace(&name).await;
                    created.with_context(|| format!("cannot make the namespace {namespace}"))
                };
                let made = target.run(shell, Missing::Create, create).await?;
                shell.show(&json!({ "ns": made }), |_| format!("made the namespace {made}"))
            }
            Verb::Move { namespace, to, merge, target } => {
                let run = async |store: Store| {
                    let upid = at(&store, namespace.clone()).start_move_namespace(&to, merge).await?;
                    follow(store.client(), &upid).await
                };
                let moved = target.run(shell, Missing::Refuse, run).await;
                moved.with_context(|| format!("cannot move the namespace {namespace}"))?;
                let value = json!({ "from": namespace, "ns": to });
                shell.show(&value, |_| {
                    let to = if to.is_root() { "part of the root".to_owned() } else { to.to_string() };
                    format!("the namespace {namespace} is now {to}")
                })
            }
            Verb::Delete { namespace, delete_groups, target } => {
                let remove = async |store: Store| {
                    let removed = at(&store, namespace.clone()).remove_namespace(delete_groups).await;
                    removed.with_context(|| format!("cannot remove the namespace {namespace}"))
                };
                let stats = target.run(shell, Missing::Refuse, remove).await?;
                let value = json!({
                    "ns": namespace,
                    "removed-groups": stats.removed_groups,
                    "removed-snapshots": stats.removed_snapshots,
                    "protected-snapshots": stats.protected_snapshots,
                });
                shell.show(&value, |_| {
                    let (groups, snapshots) = (stats.removed_groups, stats.removed_snapshots);
                    let (groups, snapshots) =
                        (human::count(groups, "group"), human::count(snapshots, "snapshot"));
                    format!("removed the namespace {namespace} with {groups} and {snapshots}")
                })
            }
        }
    }
}

fn at(store: &Store, namespace: Namespace) -> Store {
    store.client().store(store.name().clone(), namespace)
}

/// Splits the last component off.
fn split(namespace: &Namespace) -> Result<(Namespace, String)> {
    match (namespace.parent(), namespace.components().last()) {
        (Some(parent), Some(name)) => Ok((parent, name.to_owned())),
        _ => bail!("the root namespace is always there"),
    }
}

fn table(namespaces: &[NamespaceItem]) -> String {
    let mut table = Table::new([("namespace", Align::Left), ("comment", Align::Left)]);
    for item in namespaces {
        let name = if item.ns.is_root() { "(root)".to_owned() } else { item.ns.to_string() };
        table.push([name, item.comment.clone().unwrap_or_default()]);
    }
    table.render("no namespaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_component_is_the_name() {
        let (parent, name) = split(&"a/b/c".parse().unwrap()).unwrap();
        assert_eq!((parent.to_string().as_str(), name.as_str()), ("a/b", "c"));
        let (parent, name) = split(&"a".parse().unwrap()).unwrap();
        assert_eq!((parent.is_root(), name.as_str()), (true, "a"));
        assert!(split(&Namespace::root()).is_err());
    }
}
