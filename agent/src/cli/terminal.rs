//! The user's terminal.

use std::io::{self, ErrorKind, Write};

use crate::exit::Failure;

/// How wide lines are where nobody can tell.
const DEFAULT_COLUMNS: u16 = 140;

/// The width of the terminal on stdout, as it is now.
pub fn columns() -> u16 {
    terminal_size::terminal_size_of(io::stdout()).map_or(DEFAULT_COLUMNS, |(width, _)| width.0)
}

/// Writes a text to stdout. A reader that has left early (`| head`) is no fault.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to stdout", &error).hint("check where it leads"))
        }
        _ => Ok(()),
    }
}
