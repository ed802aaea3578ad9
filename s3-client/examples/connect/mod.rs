//! What the examples share: a client, from the environment, and a decent end.
//!
//! The library reads no environment; a program that wants it read passes the values on, as here.

use std::error::Error;
use std::process::ExitCode;

use coldkeep_s3_client::{Client, Config, Credentials, Quirk, Quirks};

/// Any error, for programs that only print it. `Send`, so that tasks can return it.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

const VARIABLES: &str = "\
variables:
  COLDKEEP_EXAMPLE_ENDPOINT   such as http://127.0.0.1:9000, or {{bucket}}.s3.{{region}}.amazonaws.com
  COLDKEEP_EXAMPLE_BUCKET     a bucket that is there
  COLDKEEP_EXAMPLE_REGION     us-east-1 if not set
  COLDKEEP_EXAMPLE_QUIRKS     what to work around, such as unquoted-if-match; separated by commas
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN";

/// Builds a client of the server that the environment names.
pub(crate) fn client() -> Result<Client, BoxError> {
    let needed = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set\n{VARIABLES}"));
    let region = variable("COLDKEEP_EXAMPLE_REGION").unwrap_or_else(|| "us-east-1".to_owned());
    let config = Config::new(
        needed("COLDKEEP_EXAMPLE_ENDPOINT")?.parse()?,
        region.parse()?,
        needed("COLDKEEP_EXAMPLE_BUCKET")?.parse()?,
        Credentials::from_lookup(variable)?,
    )?;
    let quirks = variable("COLDKEEP_EXAMPLE_QUIRKS").unwrap_or_default();
    let names = quirks.split(',').map(str::trim).filter(|name| !name.is_empty());
    let quirks: Quirks = names.map(str::parse::<Quirk>).collect::<Result<_, _>>()?;
    Ok(Client::builder(config.with_quirks(quirks)).build()?)
}

/// Prints an error with everything behind it.
pub(crate) fn finish(result: Result<(), BoxError>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprint!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprint!(": {error}");
        source = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example is a program, and a program may read its environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
