//! `coldkeep.toml`, and how the server takes it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::process::Serve;
use crate::wire::Wire;

fn coldkeep(args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
    command.args(args).arg("--data-dir").arg(folder).output().unwrap()
}

#[test]
fn config_check_tells_what_is_wrong_and_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coldkeep.toml");
    std::fs::write(&file, "[server]\nlisen = []\n[limits]\nconnections = 0\n").unwrap();
    let wrong = coldkeep(&["config", "check"], folder.path());
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{told}");
    for part in
        ["line 2: unknown key 'lisen' in [server]; did you mean 'listen'?", "line 4: [limits] connections"]
    {
        assert!(told.contains(part), "{told}");
    }
    let serve = coldkeep(&["serve"], folder.path());
    assert_eq!(serve.status.code(), Some(255));
    assert!(String::from_utf8(serve.stderr).unwrap().contains("did you mean 'listen'?"));

    std::fs::write(&file, "[gc]\ngrace = '2h'\n").unwrap();
    let good = coldkeep(&["config", "check", file.to_str().unwrap()], folder.path());
    let printed = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0));
    assert!(printed.contains("grace = \"2h\"") && printed.contains("level = \"info\""), "{printed}");
    // What is printed is a configuration itself.
    std::fs::write(&file, &printed).unwrap();
    assert_eq!(coldkeep(&["config", "check"], folder.path()).stdout, printed.as_bytes());
    let json = coldkeep(&["config", "check", "--output", "json"], folder.path());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["effective"], &json["file"]), (&printed.into(), &file.to_str().unwrap().into()));
    assert_eq!(coldkeep(&["config", "check", "/nonexistent"], folder.path()).status.code(), Some(1));
}

#[tokio::test]
async fn options_go_before_the_file_and_the_file_before_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("coldkeep.toml"), folder.path().join("stderr"));
    let text = "[server]\nlisten = ['127.0.0.1:0', '127.0.0.1:0']\nshutdown-timeout = '1s'\n[log]\nformat = 'json'\n";
    std::fs::write(&file, text).unwrap();
    let mut command = Serve::command(folder.path());
    command.stderr(File::create(&log).unwrap()).args(["--log-level", "debug"]);
    let server = Serve::run(command);
    let addresses = server.values_of("listening on");
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        Wire::nobody(address.parse().unwrap()).get("/api2/json/ping").await.ok();
    }
    assert_eq!(server.value_of("configuration"), file.to_str());
    assert!(server.terminate().await);
    let lines = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["message"] == "shutting down" && line["level"] == "INFO"),
        "{lines:?}"
    );

    let mut command = Serve::command(folder.path());
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Serve::run(command);
    assert_eq!(server.values_of("listening on").len(), 1);
    assert!(server.terminate().await);
}
