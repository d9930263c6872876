//! The probe's output: shown as it comes, and kept.
//!
//! Where we have a terminal the probe gets one too (a pseudo terminal of the same size), so that it shows
//! what it would show a person.

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stdout};
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::pty::{Winsize, openpty};

/// How much of the end is kept.
const KEPT_BYTES: usize = 1 << 20;

/// Where the probe writes, and what it has written.
pub struct Terminal {
    /// For the probe. Once it is closed, `shown` ends.
    pub output: Stdio,
    /// The end of what was shown.
    pub shown: JoinHandle<String>,
}

impl Terminal {
    /// A terminal where ours is one, else a pipe.
    pub fn open() -> Result<Self> {
        if !stdout().is_terminal() {
            let (reader, writer) = std::io::pipe().context("make a pipe")?;
            return Ok(Self { output: writer.into(), shown: copy(reader) });
        }
        let size = terminal_size::terminal_size().map(|(width, height)| Winsize {
            ws_row: height.0,
            ws_col: width.0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        });
        let pair = openpty(size.as_ref(), None).context("make a pseudo terminal")?;
        Ok(Self { output: pair.slave.into(), shown: copy(File::from(pair.master)) })
    }
}

fn copy(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 8192];
        // A pseudo terminal whose other end is closed gives EIO, a pipe 0.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut out = stdout();
            // Our own stdout may be closed; the check at the end still needs the text.
            let _ = out.write_all(&buffer[..count]).and_then(|()| out.flush());
            kept.extend_from_slice(&buffer[..count]);
            if kept.len() > 2 * KEPT_BYTES {
                kept.drain(..kept.len() - KEPT_BYTES);
            }
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_shown_is_kept() {
        let terminal = Terminal::open().unwrap();
        let status = Command::new("echo").arg("a line of the probe's").stdout(terminal.output).status();
        assert!(status.unwrap().success());
        assert_eq!(terminal.shown.join().unwrap().trim_end(), "a line of the probe's");
    }
}
