//! The console as a whole, with outputs in memory.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use model::DropReason;
use parking_lot::Mutex;

use super::example::server;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// An output that can be read, blocked, or closed.
#[derive(Clone, Default)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // In pieces, as a pipe may take them.
        let taken = bytes.len().min(700);
        self.bytes.lock().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says when it is written to, and does not return before it is told how.
struct Gate {
    entered: Sender<()>,
    result: Receiver<io::Result<()>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        self.result.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gate() -> (Gate, Receiver<()>, Sender<io::Result<()>>) {
    let (entered, has_entered) = mpsc::channel();
    let (tell, result) = mpsc::channel();
    (Gate { entered, result }, has_entered, tell)
}

fn settings(format: Format) -> Settings {
    Settings { time_zone: jiff::tz::TimeZone::UTC, ..Settings::new(format, || 80) }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        thread::yield_now();
    }
}

fn unsampled() -> Span {
    Span { sampled: false, ..server() }
}

#[test]
fn json_has_only_spans_on_stdout_and_the_summary_elsewhere() {
    let (spans, summary) = (Memory::default(), Memory::default());
    let outputs = Outputs { spans: Box::new(spans.clone()), summary: Box::new(summary.clone()) };
    let (console, task) = open(settings(Format::Json), outputs).unwrap();
    for _ in 0..3 {
        console.record(&server().into());
    }
    console.record(&unsampled().into());
    console.flush();
    wait_until(|| console.books().reported == 3);
    assert_eq!(spans.text().lines().count(), 3, "lines are out before the end");
    assert!(task.close(PATIENCE));

    for line in spans.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["name"], "GET /users/{id}");
    }
    let summary = summary.text();
    assert!(summary.contains("shop  server  GET /users/{id}         4 "), "{summary}");
    assert!(summary.ends_with("4 spans seen: 3 reported, 1 sampled out, 0 dropped\n"), "{summary}");
    assert_eq!(console.books(), Books { seen: 4, reported: 3, sampled_out: 1, ..Books::default() });
}

#[test]
fn the_table_starts_at_once_and_ends_with_the_summary() {
    let (spans, summary) = (Memory::default(), Memory::default());
    let outputs = Outputs { spans: Box::new(spans.clone()), summary: Box::new(summary.clone()) };
    let (console, task) = open(settings(Format::Table), outputs).unwrap();
    wait_until(|| spans.text().starts_with("START"));
    console.record(&server().into());
    assert!(task.close(PATIENCE));
    let text = spans.text();
    let starts: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(starts, ["START", "22:13:20.123", "", "APP", "shop", "1"]);
    assert_eq!(summary.text(), "");
}

#[test]
fn a_blocked_output_drops_and_counts_but_never_waits() {
    let (output, has_entered, tell) = gate();
    let outputs = Outputs { spans: Box::new(output), summary: Box::new(Memory::default()) };
    let (console, task) = open(Settings { queue_spans: 4, ..settings(Format::Json) }, outputs).unwrap();
    console.record(&server().into());
    console.flush();
    has_entered.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        console.record(&server().into());
    }
    let books = console.books();
    assert_eq!((books.seen, books.reported), (11, 0));
    assert_eq!(books.dropped, BTreeMap::from([(DropReason::QueueFull, 6)]));

    assert!(!task.close(Duration::from_millis(1)), "the output is still blocked");
    let books = console.books();
    assert_eq!(books.dropped, BTreeMap::from([(DropReason::QueueFull, 6), (DropReason::Expired, 5)]));
    assert_eq!(books.in_flight(), 0);

    tell.send(Ok(())).unwrap();
    drop(tell);
    console.record(&server().into());
    assert_eq!(console.books().in_flight(), 0);
    assert_eq!(console.books().reported, 0, "settled books stay");
}

#[test]
fn a_closed_output_is_noticed_and_counted() {
    let (output, has_entered, tell) = gate();
    let summary = Memory::default();
    let outputs = Outputs { spans: Box::new(output), summary: Box::new(summary.clone()) };
    let (console, task) = open(settings(Format::Json), outputs).unwrap();
    console.record(&server().into());
    console.flush();
    has_entered.recv_timeout(PATIENCE).unwrap();
    tell.send(Ok(())).unwrap();
    wait_until(|| console.books().reported == 1);
    assert!(!console.output_closed());

    console.record(&server().into());
    console.flush();
    has_entered.recv_timeout(PATIENCE).unwrap();
    console.record(&server().into());
    tell.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    wait_until(|| console.output_closed() && console.books().in_flight() == 0);
    console.record(&server().into());
    console.record(&unsampled().into());
    assert!(task.close(PATIENCE));
    let books = console.books();
    assert_eq!((books.seen, books.reported, books.sampled_out), (5, 1, 1));
    assert_eq!(books.dropped, BTreeMap::from([(DropReason::OutputClosed, 3)]));
    assert!(summary.text().contains("output_closed 3"));
}

#[test]
fn an_output_that_would_block_is_tried_again() {
    let (output, has_entered, tell) = gate();
    let outputs = Outputs { spans: Box::new(output), summary: Box::new(Memory::default()) };
    let (console, task) = open(settings(Format::Json), outputs).unwrap();
    console.record(&server().into());
    console.flush();
    for result in [Err(io::ErrorKind::WouldBlock.into()), Err(io::ErrorKind::Interrupted.into()), Ok(())] {
        has_entered.recv_timeout(PATIENCE).unwrap();
        tell.send(result).unwrap();
    }
    assert!(task.close(PATIENCE));
    assert_eq!(console.books(), Books { seen: 1, reported: 1, ..Books::default() });
}

#[test]
fn many_threads_lose_nothing() {
    let spans = Memory::default();
    let outputs = Outputs { spans: Box::new(spans.clone()), summary: Box::new(Memory::default()) };
    let (console, task) = open(settings(Format::Json), outputs).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2000).for_each(|_| console.record(&server().into())));
        }
    });
    assert!(task.close(PATIENCE));
    assert_eq!(console.books(), Books { seen: 8000, reported: 8000, ..Books::default() });
    assert_eq!(spans.text().lines().count(), 8000);
}
