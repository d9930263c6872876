//! Crowds: 50,000 connections that idle, 200,000 that come and go. The probe's memory returns to where it was.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tests::probe::Probe;
use tests::process::resident_kib;
use tests::server::{Endpoint, Server};
use tests::venv::Venv;
use tests::watch::can_run;

const IDLE: usize = 50_000;
const SHORT: usize = 200_000;
const CLIENTS: usize = 2;
/// A process may have 20,000 files open or fewer: the crowd is held by several.
const GUESTS: usize = 4;
/// How much more than before may stay.
const LEFT_KIB: u64 = 8 * 1024;
const LIMIT: Duration = Duration::from_mins(1);
const ANSWER_BYTES: usize = 40;

/// A process that holds a part of the crowd.
struct Guests {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Guests {
    fn come(port: u16, group: usize) -> Self {
        let mut command = Venv::open().unwrap().script("crowd_client.py");
        command.args([port.to_string(), group.to_string(), (IDLE / GUESTS).to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn ask_again(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"again\n").unwrap();
    }

    fn wait(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One address has too few ports for so many: the server is asked by several.
fn connect(port: u16, n: usize) -> TcpStream {
    let host = Ipv4Addr::new(127, 0, 0, 1 + (n % 16) as u8);
    TcpStream::connect(SocketAddr::from((host, port))).unwrap()
}

fn ask(stream: &mut TcpStream, target: &str) {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).unwrap();
}

fn returns_to(before_kib: u64, pid: u32) -> bool {
    let deadline = Instant::now() + LIMIT;
    while resident_kib(pid).unwrap() > before_kib + LEFT_KIB {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
    true
}

fn start() -> (Server, Probe, u16) {
    let server = Server::crowd().unwrap();
    let probe = Probe::attach(&[server.pid()], &[]).unwrap();
    let Endpoint::Tcp(address) = server.endpoint else { panic!("it listens on TCP") };
    // What is needed once is needed now.
    (0..1000).for_each(|n| ask(&mut connect(address.port(), n), "/warm"));
    assert!(probe.wait_for_spans(1000, LIMIT));
    (server, probe, address.port())
}

#[test]
fn a_crowd_that_idles() {
    if !can_run() {
        return;
    }
    let (_server, probe, port) = start();
    let before_kib = resident_kib(probe.pid()).unwrap();
    let mut crowd: Vec<Guests> = (0..GUESTS).map(|group| Guests::come(port, group)).collect();
    crowd.iter_mut().for_each(Guests::wait);
    assert!(probe.wait_for_spans(1000 + IDLE, LIMIT), "{} spans", probe.spans().len());
    let peak_kib = resident_kib(probe.pid()).unwrap();
    // Each of them is still known: the next request on it is seen too.
    crowd.iter_mut().for_each(Guests::ask_again);
    crowd.iter_mut().for_each(Guests::wait);
    assert!(probe.wait_for_spans(1000 + IDLE + IDLE / 100, LIMIT), "{} spans", probe.spans().len());
    drop(crowd);
    let returned = returns_to(before_kib, probe.pid());
    let after_kib = resident_kib(probe.pid()).unwrap();
    assert!(returned, "{before_kib} KiB before, {peak_kib} with the crowd, {after_kib} after");
    let spans = probe.stop().unwrap();
    assert_eq!(spans.len(), 1000 + IDLE + IDLE / 100);
    assert!(spans.iter().all(|span| span.end == "complete"));
}

#[test]
fn a_crowd_that_comes_and_goes() {
    if !can_run() {
        return;
    }
    let (_server, probe, port) = start();
    let before_kib = resident_kib(probe.pid()).unwrap();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                (client..SHORT).step_by(CLIENTS).for_each(|n| ask(&mut connect(port, n), "/short"));
            });
        }
    });
    assert!(probe.wait_for_spans(1000 + SHORT, LIMIT), "{} spans", probe.spans().len());
    let returned = returns_to(before_kib, probe.pid());
    assert!(returned, "{before_kib} KiB before, {} after", resident_kib(probe.pid()).unwrap());
    let spans = probe.stop().unwrap();
    assert_eq!(spans.len(), 1000 + SHORT);
    assert!(spans.iter().all(|span| span.end == "complete" && span.status == Some(200)));
}
