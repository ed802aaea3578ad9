use super::*;

type Tree = Vec<(String, String)>;

/// Reads a document of two levels: name and text of each child. `skip` is skipped and `list` is read the same way.
fn tree(body: &str) -> Result<Tree, XmlError> {
    parse(body.as_bytes(), "root", children)
}

fn children(reader: &mut Reader<'_>) -> Result<Tree, XmlError> {
    let mut children = Vec::new();
    while let Some(name) = reader.next_child()? {
        match name {
            "skip" => reader.skip()?,
            "list" => children.extend(self::children(reader)?),
            name => {
                let name = name.to_owned();
                children.push((name, reader.text()?.into_owned()));
            }
        }
    }
    Ok(children)
}

fn texts(body: &str) -> Vec<String> {
    tree(body).unwrap().into_iter().map(|(_, text)| text).collect()
}

fn error(body: &str) -> XmlError {
    tree(body).expect_err(body)
}

#[test]
fn point_09_names_match_in_any_namespace_and_with_any_prefix() {
    let expected = vec![("a".to_owned(), "1".to_owned())];
    for body in [
        "<root><a>1</a></root>",
        "<root xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><a>1</a></root>",
        "<root xmlns=\"urn:other\"><a xmlns=\"urn:third\">1</a></root>",
        "<s3:root xmlns:s3='urn:x'><s3:a xsi:type='b'>1</s3:a></s3:root>",
    ] {
        assert_eq!(tree(body).unwrap(), expected, "{body}");
    }
}

#[test]
fn what_surrounds_the_elements_is_passed_over() {
    let body = "\u{feff} \r\n<?xml version='1.0' encoding='utf-8'?>\n<!-- a --><?pi x?>\n<root >\n <a>1</a >\t<!-- <a>2</a> --><?pi?><b/>\n</root\n>\n<!-- end -->\n";
    let expected = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
    assert_eq!(tree(body).unwrap(), expected);
}

#[test]
fn white_space_of_a_text_is_kept_and_line_ends_are_not_changed() {
    assert_eq!(texts("<root><a> x\r\ny\rz\n</a></root>"), [" x\r\ny\rz\n"]);
}

#[test]
fn references_and_sections_become_text() {
    assert_eq!(
        texts("<root><a>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#x1F480;&#x1;&amp;lt;</a></root>"),
        ["<>&'\"AB\u{1f480}\u{1}&lt;"]
    );
    assert_eq!(texts("<root><a>x<![CDATA[<b>&amp;]]>y<!-- z --></a></root>"), ["x<b>&amp;y"]);
}

#[test]
fn unknown_elements_are_skipped_with_all_that_is_in_them() {
    let body = "<root><skip>t<a>1</a>&lt;<skip/></skip><a>2</a><skip/></root>";
    assert_eq!(texts(body), ["2"]);
}

#[test]
fn any_cut_is_an_error() {
    let body = "<?xml version=\"1.0\"?><root><a>ü&amp;<![CDATA[x]]></a><!-- c --><list><b/></list></root>";
    assert!(tree(body).is_ok());
    for cut in 0..body.len() {
        assert!(parse(&body.as_bytes()[..cut], "root", children).is_err(), "{cut}");
    }
    assert_eq!(error("<root><list><a>1"), XmlError::Truncated { path: "root/list/a".into() });
    assert_eq!(error("<root><list><a>1</a>"), XmlError::Truncated { path: "root/list".into() });
    assert_eq!(error("<root><skip><b>"), XmlError::Truncated { path: "root/skip/b".into() });
    assert_eq!(error("<root><list><a"), XmlError::Truncated { path: "root/list".into() });
    assert!(matches!(error("<?xml version='1.0'?> "), XmlError::Truncated { .. }));
}

#[test]
fn what_follows_the_end_is_an_error() {
    for rest in [
        "x",
        "<root/>",
        "</root>",
        "&lt;",
        "<!DOCTYPE a>",
        "<?xml version='1.0'?>",
        "<![CDATA[x]]>",
        "<",
        "\u{a0}",
    ] {
        assert_eq!(error(&format!("<root/>{rest}")), XmlError::TrailingContent { at: 7 }, "{rest}");
    }
}

#[test]
fn entities_are_neither_declared_nor_expanded() {
    let bomb = "<!DOCTYPE root [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><root><a>&b;</a></root>";
    assert_eq!(error(bomb), XmlError::Doctype { at: 0 });
    let external = "<?xml version='1.0'?><!DOCTYPE root SYSTEM \"file:///etc/passwd\"><root/>";
    assert_eq!(error(external), XmlError::Doctype { at: 21 });
    assert!(matches!(error("<root><!DOCTYPE a><a/></root>"), XmlError::Doctype { .. }));
    assert!(matches!(error("<!DOCTYPE><root/>"), XmlError::Doctype { .. }));
    for reference in [
        "&b;",
        "&LT;",
        "&;",
        "&#;",
        "&#x;",
        "&#0;",
        "&#xD800;",
        "&#x110000;",
        "&#+65;",
        "&#X41;",
        "&#99999999999;",
        "& ",
        "&",
        "&lt",
    ] {
        let error = error(&format!("<root><a>{reference}</a></root>"));
        assert!(matches!(error, XmlError::Reference { .. }), "{reference}: {error}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested =
        |levels: usize| format!("<root>{}{}</root>", "<skip>".repeat(levels), "</skip>".repeat(levels));
    assert_eq!(tree(&nested(DEPTH_MAX - 1)), Ok(Vec::new()));
    assert!(matches!(error(&nested(DEPTH_MAX)), XmlError::TooDeep { .. }));
    assert!(matches!(error(&format!("<root>{}", "<skip>".repeat(1_000_000))), XmlError::TooDeep { .. }));
}

#[test]
fn texts_and_names_are_bounded() {
    let of = |bytes: usize| format!("<root><a>{}</a></root>", "x".repeat(bytes));
    assert_eq!(texts(&of(TEXT_BYTES_MAX))[0].len(), TEXT_BYTES_MAX);
    let too_long = XmlError::TooLong { path: "root/a".into(), limit_bytes: TEXT_BYTES_MAX };
    assert_eq!(error(&of(TEXT_BYTES_MAX + 1)), too_long);
    assert_eq!(error(&format!("<root><a>{}</a></root>", "&lt;".repeat(TEXT_BYTES_MAX + 1))), too_long);
    // What is skipped is not kept.
    assert_eq!(tree(&of(1 << 20).replace("a>", "skip>")), Ok(Vec::new()));
    assert!(tree(&format!("<root><{0}/></root>", "n".repeat(NAME_BYTES_MAX))).is_ok());
    assert!(tree(&format!("<root><{0}/></root>", "n".repeat(NAME_BYTES_MAX + 1))).is_err());
}

#[test]
fn broken_rules_are_named() {
    for (body, expected) in [
        ("<root><a>1</b></root>", "an end tag without its start tag"),
        ("</root>", "an end tag without its start tag"),
        ("<root>x<a/></root>", "text between elements"),
        ("<root><a/>&amp;</root>", "text between elements"),
        ("<root><a>1<b/></a></root>", "an element within a text"),
        ("<root><a <b></root>", "a tag within a tag"),
        ("<root><a/b></root>", "a name with forbidden characters"),
        ("<root><></root>", "a name with forbidden characters"),
        ("<root><?xml version='1.0'?></root>", "a declaration within the document"),
        ("<?xml version='1.0' encoding='UTF-16'?><root/>", "an encoding other than UTF-8"),
        ("<root>\0</root>", "a NUL character"),
    ] {
        let error = error(body);
        assert!(matches!(error, XmlError::Broken { flaw, .. } if flaw == expected), "{body}: {error}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let body = b"<root><a>\xff</a></root>";
    assert_eq!(parse(body, "root", children), Err(XmlError::NotUtf8 { at: 9 }));
}

#[test]
fn pages_of_others_are_recognised() {
    for page in [
        "<!DOCTYPE html><html><head></head></html>",
        "<!doctype HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<html>",
        "\n<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<hr><center>nginx</center>\r\n</body></html>",
        "<!-- x --><HTML><BODY>",
    ] {
        assert_eq!(error(page), XmlError::HtmlPage, "{page}");
    }
    let excerpt = "upstream connect error".to_owned();
    assert_eq!(error("upstream connect error\n"), XmlError::NotXml { excerpt });
    assert_eq!(error("{\"a\": 1}"), XmlError::NotXml { excerpt: "{\"a\": 1}".into() });
    assert_eq!(error(""), XmlError::Empty);
    assert_eq!(error("\u{feff} \n"), XmlError::Empty);
    assert_eq!(error("<other/>"), XmlError::UnexpectedRoot { found: "other".into(), expected: "root" });
}

#[test]
fn point_13_an_error_report_in_a_success_is_told_apart() {
    let error = error("<Error><Code>InternalError</Code><Message>m</Message></Error>");
    assert_eq!(error.error_document().unwrap().code.as_deref(), Some("InternalError"));
    assert_eq!(error.to_string(), "an error report in the body of a success: InternalError: m");
}

#[test]
fn errors_name_the_element_that_was_read_last() {
    let read = |body: &'static str| {
        parse(body.as_bytes(), "root", |reader| {
            let mut size = None;
            while let Some(name) = reader.next_child()? {
                assert_eq!(name, "a");
                let number = reader.number()?;
                reader.set(&mut size, number)?;
            }
            size.ok_or_else(|| reader.missing("a"))
        })
    };
    assert_eq!(read("<root><a> 7 </a></root>"), Ok(7));
    assert_eq!(read("<root><a>7</a><a>7</a></root>"), Err(XmlError::Repeated { path: "root/a".into() }));
    assert_eq!(read("<root></root>"), Err(XmlError::Missing { path: "root".into(), element: "a" }));
    for excerpt in ["+7", "", "-1", "0x1", "7\u{660}", "18446744073709551616"] {
        let body: &'static str = format!("<root><a>{excerpt}</a></root>").leak();
        let expected = "a whole number";
        let invalid = XmlError::Invalid { path: "root/a".into(), expected, excerpt: excerpt.into() };
        assert_eq!(read(body), Err(invalid));
    }
}
