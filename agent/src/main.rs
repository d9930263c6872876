//! The command `stardust-probe`: read the command line, say how it went.

#![forbid(unsafe_code)]

use std::io::Write;

use stardust_probe::cli::{self, Task};
use stardust_probe::exit::{Exit, Failure};
use stardust_probe::logging;

fn main() -> Exit {
    match command() {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            // A closed stderr must not change the exit code.
            let _ = writeln!(std::io::stderr(), "stardust-probe: {failure}");
            failure.exit
        }
    }
}

fn command() -> Result<(), Failure> {
    let environment = std::env::vars_os();
    let invocation = cli::parse(std::env::args_os(), environment)?;
    if !matches!(invocation.task, Task::Print(_)) {
        logging::start(&invocation.config.log)?;
    }
    stardust_probe::run(invocation)
}
