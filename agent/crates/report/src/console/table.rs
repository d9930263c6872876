//! A span as one row of a table that fits the terminal.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{AttributeValue, End, Family, Fault, Protocol, Span, SpanKind};

use super::text::{Align, duration, push_cell, push_size};

/// The header is repeated after so many rows.
const HEADER_EVERY: usize = 50;
/// The target has at least so many columns before a further column is shown.
const MIN_TARGET_COLUMNS: usize = 24;

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[34m";
const CYAN: &str = "\x1b[36m";

/// The columns, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Kind,
    Status,
    Method,
    Target,
    Duration,
    Ttfb,
    Wait,
    Calls,
    Cpu,
    Bytes,
    Peer,
    App,
    Note,
}

const ORDER: [Column; 14] = [
    Column::Time,
    Column::Kind,
    Column::Status,
    Column::Method,
    Column::Target,
    Column::Duration,
    Column::Ttfb,
    Column::Wait,
    Column::Calls,
    Column::Cpu,
    Column::Bytes,
    Column::Peer,
    Column::App,
    Column::Note,
];
/// Always there.
const NEEDED: [Column; 5] = [Column::Kind, Column::Status, Column::Method, Column::Target, Column::Duration];
/// There if they fit, the first ones before the others.
const WANTED: [Column; 9] = [
    Column::Time,
    Column::Note,
    Column::App,
    Column::Ttfb,
    Column::Calls,
    Column::Cpu,
    Column::Wait,
    Column::Bytes,
    Column::Peer,
];

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    color: bool,
    time_zone: TimeZone,
    terminal_columns: u16,
    shown: Vec<(Column, usize)>,
    rows: usize,
    line: String,
    cell: String,
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Time => "START",
            Self::Kind => "KIND",
            Self::Status => "ST",
            Self::Method => "METHOD",
            Self::Target => "TARGET",
            Self::Duration => "TOOK",
            Self::Ttfb => "TTFB",
            Self::Wait => "WAIT",
            Self::Calls => "CALLS",
            Self::Cpu => "CPU",
            Self::Bytes => "IN/OUT",
            Self::Peer => "PEER",
            Self::App => "APP",
            Self::Note => "NOTE",
        }
    }

    /// The target takes what the others leave.
    const fn width(self) -> usize {
        match self {
            Self::Time => 12,
            Self::Kind => 6,
            Self::Status => 3,
            Self::Method | Self::Duration | Self::Ttfb | Self::Wait | Self::Calls | Self::Cpu => 7,
            Self::Target => 0,
            Self::Bytes => 11,
            Self::Peer => 21,
            Self::App => 18,
            Self::Note => 15,
        }
    }

    const fn align(self) -> Align {
        match self {
            Self::Duration | Self::Ttfb | Self::Wait | Self::Calls | Self::Cpu | Self::Bytes => Align::Right,
            _ => Align::Left,
        }
    }
}

impl Table {
    pub(super) fn new(color: bool, time_zone: TimeZone) -> Self {
        Self {
            color,
            time_zone,
            terminal_columns: 0,
            shown: Vec::new(),
            rows: 0,
            line: String::new(),
            cell: String::new(),
        }
    }

    /// Fits the columns to a terminal so many columns wide; a new width brings a new header.
    pub(super) fn resize(&mut self, terminal_columns: u16) {
        if self.terminal_columns != terminal_columns {
            self.terminal_columns = terminal_columns;
            self.shown = fit(usize::from(terminal_columns));
            self.rows = 0;
        }
    }

    /// Appends the titles.
    pub(super) fn header(&mut self, buffer: &mut Vec<u8>) {
        self.line.clear();
        for (index, &(column, width)) in self.shown.iter().enumerate() {
            self.line.push_str(if index > 0 { " " } else { "" });
            push_cell(&mut self.line, column.title(), width, column.align());
        }
        self.finish_line(BOLD, buffer);
        self.rows = 1;
    }

    /// Appends a span, and before it the titles if it is time.
    pub(super) fn row(&mut self, span: &Span, buffer: &mut Vec<u8>) {
        if self.rows == 0 || self.rows > HEADER_EVERY {
            self.header(buffer);
        }
        self.rows += 1;
        self.line.clear();
        for index in 0..self.shown.len() {
            let (column, width) = self.shown[index];
            self.line.push_str(if index > 0 { " " } else { "" });
            self.cell.clear();
            self.fill(column, span);
            let color = if self.color { color(column, span) } else { "" };
            self.line.push_str(color);
            push_cell(&mut self.line, &self.cell, width, column.align());
            self.line.push_str(if color.is_empty() { "" } else { RESET });
        }
        self.finish_line("", buffer);
    }

    fn finish_line(&self, color: &str, buffer: &mut Vec<u8>) {
        let color = if self.color { color } else { "" };
        buffer.extend_from_slice(color.as_bytes());
        buffer.extend_from_slice(self.line.trim_end().as_bytes());
        buffer.extend_from_slice(if color.is_empty() { b"" } else { RESET.as_bytes() });
        buffer.push(b'\n');
    }

    /// Writing to a string does not fail.
    fn fill(&mut self, column: Column, span: &Span) {
        let cell = &mut self.cell;
        let _ = match column {
            Column::Time => {
                let time = Timestamp::from_nanosecond(span.start_unix_ns.into()).unwrap_or_default();
                write!(cell, "{}", time.to_zoned(self.time_zone.clone()).strftime("%H:%M:%S%.3f"))
            }
            Column::Kind => cell.write_str(match span.kind {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
            }),
            Column::Status => match span.status {
                Some(status) => write!(cell, "{status}"),
                None => cell.write_str("-"),
            },
            Column::Method => cell.write_str(asked_to(span).unwrap_or("-")),
            Column::Target => match (&span.target, span.kind) {
                (None, SpanKind::Client) if span.protocol.family() != Family::Http => {
                    write!(cell, "{} {}", span.host, span.name)
                }
                (Some(path), SpanKind::Client) if path.starts_with('/') => {
                    write!(cell, "{}{path}", span.host)
                }
                (Some(target), _) => cell.write_str(target),
                (None, SpanKind::Server) => cell.write_str(&span.name),
                (None, SpanKind::Client) => cell.write_str(&span.host),
            },
            Column::Duration => cell.write_str(&duration(span.duration_ns / 1000)),
            Column::Ttfb => match span.ttfb_ns {
                Some(ns) => cell.write_str(&duration(ns / 1000)),
                None => cell.write_str("-"),
            },
            Column::Wait => cell.write_str(&spent(span, "stardust_probe.time.read_wait_us")),
            Column::Cpu => cell.write_str(&spent(span, "stardust_probe.time.cpu_us")),
            Column::Calls => cell.write_str(&spent(span, "stardust_probe.time.calls_us")),
            Column::Bytes => {
                push_size(cell, span.request_bytes);
                cell.push('/');
                push_size(cell, span.response_bytes);
                Ok(())
            }
            Column::Peer => match span.client_addr {
                Some(client) if span.peer.ip() != Some(client) => write!(cell, "{client}"),
                _ => write!(cell, "{}", span.peer),
            },
            Column::App => write!(cell, "{}[{}]", span.process.app_id, span.process.pid),
            Column::Note => cell.write_str(&note(span)),
        };
    }
}

/// A part of a request's time.
fn spent(span: &Span, part: &str) -> String {
    match span.attribute(part) {
        Some(AttributeValue::Int(us)) => duration(us.unsigned_abs()),
        _ => "-".to_owned(),
    }
}

/// Which columns to show, and how wide.
fn fit(terminal_columns: usize) -> Vec<(Column, usize)> {
    let fixed = NEEDED.iter().map(|column| column.width() + 1).sum::<usize>() - 1;
    let mut target = terminal_columns.saturating_sub(fixed);
    let mut chosen = NEEDED.to_vec();
    for column in WANTED {
        let needed = column.width() + 1;
        if target >= MIN_TARGET_COLUMNS + needed {
            target -= needed;
            chosen.push(column);
        }
    }
    let width = |column: Column| if column == Column::Target { target.max(8) } else { column.width() };
    ORDER.into_iter().filter(|column| chosen.contains(column)).map(|column| (column, width(column))).collect()
}

fn color(column: Column, span: &Span) -> &'static str {
    match (column, span.kind) {
        (Column::Status, _) => match span.status {
            Some(200..300) => GREEN,
            Some(300..400) => CYAN,
            Some(400..500) => YELLOW,
            Some(500..) => RED,
            _ => DIM,
        },
        (Column::Note, _) if span.fault.is_some() => RED,
        (Column::Kind, SpanKind::Client) => BLUE,
        (Column::Time | Column::App | Column::Note | Column::Peer, _) => DIM,
        _ => "",
    }
}

/// The method, or what stands for it in other protocols.
fn asked_to(span: &Span) -> Option<&str> {
    span.method.as_deref().or_else(|| span.attribute("db.operation.name")?.as_text())
}

/// What is odd about it, in at most 15 columns. A bad status is plain to see already. Of a span that is as it
/// should be: what passed, if that is not HTTP/1.
fn note(span: &Span) -> Cow<'static, str> {
    let word = match (span.fault, span.end) {
        (Some(Fault::Reset), _) | (_, End::Reset) => "reset",
        (Some(Fault::ConnectionRefused), _) => "refused",
        (Some(Fault::ConnectTimedOut), _) => "connect timeout",
        (Some(Fault::ConnectFailed(_)), _) => "connect failed",
        (Some(Fault::TimedOut), _) | (_, End::TimedOut) => "timed out",
        (Some(Fault::ProcessExited), _) | (_, End::ProcessExited) => "process exited",
        (_, End::ClientClosed) => "client closed",
        (_, End::ServerClosed) => "server closed",
        (_, End::NotConnected) => "not connected",
        (_, End::Upgraded) => "upgraded",
        (_, End::Ongoing) => "goes on",
        (_, End::ProbeJoinedLate) => "joined late",
        (_, End::ProbeStopped) => "probe stopped",
        (_, End::ProbeLost) => "bytes lost",
        (Some(Fault::Answer), End::Complete) => {
            return span.attribute("error.type").map_or("error".into(), |kind| kind.to_string().into());
        }
        (Some(Fault::Status), End::Complete) if span.attribute("exception.type").is_some() => {
            let kind = span.attribute("exception.type").and_then(AttributeValue::as_text).unwrap_or_default();
            return kind.rsplit('.').next().unwrap_or(kind).to_owned().into();
        }
        (_, End::Complete) => match span.protocol {
            Protocol::Http1 | Protocol::Unknown => "",
            protocol => protocol.as_str(),
        },
    };
    word.into()
}

#[cfg(test)]
mod tests;
