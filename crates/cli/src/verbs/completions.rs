//! `segue completions`: generated from the same definition as the help.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionsOptions};
use crate::{CommandError, ExitStatus, Io};

pub(crate) fn run(
    options: &CompletionsOptions,
    io: &mut Io<'_>,
) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "segue", &mut script);
    io.data(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitStatus::Done)
}
