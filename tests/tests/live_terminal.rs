//! The live table on a real terminal, narrow and wide.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ttyname};
use parking_lot::Mutex;
use tests::client::{Connection, Request};
use tests::command::probe;
use tests::process::{POLL, wait_for};
use tests::server::Server;
use tests::watch::{can_run, read};

const LIMIT: Duration = Duration::from_secs(30);

/// A terminal, and the probe that writes to it.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    slave: OwnedFd,
    reader: thread::JoinHandle<()>,
}

impl Terminal {
    fn open(columns: u16, pid: u32) -> Self {
        let size = Winsize { ws_row: 20, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let mut command = probe(&["--pid", &pid.to_string(), "--log-level", "warn"]).unwrap();
        command.env_remove("NO_COLOR").stdout(pty.slave.try_clone().unwrap()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // It holds its copies of the terminal until it is dropped.
        drop(command);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&shown);
        let mut master = File::from(pty.master);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            // Linux tells the end of a terminal as an error.
            while let Ok(len @ 1..) = master.read(&mut piece) {
                written.lock().extend_from_slice(&piece[..len]);
            }
        });
        Self { child, shown, slave: pty.slave, reader }
    }

    fn resize(&self, columns: u16) {
        let name = ttyname(&self.slave).unwrap();
        read(Command::new("stty").arg("-F").arg(name).args(["cols", &columns.to_string()])).unwrap();
    }

    fn wait_for(&self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !String::from_utf8_lossy(&self.shown.lock()).contains(text) {
            assert!(
                Instant::now() < deadline,
                "no {text:?} in {}",
                String::from_utf8_lossy(&self.shown.lock())
            );
            thread::sleep(POLL);
        }
    }

    /// Stops the probe and gives everything it has shown.
    fn close(mut self) -> String {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(wait_for(&mut self.child, LIMIT).unwrap().success());
        drop(self.slave);
        self.reader.join().unwrap();
        let shown = self.shown.lock();
        String::from_utf8(shown.clone()).unwrap()
    }
}

/// A text without its colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    plain.extend(parts.map(|part| part.split_once('m').unwrap().1));
    plain
}

#[test]
fn a_narrow_terminal_is_never_written_past_its_edge() {
    if !can_run() {
        return;
    }
    let server = Server::gunicorn("flask_app:app", &["--workers", "1"]).unwrap();
    let terminal = Terminal::open(60, server.pid());
    terminal.wait_for("TARGET");
    let ask = |target: &str| {
        Connection::open(&server.endpoint).unwrap().exchange(Request::get(target)).unwrap();
    };
    let long = "a-very-long-word-that-does-not-fit".repeat(4);
    ask("/items/7");
    ask(&format!("/{long}/{long}"));
    ask("/boom?n=1");
    terminal.wait_for("/boom?n=1");
    terminal.resize(100);
    ask("/items/8");
    terminal.wait_for("/items/8");
    terminal.resize(40);
    ask("/items/9");
    terminal.wait_for("/items/9");
    let shown = terminal.close();
    assert!(shown.contains("\x1b[32m200\x1b[0m") && shown.contains("\x1b[31m500\x1b[0m"), "{shown}");
    let lines = plain(&shown);
    let lines: Vec<&str> = lines.lines().map(|line| line.trim_end_matches('\r')).collect();
    // The books are a sentence, which a terminal may wrap.
    let (books, lines) = lines.split_last().unwrap();
    assert!(books.contains("5 reported, 0 sampled out, 0 dropped"), "{books}");
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    let widths = [
        (0..at("/items/8") - 1, 60),
        (at("/items/8") - 1..at("/items/9") - 1, 100),
        (at("/items/9") - 1..lines.len(), 40),
    ];
    for (range, most) in widths {
        for line in &lines[range] {
            assert!(line.chars().count() <= most, "{} columns of {most}: {line:?}", line.chars().count());
        }
    }
}
