//! Making a user where a server takes its first calls unsigned.

use anyhow::{Context, Result, ensure};

use crate::matrix::http;

/// An access key with its secret.
#[derive(Debug, PartialEq)]
pub(super) struct User {
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

/// Routes a call to the IAM API of a server that serves all APIs on one port; nobody checks the signature yet.
const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// The calls (IAM API reference: `CreateUser`, `PutUserPolicy`, `CreateAccessKey`); the policy allows everything.
const CALLS: [&str; 3] = [
    "Action=CreateUser&Version=2010-05-08&UserName=live",
    "Action=PutUserPolicy&Version=2010-05-08&UserName=live&PolicyName=all&PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C\
     %22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D",
    "Action=CreateAccessKey&Version=2010-05-08&UserName=live",
];

/// Makes a user who may do everything.
pub(super) fn make_user(port: u16) -> Result<User> {
    let head = ["POST / HTTP/1.1", AUTHORIZATION, "Content-Type: application/x-www-form-urlencoded"];
    let mut last = String::new();
    for call in CALLS {
        let answer = http::ask(port, &head, call).with_context(|| format!("cannot make a user: {call}"))?;
        ensure!(
            answer.status == 200,
            "cannot make a user: {call}: status {}: {}",
            answer.status,
            answer.body
        );
        last = answer.body;
    }
    user(&last).context("the answer has no access key")
}

fn user(answer: &str) -> Option<User> {
    let field = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    Some(User { access_key: field("AccessKeyId")?, secret_key: field("SecretAccessKey")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_key_and_secret() {
        let answer = "<R><AccessKeyId>AK</AccessKeyId><Status>Active</Status><SecretAccessKey>S/K+</SecretAccessKey></R>";
        let expected = User { access_key: "AK".to_owned(), secret_key: "S/K+".to_owned() };
        assert_eq!(user(answer), Some(expected));
        assert_eq!(user("<R><AccessKeyId>AK</AccessKeyId></R>"), None);
        assert_eq!(user("<AccessKeyId>AK"), None);
    }
}
