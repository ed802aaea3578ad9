use proptest::prelude::*;

use super::*;

fn target(key: &str) -> DeleteTarget {
    DeleteTarget::new(ObjectKey::new(key).unwrap())
}

fn targets(keys: &[&str]) -> Vec<DeleteTarget> {
    keys.iter().map(|key| target(key)).collect()
}

fn read(content: &str, targets: &[DeleteTarget], is_quiet: bool) -> Result<DeleteReport, XmlError> {
    parse(format!("<DeleteResult xmlns='x'>{content}</DeleteResult>").as_bytes(), targets, is_quiet)
}

fn deleted(key: &str) -> String {
    format!("<Deleted><Key>{key}</Key></Deleted>")
}

fn failed(key: &str) -> String {
    format!("<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error>")
}

fn names<'r>(targets: impl Iterator<Item = &'r DeleteTarget>) -> Vec<&'r str> {
    targets.map(|target| target.key.as_str()).collect()
}

fn lists(report: &DeleteReport) -> [Vec<&str>; 3] {
    [
        names(report.deleted.iter().map(|deleted| &deleted.target)),
        names(report.failed.iter().map(|failed| &failed.target)),
        names(report.unreported.iter()),
    ]
}

#[test]
fn point_13_a_request_carries_md5_and_at_most_1000_keys() {
    let request = |count: usize| {
        let keys = (0..count).map(|idx| ObjectKey::new(format!("k{idx}")).unwrap());
        DeleteObjects::new(keys).request(&Quirks::default())
    };
    let parts = request(1000).unwrap();
    assert_eq!(
        (parts.method, parts.query.to_wire().as_str(), parts.integrity),
        (Method::POST, "delete", Integrity::Md5)
    );
    for count in [0, 1001] {
        assert!(
            matches!(request(count), Err(InvalidRequest::OutOfRange { value, .. }) if value == count as u64)
        );
    }
}

#[test]
fn keys_are_escaped() {
    let targets = [target("a<&>\r\n b"), target("v").with_version("1&2")];
    let body = body(&targets, true).unwrap();
    let expected = "<Quiet>true</Quiet><Object><Key>a&lt;&amp;&gt;&#13;&#10; b</Key></Object><Object><Key>v</Key>\
                    <VersionId>1&amp;2</VersionId></Object></Delete>";
    assert!(body.ends_with(expected), "{body}");
}

#[test]
fn a_key_that_xml_cannot_express_is_refused() {
    let odd = target("a\u{1}");
    assert!(!odd.is_in_xml() && target("a\n").is_in_xml() && !target("a").with_version("\u{1}").is_in_xml());
    let error = DeleteObjects::new([odd]).request(&Quirks::default()).unwrap_err();
    assert_eq!(error, InvalidRequest::Xml);
}

#[test]
fn point_13_each_key_has_its_own_result() {
    let targets = targets(&["a", "b", "c"]);
    let report = read(&format!("{}{}{}", deleted("c"), failed("b"), deleted("a")), &targets, false).unwrap();
    assert_eq!(lists(&report), [vec!["a", "c"], vec!["b"], vec![]]);
    let error = &report.failed[0].error;
    assert_eq!((error.code(), error.message()), (&ErrorCode::AccessDenied, "no"));
}

#[test]
fn what_the_answer_leaves_out_is_not_taken_for_deleted() {
    let report = read(&deleted("a"), &targets(&["a", "b"]), false).unwrap();
    assert_eq!(lists(&report), [vec!["a"], vec![], vec!["b"]]);
}

#[test]
fn point_13_quiet_mode_may_be_ignored() {
    let targets = targets(&["a", "b", "c"]);
    for content in [failed("b"), format!("{}{}", deleted("a"), failed("b"))] {
        let report = read(&content, &targets, true).unwrap();
        assert_eq!(lists(&report), [vec!["a", "c"], vec!["b"], vec![]]);
    }
}

#[test]
fn of_two_contradicting_results_the_failure_counts() {
    let targets = targets(&["a"]);
    for content in [deleted("a") + &failed("a"), failed("a") + &deleted("a")] {
        assert_eq!(lists(&read(&content, &targets, false).unwrap()), [vec![], vec!["a"], vec![]]);
    }
}

#[test]
fn results_for_keys_that_were_not_asked_for_are_not_believed() {
    let targets = targets(&["a"]);
    assert_eq!(lists(&read(&deleted("/a"), &targets, false).unwrap()), [vec![], vec![], vec!["a"]]);
    for is_quiet in [false, true] {
        assert!(matches!(read(&failed("/a"), &targets, is_quiet), Err(XmlError::Invalid { .. })));
    }
    for nameless in ["<Error><Code>InternalError</Code></Error>", "<Deleted/>"] {
        assert!(matches!(read(nameless, &targets, true), Err(XmlError::Missing { element: "Key", .. })));
    }
}

#[test]
fn versions_are_told_apart() {
    let versions =
        [target("a").with_version("1"), target("a").with_version("2"), target("b").with_version("1")];
    let entry = |key: &str, version: &str| format!("<Deleted><Key>{key}</Key>{version}</Deleted>");
    let content = entry("a", "<VersionId>2</VersionId>") + &entry("b", "");
    let report = read(&content, &versions, false).unwrap();
    assert_eq!(report.unreported, [versions[0].clone()]);
    // Which of the two?
    let report = read(&entry("a", ""), &versions[..2], false).unwrap();
    assert_eq!(report.unreported.len(), 2);

    let content = "<Deleted><Key>a</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted>";
    let report = read(content, &targets(&["a"]), false).unwrap();
    assert_eq!(report.deleted[0].delete_marker_version_id.as_deref(), Some("m"));
}

#[test]
fn a_key_that_is_asked_for_twice_is_reported_twice() {
    let report = read(&deleted("a"), &targets(&["a", "a"]), false).unwrap();
    assert_eq!(lists(&report), [vec!["a", "a"], vec![], vec![]]);
}

#[test]
fn an_error_without_a_code_is_a_failure_all_the_same() {
    let report = read("<Error><Key>a</Key></Error>", &targets(&["a"]), true).unwrap();
    assert_eq!(report.failed[0].error.code(), &ErrorCode::Other(String::new()));
}

#[test]
fn point_13_an_error_for_the_whole_request_is_told_apart() {
    let error = parse(b"<Error><Code>InternalError</Code></Error>", &targets(&["a"]), true).unwrap_err();
    assert_eq!(error.error_document().and_then(|document| document.code.as_deref()), Some("InternalError"));
    assert_eq!(parse(b"", &targets(&["a"]), true), Err(XmlError::Empty));
}

proptest! {
    #[test]
    fn any_answer_is_read_as_it_was_written(
        entries in proptest::collection::btree_map("[a-z&<>\" \n\r]{1,8}", 0..3_u8, 0..12),
        is_quiet: bool,
    ) {
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        let with = |kind: u8| -> Vec<&str> {
            entries.iter().filter(|(_, of)| **of == kind).map(|(name, _)| name.as_str()).collect()
        };
        let document = Writer::document("DeleteResult", |writer| {
            for (name, kind) in &entries {
                match kind {
                    0 => writer.element("Deleted", |writer| writer.text("Key", name))?,
                    1 => writer.element("Error", |writer| {
                        writer.text("Code", "AccessDenied")?;
                        writer.text("Key", name)
                    })?,
                    _ => {}
                }
            }
            Ok(())
        });
        let report = parse(document.unwrap().as_bytes(), &targets(&names), is_quiet).unwrap();
        let [deleted, failed, unreported] = lists(&report);
        prop_assert_eq!(failed, with(1));
        if is_quiet {
            prop_assert_eq!(deleted.len(), with(0).len() + with(2).len());
            prop_assert!(unreported.is_empty());
        } else {
            prop_assert_eq!(deleted, with(0));
            prop_assert_eq!(unreported, with(2));
        }
    }
}
