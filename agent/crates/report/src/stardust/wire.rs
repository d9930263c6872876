//! What is sent, in the server's own terms.
//!
//! Invariant: names are `PascalCase`, numbers are whole where the server's are, and nothing that is a number is null. A
//! report with a wrong type is lost without a word.

use model::{Load, Process};
use serde::Serialize;

use super::aggregate::Builder;
use crate::Vitals;

/// 2026-01-01. From builds since 2025 the server takes it that they understand UTC in commands.
pub(super) const COMPILED_MS: i64 = 1_767_225_600_000;

/// `POST /App/Login`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Login<'a> {
    pub app_id: &'a str,
    pub code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<&'a str>,
    pub client_id: &'a str,
    pub app_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    pub compile: i64,
    #[serde(rename = "IP", skip_serializing_if = "str::is_empty")]
    pub ip: &'a str,
    pub time: i64,
}

/// `POST /Trace/ReportRaw`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report<'a> {
    pub app_id: &'a str,
    pub app_name: &'a str,
    pub client_id: &'a str,
    pub version: &'a str,
    pub builders: &'a [Builder],
}

/// `POST /App/Ping`: the watched process as an instance of its app.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AppInfo<'a> {
    pub id: u32,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    pub command_line: &'a str,
    pub user_name: &'a str,
    pub machine_name: &'a str,
    #[serde(rename = "IP", skip_serializing_if = "str::is_empty")]
    pub ip: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
    pub time: i64,
}

/// The figures of [`AppInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meter {
    processor_time: i64,
    cpu_usage: f64,
    working_set: i64,
    heap_size: i64,
    threads: u32,
    handles: u32,
    connections: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    workers: Option<Workers>,
}

/// In the terms of a thread pool, which is what the server knows: the threads that serve requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Workers {
    worker_threads: u32,
    /// Those that were idle, by the share of time that all of them were.
    available_threads: u32,
    /// Requests that are open.
    pending_items: u32,
    /// Requests since the last ping.
    completed_items: i64,
}

/// `POST /Config/GetAll`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConfigQuery<'a> {
    pub app_id: &'a str,
    pub client_id: &'a str,
    pub scope: &'a str,
    pub version: i64,
}

/// One of the events of `POST /App/PostEvents`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event<'a> {
    pub time: i64,
    /// `info`, `alert` or `error`.
    #[serde(rename = "Type")]
    pub kind: &'a str,
    pub name: &'a str,
    pub remark: &'a str,
}

/// `POST /App/CommandReply`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommandReply<'a> {
    pub id: i64,
    pub status: u8,
    pub data: &'a str,
}

impl Meter {
    /// `now`, with the share of one core used since `before` (CPU milliseconds, then wall milliseconds ago).
    pub(super) fn new(now: &Vitals, before: Option<(u64, u64)>, load: Option<Load>) -> Self {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let cpu_usage = match before {
            Some((cpu_ms, wall_ms)) if wall_ms > 0 => {
                let share = now.cpu_ms.saturating_sub(cpu_ms) as f64 / wall_ms as f64;
                (share * 10_000.0).round() / 10_000.0
            }
            _ => 0.0,
        };
        Self {
            processor_time: whole(now.cpu_ms),
            cpu_usage,
            working_set: whole(now.working_set_bytes),
            heap_size: 0,
            threads: now.threads.min(i32::MAX as u32),
            handles: now.handles.min(i32::MAX as u32),
            connections: now.connections.min(i32::MAX as u32),
            workers: load.map(Workers::new),
        }
    }
}

impl Workers {
    fn new(load: Load) -> Self {
        let idle = load.saturation().map_or(0.0, |busy| (1.0 - busy) * f64::from(load.workers));
        Self {
            worker_threads: load.workers,
            available_threads: idle.round() as u32,
            pending_items: load.open_requests,
            completed_items: i64::try_from(load.requests).unwrap_or(i64::MAX),
        }
    }
}

/// When `process` started, as the official client writes it: local time, no zone.
pub(super) fn started(process: &Process) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(process.start_unix_ms)
        .ok()
        .filter(|_| process.start_unix_ms > 0)?;
    Some(at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_leaves_out_what_is_not_known() {
        let login = Login {
            app_id: "MyApp",
            code: "MyApp",
            secret: None,
            client_id: "192.168.1.100@12345",
            app_name: "MyApp",
            node_code: None,
            version: None,
            compile: COMPILED_MS,
            ip: "",
            time: 1,
        };
        assert_eq!(
            serde_json::to_value(login).expect("JSON"),
            json!({"AppId": "MyApp", "Code": "MyApp", "ClientId": "192.168.1.100@12345", "AppName": "MyApp",
                "Compile": COMPILED_MS, "Time": 1})
        );
    }

    #[test]
    fn a_ping_with_and_without_figures() {
        let vitals = Vitals {
            cpu_ms: 50_000,
            working_set_bytes: 104_857_600,
            threads: 25,
            handles: 300,
            connections: 5,
        };
        let mut info = AppInfo {
            id: 12_345,
            name: "myapp",
            version: Some("1.2.3.4"),
            command_line: "/usr/bin/myapp",
            user_name: "app",
            machine_name: "host1",
            ip: "192.168.1.100",
            start_time: None,
            meter: Some(Meter::new(&vitals, Some((41_000, 60_000)), None)),
            time: 1_754_100_000_000,
        };
        assert_eq!(
            serde_json::to_value(&info).expect("JSON"),
            json!({"Id": 12345, "Name": "myapp", "Version": "1.2.3.4", "CommandLine": "/usr/bin/myapp",
                "UserName": "app", "MachineName": "host1", "IP": "192.168.1.100", "ProcessorTime": 50000,
                "CpuUsage": 0.15, "WorkingSet": 104_857_600, "HeapSize": 0, "Threads": 25, "Handles": 300,
                "Connections": 5, "Time": 1_754_100_000_000_i64})
        );
        info.meter = None;
        let plain = serde_json::to_value(&info).expect("JSON");
        assert!(plain.get("CpuUsage").is_none() && plain.get("Time").is_some());
    }

    #[test]
    fn cpu_usage_is_a_share_of_one_core() {
        let vitals = Vitals { cpu_ms: 3000, ..Vitals::default() };
        for (before, expected) in [
            (None, 0.0),
            (Some((1000, 1000)), 2.0),
            (Some((1000, 0)), 0.0),
            (Some((5000, 1000)), 0.0),
            (Some((2999, 30_000)), 0.0),
        ] {
            assert!((Meter::new(&vitals, before, None).cpu_usage - expected).abs() < 1e-9, "{before:?}");
        }
    }

    #[test]
    fn a_start_time_has_no_zone() {
        let process = super::super::test_span::process(1, "a");
        let text = started(&process).expect("a time");
        assert_eq!(text.len(), "2026-08-02T10:00:00".len());
        assert!(jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M:%S", &text).is_ok(), "{text}");
    }
}
