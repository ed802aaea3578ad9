//! The command line, written by the driver, and the one variable beside it.

use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;

/// Holds the secret key: everybody on the machine can read a command line.
const SECRET_KEY: &str = "COLDKEEP_BENCH_SECRET_KEY";

/// What to do, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Flags {
    pub(crate) client: String,
    pub(crate) server: Server,
    pub(crate) case: Case,
    /// Bytes in each object that is put or got.
    pub(crate) size: usize,
    /// Requests under way at any time.
    pub(crate) in_flight: usize,
    /// Objects to put or get; keys to list or delete.
    pub(crate) objects: usize,
    /// Distinct keys that are put or got again and again, so that the server holds few objects however many are moved.
    pub(crate) keys: usize,
}

/// Where the bucket is. Path style and plain HTTP: the servers are local.
#[derive(Debug, PartialEq)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) bucket: String,
}

/// What is done.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Case {
    Put,
    Get,
    List,
    Delete,
}

impl Flags {
    /// Parses the process's own arguments.
    pub(crate) fn from_env() -> Result<Flags> {
        let secret_key = std::env::var(SECRET_KEY).with_context(|| format!("${SECRET_KEY} is missing"))?;
        Flags::parse(lexopt::Parser::from_env(), secret_key)
    }

    fn parse(mut args: lexopt::Parser, secret_key: String) -> Result<Flags> {
        let (mut client, mut endpoint, mut bucket, mut case) = (None, None, None, None);
        let (mut region, mut access_key) = ("us-east-1".to_owned(), None);
        let (mut size, mut in_flight, mut objects, mut keys) = (0, 1, 1, None);
        while let Some(arg) = args.next()? {
            match arg {
                Long("client") => client = Some(args.value()?.string()?),
                Long("endpoint") => endpoint = Some(args.value()?.string()?),
                Long("region") => region = args.value()?.string()?,
                Long("access-key") => access_key = Some(args.value()?.string()?),
                Long("bucket") => bucket = Some(args.value()?.string()?),
                Long("case") => case = Some(parse_case(&args.value()?.string()?)?),
                Long("size") => size = args.value()?.parse()?,
                Long("in-flight") => in_flight = args.value()?.parse()?,
                Long("objects") => objects = args.value()?.parse()?,
                Long("keys") => keys = Some(args.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let keys = keys.unwrap_or(objects);
        ensure!(in_flight > 0 && objects > 0 && keys > 0, "--in-flight, --objects and --keys start at 1");
        let server = Server {
            endpoint: endpoint.context("--endpoint is missing")?,
            region,
            access_key: access_key.context("--access-key is missing")?,
            secret_key,
            bucket: bucket.context("--bucket is missing")?,
        };
        let client = client.context("--client is missing")?;
        Ok(Flags { client, server, case: case.context("--case is missing")?, size, in_flight, objects, keys })
    }
}

fn parse_case(name: &str) -> Result<Case> {
    Ok(match name {
        "put" => Case::Put,
        "get" => Case::Get,
        "list" => Case::List,
        "delete" => Case::Delete,
        other => bail!("there is no case `{other}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags> {
        Flags::parse(lexopt::Parser::from_args(line.split_whitespace()), "s".to_owned())
    }

    const SERVER: &str = "--endpoint http://127.0.0.1:1 --access-key a --bucket b";

    #[test]
    fn a_case_has_sizes_and_counts() {
        let line =
            format!("--client rust-s3 {SERVER} --case put --size 9 --in-flight 2 --objects 8 --keys 4");
        let flags = parse(&line).unwrap();
        assert_eq!((flags.case, flags.size, flags.in_flight), (Case::Put, 9, 2));
        assert_eq!((flags.objects, flags.keys), (8, 4));
        let flags = parse(&format!("--client rust-s3 {SERVER} --case list --objects 8")).unwrap();
        assert_eq!(flags.keys, 8, "each object has its own key unless told otherwise");
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--case put",
            "--secret-key s --client c --case get",
            "--case frobnicate",
            "--client c --case get --objects 0",
        ] {
            parse(&format!("{SERVER} {line}")).unwrap_err();
        }
    }
}
