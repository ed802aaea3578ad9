//! The flags of `cargo xtask matrix`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::matrix::{Addressing, Tier};

/// Flags of `matrix`.
#[derive(Debug, PartialEq)]
pub(crate) struct MatrixFlags {
    pub(crate) selection: Selection,
    /// For how many seconds the writers of the stress scenario write; else it is up to the scenario.
    pub(crate) stress_seconds: Option<u32>,
}

/// What to run the suites on.
#[derive(Debug, PartialEq)]
pub(crate) enum Selection {
    /// The rows of a tier.
    Tier(Tier),
    /// One row of the table, whatever its tier.
    Row(String),
    /// A server of the user's.
    Own(OwnServer),
}

/// A server of the user's, with what the suite must know of it.
#[derive(Debug, PartialEq)]
pub(crate) struct OwnServer {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// An existing bucket; without one the suite makes and removes its own.
    pub(crate) bucket: Option<String>,
    pub(crate) access_key: String,
    pub(crate) secret_key: Secret,
    pub(crate) addressing: Addressing,
    pub(crate) lacks: Vec<String>,
    pub(crate) quirks: Vec<String>,
}

/// Where a secret is. Never on the command line, which other users of the machine can see.
#[derive(Debug, PartialEq)]
pub(crate) enum Secret {
    /// In this environment variable.
    Variable(String),
    /// In this file, with or without a line end.
    File(PathBuf),
}

/// Used where `--region` is not given; most servers do not check it.
const REGION: &str = "us-east-1";

/// What was typed, before it is known whether it fits together.
#[derive(Default)]
struct Typed {
    tier: Option<Tier>,
    server: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    bucket: Option<String>,
    access_key: Option<String>,
    secret_key: Option<Secret>,
    is_path_style: bool,
    lacks: Vec<String>,
    quirks: Vec<String>,
    stress_seconds: Option<u32>,
}

/// Parses what follows the verb.
pub(super) fn parse(args: &mut lexopt::Parser) -> Result<MatrixFlags> {
    let mut typed = Typed::default();
    while let Some(arg) = args.next()? {
        match arg {
            Long("tier") => typed.tier = Some(tier(&args.value()?.string()?)?),
            Long("server") => typed.server = Some(args.value()?.string()?),
            Long("endpoint") => typed.endpoint = Some(args.value()?.string()?),
            Long("region") => typed.region = Some(args.value()?.string()?),
            Long("bucket") => typed.bucket = Some(args.value()?.string()?),
            Long("access-key") => typed.access_key = Some(args.value()?.string()?),
            Long("secret-key-env") => typed.secret_key = Some(Secret::Variable(args.value()?.string()?)),
            Long("secret-key-file") => typed.secret_key = Some(Secret::File(args.value()?.into())),
            Long("path-style") => typed.is_path_style = true,
            Long("lacks") => typed.lacks = list(&args.value()?.string()?),
            Long("quirks") => typed.quirks = list(&args.value()?.string()?),
            Long("stress") => typed.stress_seconds = Some(super::at_least_one("--stress", args)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let stress_seconds = typed.stress_seconds;
    typed.selection().map(|selection| MatrixFlags { selection, stress_seconds })
}

impl Typed {
    fn selection(self) -> Result<Selection> {
        if let Some(endpoint) = self.endpoint {
            if self.tier.is_some() || self.server.is_some() {
                bail!("--endpoint is a server of yours; --tier and --server pick from the table");
            }
            if self.stress_seconds.is_some() {
                bail!(
                    "--stress is about the servers of the table; on one of yours the S3 client's suite runs alone"
                );
            }
            return Ok(Selection::Own(OwnServer {
                endpoint,
                region: self.region.unwrap_or_else(|| REGION.to_owned()),
                bucket: self.bucket,
                access_key: self.access_key.context("--endpoint needs --access-key")?,
                secret_key: self
                    .secret_key
                    .context("--endpoint needs --secret-key-env or --secret-key-file")?,
                addressing: if self.is_path_style { Addressing::Path } else { Addressing::Virtual },
                lacks: self.lacks,
                quirks: self.quirks,
            }));
        }
        let describes = self.region.is_some()
            || self.bucket.is_some()
            || self.access_key.is_some()
            || self.secret_key.is_some()
            || self.is_path_style
            || !self.lacks.is_empty()
            || !self.quirks.is_empty();
        if describes {
            bail!("only a server given by --endpoint can be described; the table describes the others");
        }
        match (self.tier, self.server) {
            (Some(_), Some(_)) => bail!("either --tier or --server: one row runs whatever its tier"),
            (tier, None) => Ok(Selection::Tier(tier.unwrap_or(Tier::Quick))),
            (None, Some(name)) => Ok(Selection::Row(name)),
        }
    }
}

fn tier(name: &str) -> Result<Tier> {
    match name {
        "quick" => Ok(Tier::Quick),
        "full" => Ok(Tier::Full),
        other => bail!("there is no tier `{other}`; there are `quick` and `full`"),
    }
}

fn list(names: &str) -> Vec<String> {
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Selection> {
        parse(&mut lexopt::Parser::from_args(line.split_whitespace())).map(|flags| flags.selection)
    }

    #[test]
    fn rows_are_picked_by_tier_or_name() {
        assert_eq!(typed("").unwrap(), Selection::Tier(Tier::Quick));
        assert_eq!(typed("--tier full").unwrap(), Selection::Tier(Tier::Full));
        assert_eq!(typed("--server moto").unwrap(), Selection::Row("moto".to_owned()));
    }

    #[test]
    fn the_stress_lasts_as_long_as_one_says() {
        let seconds = |line: &str| {
            parse(&mut lexopt::Parser::from_args(line.split_whitespace())).unwrap().stress_seconds
        };
        assert_eq!(seconds("--server radosgw --stress 60"), Some(60));
        assert_eq!(seconds("--tier quick"), None);
    }

    #[test]
    fn an_own_server_is_described_whole() {
        let line = "--endpoint https://s3.example:9000 --access-key AK --secret-key-env KEY --region eu --bucket b --path-style \
                    --lacks presign,checksums --quirks q";
        let own = OwnServer {
            endpoint: "https://s3.example:9000".to_owned(),
            region: "eu".to_owned(),
            bucket: Some("b".to_owned()),
            access_key: "AK".to_owned(),
            secret_key: Secret::Variable("KEY".to_owned()),
            addressing: Addressing::Path,
            lacks: vec!["presign".to_owned(), "checksums".to_owned()],
            quirks: vec!["q".to_owned()],
        };
        assert_eq!(typed(line).unwrap(), Selection::Own(own));
        let Selection::Own(own) = typed("--endpoint e --access-key a --secret-key-file /f").unwrap() else {
            panic!("another selection")
        };
        assert_eq!(own.region, "us-east-1");
        assert_eq!(own.addressing, Addressing::Virtual);
        assert_eq!(own.secret_key, Secret::File("/f".into()));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for line in [
            "--tier slow",
            "--tier full --server moto",
            "--endpoint e --access-key a",
            "--endpoint e --secret-key-env s",
            "--endpoint e --access-key a --secret-key-env s --tier quick",
            "--server moto --bucket b",
            "--path-style",
            "--lacks presign",
            "--secret-key s",
            "--stress 0",
            "--endpoint e --access-key a --secret-key-env s --stress 60",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
