//! Rows as they are shown.

use super::super::example::{client, server};
use super::super::text::columns;
use super::*;

fn shown(terminal_columns: u16, color: bool, spans: &[Span]) -> String {
    let mut table = Table::new(color, TimeZone::UTC);
    let mut buffer = Vec::new();
    table.resize(terminal_columns);
    for span in spans {
        table.row(span, &mut buffer);
    }
    String::from_utf8(buffer).unwrap()
}

#[test]
fn a_wide_terminal_shows_everything() {
    let expected = "\
START        KIND   ST  METHOD  TARGET                               TOOK    TTFB    WAIT   CALLS     CPU      IN/OUT PEER                  APP                NOTE
22:13:20.123 server 200 GET     /users/7?a=b                       12.3ms   9.0ms  52.0ms   4.5ms   800µs    120/2.0K 10.1.2.3              shop[42]
22:13:20.123 client -   -       10.0.0.9:80                         500µs       -       -       -       -         0/0 10.0.0.9:80           shop[42]           refused
";
    let mut busy = server();
    busy.set("stardust_probe.time.calls_us", 4500_u32);
    busy.set("stardust_probe.time.cpu_us", 800_u32);
    busy.set("stardust_probe.time.read_wait_us", 52_000_u32);
    assert_eq!(shown(174, false, &[busy, client()]), expected);
}

#[test]
fn a_query_shows_what_was_asked_of_whom() {
    let mut query = client();
    (query.protocol, query.fault, query.end) = (Protocol::Postgresql, None, End::Complete);
    (query.name, query.host) = ("SELECT orders".into(), "db:5432".into());
    query.set("db.operation.name", "SELECT");
    let mut failed = query.clone();
    failed.fault = Some(Fault::Answer);
    failed.set("error.type", "23505");
    let expected = "\
START        KIND   ST  METHOD  TARGET                          TOOK    TTFB NOTE
22:13:20.123 client -   SELECT  db:5432 SELECT orders          500µs       - postgresql
22:13:20.123 client -   SELECT  db:5432 SELECT orders          500µs       - 23505
";
    assert_eq!(shown(92, false, &[query, failed.clone()]), expected);
    assert_eq!(failed.error().as_deref(), Some("postgresql error 23505"));
}

#[test]
fn an_exception_is_noted_by_its_type() {
    let mut failed = server();
    (failed.status, failed.fault) = (Some(500), Some(Fault::Status));
    failed.set("exception.type", "shop.errors.NoStock");
    assert!(shown(174, false, &[failed]).ends_with("shop[42]           NoStock\n"));
}

#[test]
fn a_narrow_terminal_shows_what_matters() {
    let mut long = server();
    long.target = Some("/a/very/long/target/that/does/not/fit".into());
    let expected = "\
START        KIND   ST  METHOD  TARGET                      TOOK NOTE
22:13:20.123 server 200 GET     /a/very/long/target/tha…  12.3ms
";
    assert_eq!(shown(80, false, &[long]), expected);
}

#[test]
fn rows_fit_every_width() {
    for terminal_columns in 40..220 {
        for line in shown(terminal_columns, false, &[server(), client()]).lines() {
            assert!(columns(line) <= usize::from(terminal_columns), "{terminal_columns}: {line}");
        }
    }
    assert!(!shown(0, false, &[server()]).is_empty());
}

#[test]
fn colours_go_with_the_status() {
    for (status, color) in [(204, GREEN), (304, CYAN), (404, YELLOW), (503, RED), (101, DIM)] {
        let mut span = server();
        span.status = Some(status);
        let shown = shown(80, true, &[span]);
        assert!(shown.contains(&format!("{color}{status}{RESET}")), "{shown:?}");
        assert!(shown.starts_with(BOLD));
    }
    assert!(shown(80, true, &[client()]).contains(&format!("{RED}refused")));
    assert!(!shown(80, false, &[server(), client()]).contains('\x1b'));
}

#[test]
fn what_a_peer_sent_cannot_reach_the_terminal() {
    let mut span = server();
    span.target = Some("/\u{1b}[2J\u{9b}\r\n".into());
    let shown = shown(80, false, &[span]);
    assert!(!shown.contains(['\u{1b}', '\u{9b}', '\r']));
    assert_eq!(shown.lines().count(), 2);
}

#[test]
fn the_header_comes_back() {
    let spans: Vec<Span> = std::iter::repeat_with(server).take(2 * HEADER_EVERY + 1).collect();
    assert_eq!(shown(80, false, &spans).matches("START").count(), 3);
}
