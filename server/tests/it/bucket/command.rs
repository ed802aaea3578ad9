//! The command line on a store in a bucket, and where its keys are not to be found.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::scene::{ACCESS_KEY, BUCKET, SECRET_KEY, Scene, files_below};
use crate::material::noise;

/// Runs commands in a folder, and keeps all that they say.
struct Terminal<'a> {
    folder: &'a Path,
    said: String,
}

impl Terminal<'_> {
    fn run(&mut self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coldkeep"));
        command.env_clear().env("HOME", self.folder).current_dir(self.folder);
        // As talkative as it gets.
        command.env("COLDKEEP_LOG", "trace");
        command.args(arguments).args(["--data-dir", "data"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The secret key, where it is asked for.
        let _ = writeln!(child.stdin.take().unwrap(), "{SECRET_KEY}");
        let output = child.wait_with_output().unwrap();
        self.said += &String::from_utf8_lossy(&output.stdout);
        self.said += &String::from_utf8_lossy(&output.stderr);
        output
    }

    #[track_caller]
    fn json(&mut self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--output", "json"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn text(&mut self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn failure(&mut self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

// Goal: every verb works on a store in a bucket, and its secret key is in its own file and nowhere else.
// Method: the real binary with all logs on; what it says, writes and stores is searched.
#[tokio::test(flavor = "multi_thread")]
async fn verbs_work_and_secrets_stay_where_they_belong() {
    let scene = Scene::new().await;
    let folder = scene.data_dir("terminal");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("disk"), noise(1, 9_000_000)).unwrap();
    let endpoint = scene.origin.endpoint();
    let commands = {
        let folder = folder.clone();
        move || run_verbs(&mut Terminal { folder: &folder, said: String::new() }, &endpoint)
    };
    let said = tokio::task::spawn_blocking(commands).await.unwrap();
    assert!(said.contains(ACCESS_KEY) || said.contains(BUCKET), "nothing was said");
    assert!(!said.contains(SECRET_KEY), "the secret key was shown");
    for path in files_below(&folder.join("data")) {
        let content = std::fs::read(&path).unwrap();
        let is_in = content.windows(SECRET_KEY.len()).any(|part| part == SECRET_KEY.as_bytes());
        assert!(!is_in, "the secret key is in {} after the store is gone", path.display());
    }
    assert_eq!(scene.origin.keys(BUCKET), Vec::<String>::new());
}

fn run_verbs(terminal: &mut Terminal<'_>, endpoint: &str) -> String {
    let place = ["--backend", "s3", "--endpoint", endpoint, "--bucket", BUCKET, "--access-key", ACCESS_KEY];
    let create = [&["datastore", "create", "tank"], &place[..]].concat();
    let created = terminal.text(&create);
    assert!(created.contains("compare-and-swap") && created.contains("made the datastore tank"), "{created}");
    assert!(terminal.failure(&create).contains("exists already"));

    let secret = terminal.folder.join("data/secrets/s3-tank.json");
    let holders: Vec<_> = files_below(&terminal.folder.join("data"))
        .into_iter()
        .filter(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(SECRET_KEY))
        .collect();
    assert_eq!(holders, [secret]);

    let listed = terminal.json(&["datastore", "list"]);
    assert_eq!(listed[1]["backend"]["bucket"], BUCKET);
    assert!(terminal.text(&["datastore", "list"]).contains("backups/tank on http://"));
    let updated = terminal.json(&["datastore", "update", "tank", "--cache-size", "2GiB"]);
    assert_eq!(updated["backend"]["cache-size"], 2_u64 << 30);
    let shown = terminal.text(&["datastore", "show", "tank"]);
    assert!(shown.contains("up to 2.00 GiB") && shown.contains("put if absent"), "{shown}");

    let repository = ["--repository", "./data:tank"];
    terminal.json(&[&["backup", "--backup-id", "h1", "d.img:disk"], &repository[..]].concat());
    terminal.text(&[&["restore", "host/h1", "d.img", "out"], &repository[..]].concat());
    let same = |a: &str, b: &str| {
        std::fs::read(terminal.folder.join(a)).unwrap() == std::fs::read(terminal.folder.join(b)).unwrap()
    };
    assert!(same("disk", "out"));
    let status = terminal.text(&[&["status"], &repository[..]].concat());
    assert!(status.contains("state:") && status.contains("PutObject"), "{status}");
    let collect = ["gc", "--grace", "0", "--margin", "0"];
    let kept = terminal.json(&[&collect[..], &repository[..]].concat());
    assert_eq!(kept["report"]["removed"]["count"], 0, "{kept}");
    assert!(kept["report"]["requests"]["ListObjectsV2"].as_u64().unwrap() > 0, "{kept}");
    terminal.json(&[&["forget", "host/h1", "--group"], &repository[..]].concat());
    // Objects are dated in whole seconds: what was written less than three of them ago may be in use.
    let gone = terminal.json(&[&collect[..], &repository[..]].concat());
    let count = |what: &str| gone["report"][what]["count"].as_u64().unwrap();
    assert_eq!((count("kept"), count("removed") + count("pending")), (0, 3), "{gone}");
    terminal.json(&[&["backup", "--backup-id", "h2", "d.img:disk"], &repository[..]].concat());
    assert!(terminal.failure(&["datastore", "refresh", "default"]).contains("not in a bucket"));

    assert!(terminal.failure(&["datastore", "destroy-data", "tank"]).contains("--yes"));
    let destroyed = terminal.json(&["datastore", "destroy-data", "tank", "--yes"]);
    assert!(destroyed["objects"].as_u64().unwrap() > 3, "{destroyed}");
    std::mem::take(&mut terminal.said)
}
