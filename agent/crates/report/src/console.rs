//! Spans on the terminal.
