use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use coldkeep_client::{Fingerprint, RemoteProperty, Secret};

use super::*;

fn open(folder: &Path) -> (DataDir, Remotes) {
    let data_dir = DataDir::open(folder).unwrap();
    let remotes = Remotes::open(&data_dir).unwrap();
    (data_dir, remotes)
}

fn remote(name: &str) -> Remote {
    Remote {
        name: name.parse().unwrap(),
        host: "far.example.com".parse().unwrap(),
        port: "9000".parse().ok(),
        auth_id: "joe@pbs!pull".parse().unwrap(),
        secret: Secret::new("geheim"),
        fingerprint: Some(Fingerprint::of(b"certificate")),
        comment: Some("in the other town".to_owned()),
    }
}

fn name(text: &str) -> RemoteName {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_was_added_is_there_after_a_restart_and_its_file_belongs_to_us_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, remotes) = open(folder.path());
    assert!(remotes.list().is_empty());
    remotes.add(remote("off-site")).await.unwrap();
    remotes.add(Remote { port: None, fingerprint: None, comment: None, ..remote("attic") }).await.unwrap();
    let before = remotes.list();
    assert_eq!(before.iter().map(|remote| remote.name.as_str()).collect::<Vec<_>>(), ["attic", "off-site"]);
    let mode = data_dir.config("remotes.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop((data_dir, remotes));

    let (_data_dir, remotes) = open(folder.path());
    assert_eq!(remotes.list(), before);
    assert_eq!(remotes.get(&name("off-site")).unwrap().secret.reveal(), "geheim");
    remotes.remove(&name("attic")).await.unwrap();
    assert!(matches!(remotes.remove(&name("attic")).await, Err(RemotesError::Unknown { .. })));
    assert_eq!(remotes.list().len(), 1);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_unsets_first() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, remotes) = open(folder.path());
    let at = name("off-site");
    remotes.add(remote("off-site")).await.unwrap();
    remotes.update(&at, RemoteUpdate::default()).await.unwrap();
    assert_eq!(*remotes.get(&at).unwrap(), remote("off-site"));

    let update = RemoteUpdate {
        host: "10.0.0.7".parse().ok(),
        secret: Some(Secret::new("neu")),
        delete: vec![RemoteProperty::Port, RemoteProperty::Fingerprint],
        ..RemoteUpdate::default()
    };
    remotes.update(&at, update).await.unwrap();
    let changed = remotes.get(&at).unwrap();
    assert_eq!((changed.host.as_str(), changed.secret.reveal()), ("10.0.0.7", "neu"));
    assert_eq!((changed.port, changed.fingerprint), (None, None));
    assert_eq!((&changed.auth_id, &changed.comment), (&remote("x-x").auth_id, &remote("x-x").comment));

    let comment = Some("set".to_owned());
    let update = RemoteUpdate { comment, delete: vec![RemoteProperty::Comment], ..RemoteUpdate::default() };
    remotes.update(&at, update).await.unwrap();
    assert_eq!(remotes.get(&at).unwrap().comment.as_deref(), Some("set"));
    assert!(matches!(
        remotes.update(&name("nosuch"), RemoteUpdate::default()).await,
        Err(RemotesError::Unknown { .. })
    ));
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, remotes) = open(folder.path());
    remotes.add(remote("off-site")).await.unwrap();
    let file = std::fs::read(data_dir.config("remotes.json")).unwrap();
    assert!(matches!(remotes.add(remote("off-site")).await, Err(RemotesError::Exists { .. })));
    let empty = Remote { secret: Secret::new(""), ..remote("attic") };
    assert!(matches!(remotes.add(empty).await, Err(RemotesError::EmptySecret)));
    let update = RemoteUpdate { secret: Some(Secret::new("")), ..RemoteUpdate::default() };
    assert!(matches!(remotes.update(&name("off-site"), update).await, Err(RemotesError::EmptySecret)));
    assert_eq!(std::fs::read(data_dir.config("remotes.json")).unwrap(), file);
    assert_eq!(remotes.list().len(), 1);

    // A file that cannot be replaced: the old one stands, in memory too.
    std::fs::remove_file(data_dir.config("remotes.json")).unwrap();
    std::fs::create_dir(data_dir.config("remotes.json")).unwrap();
    assert!(matches!(remotes.add(remote("attic")).await, Err(RemotesError::Save(_))));
    assert_eq!(remotes.list().len(), 1);
}

#[tokio::test]
async fn there_is_a_most() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let many: Vec<Remote> = (0..REMOTES_MAX).map(|i| remote(&format!("remote-{i}"))).collect();
    json_file::write(&data_dir.config("remotes.json"), &many, SECRET_MODE).unwrap();
    let remotes = Remotes::open(&data_dir).unwrap();
    assert!(matches!(remotes.add(remote("one-more")).await, Err(RemotesError::TooMany)));
    remotes.remove(&name("remote-7")).await.unwrap();
    remotes.add(remote("one-more")).await.unwrap();
}

#[test]
fn secrets_are_not_shown() {
    let update = RemoteUpdate { secret: Some(Secret::new("geheim")), ..RemoteUpdate::default() };
    let item = serde_json::to_string(&remote("off-site").to_item()).unwrap();
    let shown = format!("{:?} {update:?} {:?} {item}", remote("off-site"), remote("off-site").client());
    assert!(!shown.contains("geheim"), "{shown}");
    assert!(item.contains(r#""auth-id":"joe@pbs!pull""#), "{item}");
}

#[test]
fn a_malformed_file_is_refused_by_its_place_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let path = data_dir.config("remotes.json");
    let good = r#"[{"name":"off-site","host":"h","auth-id":"a@pbs","password":"geheim"}]"#;
    std::fs::write(&path, good).unwrap();
    assert_eq!(Remotes::open(&data_dir).unwrap().list().len(), 1);
    for bad in [
        "{",
        r#"[{"name":"off-site"}]"#,
        &good.replace("\"geheim\"", "[\"geheim\"]"),
        &good.replace("\"geheim\"", "\"x\",\"geheim\":1"),
        &good.replace("off-site", "../x"),
        &good.replace("\"h\"", "\"a b\""),
        &good.replace("a@pbs", "a"),
        &good.replace("}]", ",\"port\":0}]"),
        &good.replace("}]", ",\"fingerprint\":\"geheim\"}]"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = Remotes::open(&data_dir).err().unwrap_or_else(|| panic!("{bad} was taken"));
        let shown = format!("{} {error:?}", crate::api::chain(&error));
        assert!(shown.contains("line 1") && shown.contains("remotes.json"), "{shown}");
        assert!(!shown.contains("geheim"), "{shown}");
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    for (text, host) in [
        ("pbs1", "pbs1"),
        ("far.example.com", "far.example.com"),
        ("a_b-c.d", "a_b-c.d"),
        ("10.0.0.7", "10.0.0.7"),
        ("fd00::7", "fd00::7"),
        ("[fd00::7]", "fd00::7"),
    ] {
        assert_eq!(text.parse::<RemoteHost>().unwrap().as_str(), host);
    }
    let long = "a".repeat(300);
    for text in ["", "a b", "a/b", "a:8007", "joe@a", "-a", "a..b", "[fd00::7", "[a]", "a\n", "ü", &long] {
        let error = text.parse::<RemoteHost>().err().unwrap_or_else(|| panic!("{text:?} was taken"));
        assert!(error.to_string().len() < 120, "{error}");
    }
}
