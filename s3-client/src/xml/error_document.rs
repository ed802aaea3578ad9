//! The error report of the service.

use super::error::clip;
use super::{Reader, XmlError};

/// Most bytes kept of each text of an error report; the service's message is for people, and some servers put whole requests in it.
const FIELD_BYTES_MAX: usize = 256;

/// An `<Error>` document, as far as a client acts on it (S3 API reference, "Error responses").
///
/// Every part may be missing: some servers send `<Code>` and nothing else, and some send no body at all (`s3-servers.md`, section 3,
/// point 6). Each text is cut at 256 bytes and as the server sent it: whoever shows it takes control characters out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ErrorDocument {
    /// `<Code>`, which says what went wrong.
    pub code: Option<String>,
    /// `<Message>`, for people; empty without one.
    pub message: String,
    /// `<RequestId>`, by which the provider finds the request in its logs.
    pub request_id: Option<String>,
    /// `<Region>`: where the bucket is, in the answer to a request that was signed for another region.
    pub region: Option<String>,
    /// `<Endpoint>`: where to send the request, in a `PermanentRedirect`.
    pub endpoint: Option<String>,
    /// `<BucketName>` or `<Bucket>`, where the answer names one.
    pub bucket: Option<String>,
}

impl ErrorDocument {
    /// Reads the body of an answer whose status says that the request failed.
    ///
    /// What comes after `<Code>` may be broken: servers put keys and messages there that they did not escape, and what went wrong is
    /// known by then.
    ///
    /// # Errors
    /// The body is empty or no error report: the status is all that is known.
    pub fn parse(body: &[u8]) -> Result<ErrorDocument, XmlError> {
        let mut reader = Reader::open(body)?;
        if !ErrorDocument::is_root(reader.name()) {
            return Err(XmlError::UnexpectedRoot {
                found: super::error::excerpt(reader.name()),
                expected: "Error",
            });
        }
        ErrorDocument::read(&mut reader)
    }

    /// Returns whether a document whose root has this name is an error report. The second one wraps the first, in answers of servers
    /// that stem from other services of AWS.
    pub(super) fn is_root(name: &str) -> bool {
        matches!(name, "Error" | "ErrorResponse")
    }

    /// Reads what the root holds.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<ErrorDocument, XmlError> {
        let mut document = ErrorDocument::default();
        match document.fill(reader) {
            Err(_) if document.code.is_some() => Ok(document),
            done => done.map(|()| document),
        }
    }

    fn fill(&mut self, reader: &mut Reader<'_>) -> Result<(), XmlError> {
        while let Some(name) = reader.next_child()? {
            match name {
                "Error" => self.fill(reader)?,
                "Code" => self.code = field(reader)?,
                "Message" => self.message = field(reader)?.unwrap_or_default(),
                "RequestId" | "RequestID" => self.request_id = field(reader)?,
                "Region" => self.region = field(reader)?,
                "Endpoint" => self.endpoint = field(reader)?,
                "BucketName" | "Bucket" => self.bucket = field(reader)?,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for ErrorDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.as_deref().unwrap_or("no code");
        let shown =
            if self.message.is_empty() { code.to_owned() } else { format!("{code}: {}", self.message) };
        f.write_str(&super::error::excerpt(&shown))
    }
}

/// Returns the begin of a text, or nothing where there is none.
fn field(reader: &mut Reader<'_>) -> Result<Option<String>, XmlError> {
    let text = reader.text()?;
    let text = clip(text.trim(), FIELD_BYTES_MAX);
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> ErrorDocument {
        ErrorDocument::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_full_report_is_read() {
        // S3 API reference, "Error responses", with the fields of a redirect.
        let document = parsed(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>PermanentRedirect</Code>\n  <Message>Use &lt;that&gt; \
             endpoint.</Message>\n  <Bucket>backups</Bucket><Endpoint>backups.s3.eu-west-1.amazonaws.com</Endpoint>\n  \
             <Region>eu-west-1</Region><Resource>/k</Resource> \n  <RequestId>4442587FB7D0A2F9</RequestId>\n</Error>",
        );
        let expected = ErrorDocument {
            code: Some("PermanentRedirect".into()),
            message: "Use <that> endpoint.".into(),
            request_id: Some("4442587FB7D0A2F9".into()),
            region: Some("eu-west-1".into()),
            endpoint: Some("backups.s3.eu-west-1.amazonaws.com".into()),
            bucket: Some("backups".into()),
        };
        assert_eq!(document, expected);
        assert_eq!(document.to_string(), "PermanentRedirect: Use <that> endpoint.");
    }

    #[test]
    fn point_06_an_error_with_only_a_code_or_without_request_id_is_read() {
        let only_code = ErrorDocument { code: Some("AccessDenied".into()), ..ErrorDocument::default() };
        assert_eq!(parsed("<Error><Code>AccessDenied</Code></Error>"), only_code);
        assert_eq!(parsed("<Error><Code> AccessDenied\n</Code><Message/><RequestId/></Error>"), only_code);
        assert_eq!(parsed("<Error/>"), ErrorDocument::default());
        assert_eq!(only_code.to_string(), "AccessDenied");
    }

    #[test]
    fn point_06_an_empty_error_body_is_told_apart() {
        assert_eq!(ErrorDocument::parse(b""), Err(XmlError::Empty));
        assert_eq!(ErrorDocument::parse(b" \r\n"), Err(XmlError::Empty));
    }

    #[test]
    fn point_05_the_region_of_a_malformed_authorization_is_read() {
        let document = parsed(
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(document.region.as_deref(), Some("eu-west-1"));
        assert_eq!(parsed("<Error><Code>AuthorizationHeaderMalformed</Code><Region/></Error>").region, None);
    }

    #[test]
    fn reports_in_the_form_of_other_services_are_read() {
        let document = parsed(
            "<ErrorResponse xmlns=\"http://x/\"><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
             <Message>m</Message></Error><RequestId>1</RequestId></ErrorResponse>",
        );
        assert_eq!(document.code.as_deref(), Some("SignatureDoesNotMatch"));
        assert_eq!((document.message.as_str(), document.request_id.as_deref()), ("m", Some("1")));
    }

    #[test]
    fn what_follows_the_code_may_be_broken() {
        for rest in ["<Message>a & b</Message></Error>", "<Key>a<b</Key></Error>", "<Mess", "</Err>", ""] {
            let document = parsed(&format!("<Error><Code>NoSuchKey</Code>{rest}"));
            assert_eq!(document.code.as_deref(), Some("NoSuchKey"), "{rest}");
        }
        for body in ["<Error><Code>NoSu", "<Error><Message>a & b</Message><Code>NoSuchKey</Code></Error>"] {
            assert!(ErrorDocument::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let body = format!("<Error><Code>C</Code><Message>{}</Message></Error>", "ä".repeat(4000));
        let document = parsed(&body);
        assert_eq!(document.message, "ä".repeat(FIELD_BYTES_MAX / 2));
        assert!(document.to_string().len() < 100);
    }

    #[test]
    fn other_documents_are_no_reports() {
        assert_eq!(ErrorDocument::parse(b"<html><body>502</body></html>"), Err(XmlError::HtmlPage));
        let error = ErrorDocument::parse(b"<ListBucketResult/>").unwrap_err();
        assert_eq!(error, XmlError::UnexpectedRoot { found: "ListBucketResult".into(), expected: "Error" });
    }
}
