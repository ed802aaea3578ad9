//! Reading, messages and the example.

use std::time::Duration;

use super::options::{OPTIONS, SECTIONS};
use super::*;
use crate::{AuditLimits, LoginLimits};

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new("/etc/coldkeep.toml")) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Wrong { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

/// The example with the defaults in force instead of commented out.
fn uncommented() -> String {
    let is_option =
        |line: &str| OPTIONS.iter().any(|option| line.starts_with(&format!("#{} = ", option.key)));
    example().lines().flat_map(|line| [if is_option(line) { &line[1..] } else { line }, "\n"]).collect()
}

#[test]
fn the_example_in_the_repository_is_the_one_that_is_printed() {
    let kept = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/coldkeep.toml"));
    assert!(kept == example(), "write it anew: coldkeep config example > server/coldkeep.toml");
}

#[test]
fn the_example_names_every_option_with_its_default() {
    let path = Path::new("/etc/coldkeep.toml");
    assert_eq!(Config::parse(&example(), path).unwrap(), Config::default());
    let text = uncommented();
    assert_eq!(Config::parse(&text, path).unwrap(), Config::default());
    let table = toml::de::DeTable::parse(&text).unwrap();
    for option in OPTIONS {
        let section = table.get_ref().get(option.section).and_then(|section| section.get_ref().as_table());
        assert!(section.is_some_and(|section| section.contains_key(option.key)), "{}", option.key);
    }
    assert_eq!(Config::parse(&effective(&Config::default()), path).unwrap(), Config::default());
}

#[test]
fn every_option_is_in_a_section_and_has_one_place() {
    for (i, option) in OPTIONS.iter().enumerate() {
        assert!(SECTIONS.iter().any(|(section, _)| *section == option.section), "{}", option.key);
        let is_same = |other: &options::Opt| (other.section, other.key) == (option.section, option.key);
        assert!(!OPTIONS[..i].iter().any(is_same), "{} twice", option.key);
    }
}

#[test]
fn values_are_taken_in_every_form() {
    let text = "[server]\nlisten = ['127.0.0.1:1', '[::1]:2']\nshutdown-timeout = 5\n[log]\nformat = 'json'\n\
                [limits]\nsession-upload-bytes = '32M'\nconnections = 0x10\nunauthorized-delay = '0s'\n\
                [gc]\ngrace = '24h 5m'\n";
    let config = Config::parse(text, Path::new("x")).unwrap();
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!((config.limits.shutdown, config.log.format), (Duration::from_secs(5), LogFormat::Json));
    assert_eq!((config.limits.session_upload_bytes, config.limits.connections_max), (32 << 20, 16));
    assert_eq!(config.limits.unauthorized_delay, Duration::ZERO);
    assert_eq!(config.limits.gc_grace, Duration::from_mins(24 * 60 + 5));
    assert_eq!(Config::parse(&effective(&config), Path::new("x")).unwrap(), config);
}

#[test]
fn logins_audit_log_and_jobs_can_be_bounded() {
    let text = "[limits]\njobs-at-once = 9\n[logins]\nwindow = '1h'\nfailures-per-address = 1\n\
                failures-per-user-and-address = 2\nfailures-per-user = 3\nuser-delay = 4\nremembered = 100\n\
                [audit]\nfile-bytes = '2MiB'\nfiles = 5\nqueue-lines = 64\n";
    let limits = Config::parse(text, Path::new("x")).unwrap().limits;
    let logins = LoginLimits {
        window: Duration::from_hours(1),
        failures_per_address: 1,
        failures_per_user_and_address: 2,
        failures_per_user: 3,
        user_delay: Duration::from_secs(4),
        entries_max: 100,
    };
    let audit = AuditLimits { file_bytes: 2 << 20, files: 5, queue_lines: 64 };
    assert_eq!((limits.jobs_at_once, limits.logins, limits.audit), (9, logins, audit));
}

#[test]
fn unknown_names_are_refused_with_what_was_meant() {
    for (text, message) in [
        ("[server]\n\nlisen = []", "line 3: unknown key 'lisen' in [server]; did you mean 'listen'?"),
        ("[sever]\nlisten = []", "line 1: unknown section [sever]; did you mean 'server'?"),
        ("[server]\ngrace = 1", "line 2: unknown key 'grace' in [server]; did you mean '[gc] grace'?"),
        (
            "[limits]\nPing_Interval = 1",
            "line 2: unknown key 'Ping_Interval' in [limits]; did you mean 'ping-interval'?",
        ),
        (
            "[limits]\nconnection = 1",
            "line 2: unknown key 'connection' in [limits]; did you mean 'connections'?",
        ),
        ("listen = []", "line 1: unknown key 'listen' before the first section; it belongs below [server]"),
        (
            "server = 1",
            "line 1: server is a section; write [server] on a line of its own, and its options below",
        ),
    ] {
        assert_eq!(problems(text), [message]);
    }
    assert_eq!(problems("[gc]\ntelephone = 1"), ["line 2: unknown key 'telephone' in [gc]"]);
    assert_eq!(problems(&format!("[gc]\n{} = 1", "x".repeat(100_000)))[0].len(), 110);
}

#[test]
fn wrong_values_name_key_line_and_limits() {
    for (line, key, limits, got) in [
        ("[limits]\nconnections = 0", "[limits] connections", "from 1 to 65536", "not 0"),
        ("[limits]\nconnections = -1", "[limits] connections", "from 1 to 65536", "not -1"),
        ("[limits]\nconnections = '5'", "[limits] connections", "a number", "not \"5\""),
        ("[audit]\nfiles = 4294967297", "[audit] files", "from 1 to 1000", "not 4294967297"),
        ("[limits]\nping-timeout = true", "[limits] ping-timeout", "from 1s to 24h", "not true"),
        ("[limits]\nping-timeout = '2 days'", "[limits] ping-timeout", "from 1s to 24h", "not \"2 days\""),
        ("[limits]\nrest-upload-bytes = '1MiB'", "[limits] rest-upload-bytes", "to 1GiB", "not \"1MiB\""),
        ("[server]\nlisten = '127.0.0.1:1'", "[server] listen", "a list", "127.0.0.1:1"),
        ("[server]\nlisten = ['127.0.0.1']", "[server] listen", "with ports", "this list"),
        (
            "[bandwidth]\nuser-in = '1KiB'",
            "[bandwidth] user-in",
            "0, or a size from 64KiB on",
            "not \"1KiB\"",
        ),
        ("[log]\nlevel = ''", "[log] level", "debug or trace", "not \"\""),
        ("[log]\nformat = 'xml'", "[log] format", "\"human\" or \"json\"", "not \"xml\""),
        ("[gc]\ngrace = { a = 1 }", "[gc] grace", "a time", "a table"),
    ] {
        let found = problems(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        for part in ["line 2", key, limits, got] {
            assert!(found[0].contains(part), "{line}: {} does not say {part:?}", found[0]);
        }
    }
}

#[test]
fn files_are_relative_to_the_configuration_and_certificate_and_key_go_together() {
    let text = "[server]\ncertificate = 'tls.pem'\nkey = '/secret/tls.key'";
    let server = Config::parse(text, Path::new("/etc/coldkeep/x.toml")).unwrap().server;
    assert_eq!(server.certificate.as_deref(), Some(Path::new("/etc/coldkeep/tls.pem")));
    assert_eq!(server.key.as_deref(), Some(Path::new("/secret/tls.key")));
    let alone = "line 3: [server] key is set, and certificate is not; set both or neither";
    assert_eq!(problems("[server]\ncertificate = ''\nkey = 'x'"), [alone]);
    assert!(problems("[server]\ncertificate = 'x'")[0].contains("key is not"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_order() {
    let found = problems("[log]\nformat = 1\n[server]\nlisten = 1\nx = 1\n[foo]\n");
    let lines: Vec<&str> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["line 2", "line 4", "line 5", "line 6"]);
    assert!(problems("[log]\nformat = ")[0].starts_with("line 2: "));
    assert!(problems("[log]\nlevel='info'\nlevel='info'")[0].starts_with("line 3: duplicate key"));
}

#[test]
fn no_text_makes_it_panic() {
    let text = uncommented().replace("\"\"", "\"ü\"");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(3) {
        let _ = problems(&text[..end]);
    }
    for odd in [
        "ü = ü",
        "[[server]]",
        "server.listen.x = 1",
        "[server]\r\nü = 1",
        "\u{feff}[gc]",
        "a.b.c.d = {}",
        "[gc]\ngrace = 1e400",
        "[gc]\ngrace = 99999999999999999999",
        "[limits]\nconnections = 0o777777777777777777777777",
    ] {
        let _ = problems(odd);
    }
    assert_eq!(problems("[gc]\ngrace = 99999999999999999999").len(), 1);
    assert_eq!(problems("[limits]\nsession-upload-bytes = '1e30EiB'").len(), 1);
}

#[test]
fn only_a_file_that_was_named_has_to_exist() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = Config::load(None, folder.path()).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), file: None });
    let other = folder.path().join("other.toml");
    assert!(matches!(Config::load(Some(&other), folder.path()), Err(ConfigError::Read { .. })));
    std::fs::write(folder.path().join(CONFIG_FILE), "[gc]\ngrace = 1").unwrap();
    std::fs::write(&other, "[gc]\ngrace = 2").unwrap();
    let grace = |named| Config::load(named, folder.path()).unwrap().config.limits.gc_grace.as_secs();
    assert_eq!((grace(None), grace(Some(&other))), (1, 2));
    std::fs::write(&other, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
    assert!(Config::load(Some(&other), folder.path()).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(
        changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), "[ -~\n]{0,6}"), 1..6),
    ) {
        let mut text = uncommented();
        for (at, with) in changes {
            let at = at.index(text.len());
            let at = text.floor_char_boundary(at);
            let end = text.ceil_char_boundary((at + with.len() / 2).min(text.len()));
            text.replace_range(at..end, &with);
        }
        let path = Path::new("/etc/coldkeep.toml");
        match Config::parse(&text, path) {
            // What is in force is read again as it is.
            Ok(config) => proptest::prop_assert_eq!(Config::parse(&effective(&config), path).unwrap(), config),
            Err(ConfigError::Wrong { problems, .. }) => proptest::prop_assert!(!problems.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }
}
