//! ListBuckets.

use std::time::SystemTime;

use http::Method;

use super::{Answer, NoOutput, RequestParts, S3Operation, Target, document, sealed};
use crate::config::Quirks;
use crate::error::{InvalidRequest, Operation};
use crate::xml::{self, Reader, XmlError};

/// Most bytes of an answer: 10,000 buckets.
const LIST_BYTES_MAX: u64 = 8 << 20;

/// Asks for the buckets of the account that the credentials belong to.
///
/// Source: S3 API reference, [ListBuckets](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html).
#[derive(Debug, Clone, Default)]
pub struct ListBuckets {
    token: Option<String>,
}

/// The buckets of an account, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BucketList {
    /// The buckets, in the server's order.
    pub buckets: Vec<ListedBucket>,
    /// What to ask for the others with; `None` if these are all.
    pub next: Option<String>,
}

/// What a list says of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedBucket {
    /// Its name. Other tools may have made buckets whose names this client does not take.
    pub name: String,
    /// When it was made, if the server tells.
    pub created_at: Option<SystemTime>,
    /// Where it is, if the server tells.
    pub region: Option<String>,
}

impl ListBuckets {
    /// Asks for all buckets. An account with more than 10,000 of them gets an answer in parts.
    pub fn new() -> ListBuckets {
        ListBuckets::default()
    }

    /// Asks for the part that [`BucketList::next`] of the one before names.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> ListBuckets {
        self.token = Some(token.to_owned());
        self
    }
}

impl sealed::Sealed for ListBuckets {}

impl S3Operation for ListBuckets {
    type Output = BucketList;

    const OPERATION: Operation = Operation::ListBuckets;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = RequestParts::new(Method::GET, Target::Service);
        if let Some(token) = &self.token {
            parts.query = parts.query.with("continuation-token", token.clone());
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<BucketList, NoOutput> {
        document::output(parse(&answer.body))
    }

    fn body_bytes_max(&self) -> u64 {
        LIST_BYTES_MAX
    }
}

/// Reads the answer.
pub(crate) fn parse(body: &[u8]) -> Result<BucketList, XmlError> {
    xml::parse(body, "ListAllMyBucketsResult", |reader| {
        let mut list = BucketList::default();
        while let Some(name) = reader.next_child()? {
            match name {
                "Buckets" => read_buckets(reader, &mut list.buckets)?,
                "ContinuationToken" => {
                    list.next = Some(reader.text()?.into_owned()).filter(|text| !text.is_empty());
                }
                _ => reader.skip()?,
            }
        }
        Ok(list)
    })
}

fn read_buckets(reader: &mut Reader<'_>, buckets: &mut Vec<ListedBucket>) -> Result<(), XmlError> {
    while let Some(name) = reader.next_child()? {
        match name {
            "Bucket" => buckets.push(read_bucket(reader)?),
            _ => reader.skip()?,
        }
    }
    Ok(())
}

fn read_bucket(reader: &mut Reader<'_>) -> Result<ListedBucket, XmlError> {
    let (mut bucket, mut created_at, mut region) = (None, None, None);
    while let Some(name) = reader.next_child()? {
        match name {
            "Name" => bucket = reader.optional_word()?,
            "CreationDate" => created_at = reader.time()?,
            "BucketRegion" => region = reader.optional_word()?,
            _ => reader.skip()?,
        }
    }
    let name = bucket.ok_or_else(|| reader.missing("Name"))?;
    Ok(ListedBucket { name, created_at, region })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn buckets_are_listed() {
        let list = parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
              <Owner><ID>1</ID><DisplayName>d</DisplayName></Owner><Buckets><Bucket><CreationDate>2023-11-14T22:13:20.000Z\
              </CreationDate><Name>backups</Name><BucketRegion>eu-west-1</BucketRegion></Bucket><Bucket><Name>Old_Bucket</Name>\
              <CreationDate>0001-01-01T00:00:00Z</CreationDate></Bucket></Buckets><ContinuationToken>t</ContinuationToken>\
              </ListAllMyBucketsResult>",
        );
        let created_at = Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let buckets = vec![
            ListedBucket { name: "backups".into(), created_at, region: Some("eu-west-1".into()) },
            ListedBucket { name: "Old_Bucket".into(), created_at: None, region: None },
        ];
        assert_eq!(list, Ok(BucketList { buckets, next: Some("t".into()) }));
    }

    #[test]
    fn an_account_without_buckets_has_an_empty_list() {
        let body = b"<ListAllMyBucketsResult><Owner/><Buckets/></ListAllMyBucketsResult>";
        assert_eq!(parse(body), Ok(BucketList::default()));
    }

    #[test]
    fn a_bucket_without_a_name_is_an_error() {
        let body = b"<ListAllMyBucketsResult><Buckets><Bucket/></Buckets></ListAllMyBucketsResult>";
        let path = "ListAllMyBucketsResult/Buckets/Bucket".into();
        assert_eq!(parse(body), Err(XmlError::Missing { path, element: "Name" }));
    }
}
