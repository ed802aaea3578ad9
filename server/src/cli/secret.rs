//! Passwords that a person types or a script pipes in.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::environment::first_line;

/// Tells whether somebody is there to be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a password without showing what is typed.
pub(crate) fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let hidden = Hidden::begin()?;
    let mut err = io::stderr();
    write!(err, "{prompt}").and_then(|()| err.flush()).context("cannot ask for the password")?;
    let line = first_line(io::stdin()).context("cannot read the password");
    drop(hidden);
    // The line end that was typed was not shown.
    let _ = writeln!(err);
    line
}

/// Gets a new password: asked for twice, or the first line of a pipe.
pub(crate) fn new_password() -> Result<Zeroizing<String>> {
    if !can_ask() {
        return first_line(io::stdin()).context("cannot read the new password from standard input");
    }
    let password = ask("New password: ")?;
    if *ask("Again: ")? != *password {
        bail!("the passwords differ");
    }
    Ok(password)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self> {
        let shown = tcgetattr(io::stdin()).context("cannot ask for the password")?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).context("cannot ask for the password")?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nothing left to be done if the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
