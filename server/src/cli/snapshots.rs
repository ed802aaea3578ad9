//! `coldkeep snapshots`.

use anyhow::Result;
use clap::Args;
use coldkeep_client::SnapshotItem;
use coldkeep_datastore::{ArchiveName, GroupName};

use super::human;
use super::shell::Shell;
use super::table::{Align, Table};
use super::target::{Missing, Target};

/// The arguments of `coldkeep snapshots`.
#[derive(Debug, Args)]
pub(crate) struct Snapshots {
    /// Only those of one group, as host/web1.
    group: Option<GroupName>,
    #[command(flatten)]
    target: Target,
}

impl Snapshots {
    pub(crate) async fn run(self, shell: &Shell) -> Result<()> {
        let Self { group, target } = self;
        let list = async |store: coldkeep_client::Store| {
            let (ty, id) = (group.as_ref().map(|group| group.ty), group.as_ref().map(|group| &group.id));
            Ok(store.snapshots(ty, id).await?)
        };
        let mut snapshots = target.run(shell, Missing::Refuse, list).await?;
        snapshots.sort_by_key(SnapshotItem::name);
        shell.show(&snapshots, |snapshots| table(snapshots))
    }
}

fn table(snapshots: &[SnapshotItem]) -> String {
    let mut table = Table::new([
        ("snapshot", Align::Left),
        ("size", Align::Right),
        ("verified", Align::Left),
        ("protected", Align::Left),
        ("archives", Align::Left),
        ("notes", Align::Left),
    ]);
    for item in snapshots {
        let size =
            item.size.filter(|_| item.is_finished()).map_or_else(|| "unfinished".to_owned(), human::bytes);
        let archives: Vec<&str> = item
            .files
            .iter()
            .map(|file| file.filename.as_str())
            .filter(|name| *name != ArchiveName::MANIFEST)
            .map(|name| name.rsplit_once('.').map_or(name, |(local, _)| local))
            .collect();
        table.push([
            item.name().to_string(),
            size,
            item.verification.as_ref().map(|verification| verification.state.clone()).unwrap_or_default(),
            if item.protected { "yes".to_owned() } else { String::new() },
            archives.join(" "),
            item.comment.clone().unwrap_or_default(),
        ]);
    }
    table.render("no snapshots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_and_unfinished_snapshots_are_listed() {
        let vector =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/json/snapshots.json"));
        let answer: serde_json::Value = serde_json::from_str(vector).unwrap();
        let items: Vec<SnapshotItem> = serde_json::from_value(answer["data"].clone()).unwrap();
        let text = table(&items);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("host/demo/2023-11-14T22:13:20Z    4.00 MiB  ok"), "{text}");
        assert!(lines[1].ends_with("disk.img stream.bin host.conf  first line of notes"), "{text}");
        assert!(lines[2].starts_with("host/demo/2023-11-14T23:13:20Z  unfinished"), "{text}");
        assert_eq!(table(&[]), "no snapshots\n");
    }
}
