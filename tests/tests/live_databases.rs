//! Real databases asked by real drivers in a Flask view: every operation a client span, a child of the request's.
//!
//! Long because each driver's view is one test, and all are checked in one way.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use rstest::rstest;
use serde::Deserialize;
use tests::client::{Connection, Request};
use tests::database::Database;
use tests::ledger::assert_agree;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::{Watch, can_run};

/// Two clocks are read one after the other.
const SLACK_NS: u64 = 2_000_000;

/// The views that run a loop of asyncio's.
const ASYNCHRONOUS: [&str; 3] = ["/aiomysql", "/asyncpg", "/redis-asyncio"];

/// An operation as the view has written it down.
#[derive(Debug, Deserialize)]
struct Operation {
    name: String,
    start_ns: u64,
    end_ns: u64,
    error: Option<String>,
}

/// A span that is expected: its operation in the view (empty: between the operations), its name, its error.
type Expected<'a> = (&'a str, &'a str, Option<&'a str>);

const PSYCOPG2: [Expected<'_>; 10] = [
    ("select", "BEGIN", None),
    ("select", "SELECT items", None),
    ("insert", "INSERT log", None),
    ("commit", "COMMIT", None),
    ("copy", "BEGIN", None),
    ("copy", "COPY log", None),
    ("copy", "COMMIT", None),
    ("", "BEGIN", None),
    ("missing", "SELECT missing", Some("42P01")),
    ("rollback", "ROLLBACK", None),
];

/// What one request to a view gave.
struct Asked {
    /// The database's spans, in order.
    spans: Vec<SpanLine>,
    operations: Vec<Operation>,
    log: String,
}

/// Asks a view once, with the probe on.
fn ask(target: &str, arguments: &[&str]) -> Asked {
    ask_server(Server::gunicorn("database_app:app", &["--workers", "1"]).unwrap(), target, arguments)
}

/// Asks a view with the probe on, of a driver that is loaded by then, and its TLS library too.
fn ask_loaded(driver: &str, database: &Database, encrypted: bool) -> Asked {
    let server = Server::gunicorn("database_app:app", &["--workers", "1"]).unwrap();
    load(driver, &server);
    let asked = ask_server(server, &view(driver, database, encrypted), &[]);
    asked.check_encryption(encrypted);
    asked
}

fn load(driver: &str, server: &Server) {
    let load = Request::get(&format!("/load?module={driver}"));
    assert_eq!(Connection::open(&server.endpoint).unwrap().exchange(load).unwrap().status, Some(200));
}

/// The target of a view that asks this database.
fn view(driver: &str, database: &Database, encrypted: bool) -> String {
    let target = format!("/{driver}?port={}", database.port);
    if !encrypted {
        return target;
    }
    format!("{target}&certificate={}", database.certificate_file().display())
}

fn ask_server(server: Server, target: &str, arguments: &[&str]) -> Asked {
    let mut watch = Watch::with(server, arguments).unwrap();
    let path = target.split('?').next().unwrap();
    let entry = watch.ask(Request::get(target)).unwrap().clone();
    assert_eq!(entry.status, Some(200), "{target}: {}", watch.server.processes.output());
    watch.entries[0].name = format!("GET {path}");
    let operations: Vec<Operation> = serde_json::from_slice(&entry.body).unwrap();
    watch.hang_up();
    let Watch { probe, entries, server, .. } = watch;
    probe.wait_for_spans(2, std::time::Duration::from_secs(5));
    let (spans, log) = probe.stop_with_log().unwrap();
    drop(server);
    let (requests, mut spans): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "server");
    assert_agree(&entries, &requests);
    for span in &spans {
        assert_eq!(span.end, "complete", "{span:?}");
        // Tasks that a view runs to their end do not send its response: they may have no parent, never another.
        if span.parent_id.is_none() && ASYNCHRONOUS.contains(&path) {
            continue;
        }
        assert_eq!(span.parent_id.as_deref(), Some(&*requests[0].span_id), "{span:?}");
        assert_eq!(span.trace_id, requests[0].trace_id);
        if !ASYNCHRONOUS.contains(&path) {
            assert_eq!(span.parent_kind.as_deref(), Some("thread"), "{span:?}");
        }
    }
    spans.sort_by_key(|span| span.start_unix_ns);
    Asked { spans, operations, log }
}

fn text<'a>(span: &'a SpanLine, name: &str) -> Option<&'a str> {
    span.attributes.get(name)?.as_str()
}

impl Asked {
    /// Exactly these spans, each within its operation by the view's clock, with the errors the driver has seen.
    fn check(&self, system: &str, namespace: Option<&str>, expected: &[Expected<'_>]) {
        let found: Vec<(&str, Option<&str>)> =
            self.spans.iter().map(|span| (&*span.name, text(span, "db.response.status_code"))).collect();
        let wanted: Vec<(&str, Option<&str>)> =
            expected.iter().map(|(_, name, error)| (*name, *error)).collect();
        assert_eq!(found, wanted, "\n{}", self.log);
        let first = self.spans.first().unwrap();
        // The second clock may be read late, never early.
        let offset = || tests::clock::unix_ns() - tests::clock::monotonic_ns();
        let offset_ns = (0..100).map(|_| offset()).max().unwrap();
        for (span, (operation, name, error)) in self.spans.iter().zip(expected) {
            assert_eq!(text(span, "db.system.name"), Some(system), "{span:?}");
            assert_eq!(span.peer, first.peer);
            assert_eq!(text(span, "error.type"), *error, "{span:?}");
            assert_eq!(span.error.is_some(), error.is_some(), "{span:?}");
            if let Some(namespace) = namespace {
                assert_eq!(text(span, "db.namespace"), Some(namespace), "{span:?}");
            }
            if operation.is_empty() {
                continue;
            }
            let found = self.operations.iter().filter(|written| written.name == *operation).find(|written| {
                let end_ns = span.start_unix_ns + (span.duration_us * 1000.0) as u64;
                span.start_unix_ns + SLACK_NS >= written.start_ns + offset_ns
                    && end_ns <= written.end_ns + offset_ns + SLACK_NS
            });
            let written = found.unwrap_or_else(|| {
                panic!("{name} is not within {operation} ({:?}): {span:?}", self.times(operation, offset_ns))
            });
            assert_eq!(written.error.as_deref(), *error, "{operation}");
        }
        let shown =
            serde_json::to_string(&self.spans.iter().map(|span| &span.attributes).collect::<Vec<_>>());
        assert!(!shown.unwrap().contains("secret"));
    }

    /// Inside TLS every span says so, and one of each connection how long the handshake took.
    fn check_encryption(&self, encrypted: bool) {
        for span in &self.spans {
            assert_eq!(text(span, "tls.protocol.version"), encrypted.then_some("1.3"), "{span:?}");
        }
        let told = self.spans.iter().filter(|span| span.attributes.contains_key("tls.handshake.duration_ns"));
        let connections: BTreeSet<_> = self.spans.iter().map(|span| &span.local).collect();
        assert_eq!(told.count(), if encrypted { connections.len() } else { 0 }, "{:#?}", self.spans);
    }

    /// When an operation began and ended, in Unix time.
    fn times(&self, operation: &str, offset_ns: u64) -> Vec<(u64, u64)> {
        let written = self.operations.iter().filter(|written| written.name == *operation);
        written.map(|written| (written.start_ns + offset_ns, written.end_ns + offset_ns)).collect()
    }

    /// What redis-py says of itself at first, and what comes of it, differs between versions.
    fn leave_out_introductions(&mut self) {
        let all = self.spans.len();
        self.spans.retain(|span| span.name != "HELLO" && !span.name.ends_with("CLIENT"));
        assert!(self.spans.len() < all);
    }

    /// The span of an operation lasts as long as the server waited. It is within the operation, which is seen to elsewhere.
    fn check_wait(&self, name: &str) {
        let span = self.spans.iter().find(|span| span.name == name).unwrap();
        assert!(span.duration_us >= 200_000.0, "{span:?}");
    }
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn psycopg3(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let asked = ask_loaded("psycopg3", &database, encrypted);
    asked.check(
        "postgresql",
        Some("shop"),
        &[
            ("simple", "SELECT items", None),
            ("parameters", "SELECT items", None),
            ("prepared", "PREPARE items", None),
            ("prepared", "SELECT items", None),
            ("prepared again", "SELECT items", None),
            ("many", "BATCH INSERT log", None),
            ("pipeline", "BATCH", None),
            ("copy", "COPY log", None),
            ("large", "SELECT numbers", None),
            ("missing", "SELECT missing", Some("42P01")),
            ("duplicate", "INSERT items", Some("23505")),
            ("sleep", "SELECT", None),
            ("transaction", "BEGIN", None),
            ("transaction", "DELETE log", None),
            ("transaction", "COMMIT", None),
        ],
    );
    asked.check_wait("SELECT");
    let many = asked.spans.iter().find(|span| span.name == "BATCH INSERT log").unwrap();
    assert_eq!(many.attributes["db.operation.batch.size"], 3);
    assert_eq!(text(many, "db.operation.name"), Some("BATCH INSERT"));
    assert_eq!(text(many, "db.collection.name"), Some("log"));
    let large = asked.spans.iter().find(|span| span.name == "SELECT numbers").unwrap();
    assert!(large.response_bytes > 5000 * 50, "{large:?}");
}

/// `COPY` both ways, of a table and of a query, and cut off in the middle: by the client, by the server in what it reads,
/// and in what it sends.
#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn copies(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let server = Server::gunicorn("database_app:app", &["--workers", "1"]).unwrap();
    let load = Request::get("/load?module=psycopg3");
    assert_eq!(Connection::open(&server.endpoint).unwrap().exchange(load).unwrap().status, Some(200));
    let asked = ask_server(server, &view("copies", &database, encrypted), &[]);
    asked.check_encryption(encrypted);
    asked.check(
        "postgresql",
        Some("shop"),
        &[
            ("in", "COPY log", None),
            ("out", "COPY log", None),
            ("query", "COPY SELECT numbers", None),
            ("given up", "COPY log", Some("57014")),
            ("refused", "COPY numbers", Some("22P02")),
            ("after", "SELECT log", None),
            ("broken off", "COPY SELECT numbers", Some("22012")),
        ],
    );
    // A row that is sent takes what was written, behind five bytes of frame; the rest are a few short messages.
    let rows = (0..20_000).map(|number| format!("row {number}\n").len() as u64).sum::<u64>();
    let sizes: Vec<_> = asked.spans.iter().map(|span| (span.request_bytes, span.response_bytes)).collect();
    assert!((rows..rows + rows / 10).contains(&sizes[0].0), "{sizes:?}");
    assert!((rows + 5 * 20_000..rows + 5 * 20_000 + 200).contains(&sizes[1].1), "{sizes:?}");
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn psycopg2(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let asked = ask_loaded("psycopg2", &database, encrypted);
    asked.check("postgresql", Some("shop"), &PSYCOPG2);
}

/// A wheel that has OpenSSL 1.1 in it, beside the interpreter's own OpenSSL 3.
#[test]
fn psycopg2_with_openssl_1_1() {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let wheel = Venv::open().unwrap().package("psycopg2-binary==2.9.5").unwrap();
    let arguments = ["--workers", "1", "--pythonpath", wheel.to_str().unwrap()];
    let server = Server::gunicorn("database_app:app", &arguments).unwrap();
    load("psycopg2", &server);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.workers().unwrap()[0])).unwrap();
    let libraries = |version: &str| {
        maps.lines().any(|line| line.contains("/libssl") && line.ends_with(&format!(".so.{version}")))
    };
    assert!(libraries("1.1") && libraries("3"), "{maps}");
    let asked = ask_server(server, &view("psycopg2", &database, true), &[]);
    asked.check_encryption(true);
    asked.check("postgresql", Some("shop"), &PSYCOPG2);
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn asyncpg(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let asked = ask_loaded("asyncpg", &database, encrypted);
    asked.check(
        "postgresql",
        Some("shop"),
        &[
            ("fetch", "PREPARE items", None),
            ("fetch", "SELECT items", None),
            ("fetch", "SELECT items", None),
            ("fetch", "SELECT items", None),
            ("many", "PREPARE log", None),
            ("many", "BATCH INSERT log", None),
            ("missing", "PREPARE missing", Some("42P01")),
            ("simple", "UPDATE items", None),
            ("sleep", "SELECT", None),
        ],
    );
    asked.check_wait("SELECT");
}

/// All set the mode of commits when they connect; the first two the character set too.
#[test]
fn mysql() {
    if !can_run() {
        return;
    }
    let database = Database::mariadb().unwrap();
    let expected = [
        ("", "SET", None),
        ("", "SET", None),
        ("select", "SELECT items", None),
        ("insert", "INSERT log", None),
        ("commit", "COMMIT", None),
        ("large", "SELECT numbers", None),
        ("missing", "SELECT missing", Some("1146")),
        ("duplicate", "INSERT items", Some("1062")),
        ("procedure", "CALL", None),
        ("sleep", "SELECT", None),
        ("ping", "PING", None),
    ];
    for driver in ["pymysql", "mysqlclient", "aiomysql"] {
        for encrypted in [false, true] {
            println!("{driver}, encrypted: {encrypted}");
            let asked = ask_loaded(driver, &database, encrypted);
            asked.check("mariadb", Some("shop"), &expected[usize::from(driver == "aiomysql")..]);
            asked.check_wait("SELECT");
            let large = asked.spans.iter().find(|span| span.name == "SELECT numbers").unwrap();
            assert!(large.response_bytes > 5000 * 50, "{large:?}");
        }
    }
}

#[test]
fn prepared_statements_of_mysql_connector() {
    if !can_run() {
        return;
    }
    let database = Database::mariadb().unwrap();
    let asked = ask(&format!("/connector?port={}", database.port), &[]);
    asked.check(
        "mariadb",
        Some("shop"),
        &[
            ("", "SET", None),
            ("", "SET", None),
            ("", "PING", None),
            ("prepared", "PREPARE items", None),
            ("prepared", "RESET", None),
            ("prepared", "SELECT items", None),
            ("prepared", "RESET", None),
            ("prepared", "SELECT items", None),
        ],
    );
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn redis(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::redis(encrypted).unwrap();
    for version in [2, 3] {
        let mut asked = ask(&format!("{}&protocol={version}", view("redis", &database, encrypted)), &[]);
        asked.check_encryption(encrypted);
        asked.leave_out_introductions();
        asked.check(
            "redis",
            None,
            &[
                ("", "SELECT", None),
                ("", "PING", None),
                ("set", "SET", None),
                ("get", "GET", None),
                ("hash", "HSET", None),
                ("hash", "HGETALL", None),
                ("pipeline", "PIPELINE GET", None),
                ("transaction", "MULTI", None),
                ("large", "SET", None),
                ("large", "GET", None),
                ("wrong", "LPUSH", Some("WRONGTYPE")),
                ("wait", "BLPOP", None),
            ],
        );
        asked.check_wait("BLPOP");
        let [select, rest @ ..] = &asked.spans[..] else { panic!("no spans") };
        assert_eq!(text(select, "db.namespace"), Some("0"));
        assert!(rest.iter().all(|span| text(span, "db.namespace") == Some("2")), "{rest:?}");
        let size = |name: &str| {
            let span = asked.spans.iter().find(|span| span.name == name).unwrap();
            span.attributes["db.operation.batch.size"].as_u64()
        };
        assert_eq!((size("PIPELINE GET"), size("MULTI")), (Some(5), Some(2)));
        let large = asked.spans.iter().rfind(|span| span.name == "GET").unwrap();
        assert_eq!(large.response_bytes, 100_000 + 11, "{large:?}");
    }
}

/// Messages of a subscription answer nothing; what asks for them, and what is published, does.
#[rstest]
#[case::resp2(2, false)]
#[case::resp3(3, false)]
#[case::resp2_tls(2, true)]
#[case::resp3_tls(3, true)]
fn redis_channels(#[case] version: u8, #[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::redis(encrypted).unwrap();
    let target = format!("{}&protocol={version}", view("redis-channels", &database, encrypted));
    let mut asked = ask(&target, &[]);
    asked.check_encryption(encrypted);
    asked.leave_out_introductions();
    let published = [("publish", "PUBLISH", None); 10];
    let expected = [
        &[("subscribe", "SUBSCRIBE", None), ("patterns", "PSUBSCRIBE", None)][..],
        &published,
        &[("ping", "PING", None), ("leave", "UNSUBSCRIBE", None), ("publish", "PUBLISH", None)],
    ];
    // One connection that subscribes, and one that publishes.
    asked.spans.iter_mut().for_each(|span| span.peer = None);
    asked.check("redis", Some("0"), &expected.concat());
    let confirmed = asked.spans[0].response_bytes;
    // Two arrays, or pushes, of three: `subscribe`, the channel, how many.
    assert_eq!(
        confirmed,
        2 * "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n".len() as u64,
        "{:?}",
        asked.spans[0]
    );
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn redis_asyncio(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::redis(encrypted).unwrap();
    let mut asked = ask(&view("redis-asyncio", &database, encrypted), &[]);
    asked.check_encryption(encrypted);
    asked.leave_out_introductions();
    asked.check(
        "redis",
        Some("0"),
        &[("", "PING", None), ("set", "SET", None), ("pipeline", "MULTI GET", None)],
    );
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn pymemcache(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::memcached(encrypted).unwrap();
    let asked = ask_loaded("pymemcache", &database, encrypted);
    asked.check(
        "memcached",
        None,
        &[
            ("set", "set", None),
            ("get", "get", None),
            ("get many", "get", None),
            ("no reply", "set", None),
            ("set many", "BATCH set", None),
            ("large", "set", None),
            ("large", "get", None),
            ("wrong", "incr", Some("CLIENT_ERROR")),
            ("delete", "delete", None),
        ],
    );
}

/// The meta commands of memcached 1.6; the one that is not answered is waited for by what follows it.
#[test]
fn meta_memcache() {
    if !can_run() {
        return;
    }
    let database = Database::memcached(false).unwrap();
    let asked = ask(&view("meta-memcache", &database, false), &[]);
    asked.check(
        "memcached",
        None,
        &[
            ("set", "ms", None),
            ("get", "mg", None),
            ("missing", "mg", None),
            ("large", "ms", None),
            ("large", "mg", None),
            ("touch", "mg", None),
            ("count", "ma", None),
            ("count", "ma", None),
            ("delete", "md", None),
            ("", "BATCH", None),
            ("many", "BATCH mg", None),
        ],
    );
    let large = &asked.spans[4];
    assert!(large.response_bytes > 100_000 && large.response_bytes < 100_100, "{large:?}");
}

/// Connections that were open before the probe came: the next whole command is seen, and what was said before is not
/// made up.
#[test]
fn connections_that_were_open_before() {
    if !can_run() {
        return;
    }
    let (postgresql, mariadb) = (Database::postgresql().unwrap(), Database::mariadb().unwrap());
    let (redis, memcached) = (Database::redis(false).unwrap(), Database::memcached(false).unwrap());
    let target = format!(
        "/kept?postgresql={}&mysql={}&redis={}&memcached={}",
        postgresql.port, mariadb.port, redis.port, memcached.port
    );
    let server = Server::gunicorn("database_app:app", &["--workers", "1"]).unwrap();
    let first = Connection::open(&server.endpoint).unwrap().exchange(Request::get(&target)).unwrap();
    assert_eq!(first.status, Some(200), "{}", server.processes.output());
    let asked = ask_server(server, &target, &[]);
    let names: Vec<&str> = asked.spans.iter().map(|span| &*span.name).collect();
    // The name of a statement that was prepared before is not known.
    assert_eq!(names, ["SELECT items", "postgresql", "SELECT items", "GET", "get"], "{}", asked.log);
    assert!(asked.spans.iter().all(|span| text(span, "db.namespace").is_none()));
    assert_eq!(text(&asked.spans[1], "db.operation.name"), None);
}

#[test]
fn statements_are_recorded_only_if_that_is_wanted() {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    let target = format!("/psycopg2?port={}", database.port);
    let asked = ask(&target, &[]);
    assert!(asked.spans.iter().all(|span| text(span, "db.query.text").is_none()));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("probe.toml");
    std::fs::write(&config, "[trace]\ndatabase_statements = true\n").unwrap();
    let asked = ask(&target, &["--config", config.to_str().unwrap()]);
    let texts: Vec<&str> = asked.spans.iter().filter_map(|span| text(span, "db.query.text")).collect();
    assert_eq!(
        texts[..3],
        ["BEGIN", "SELECT id, name FROM items WHERE name = ?", "INSERT INTO log(text) VALUES(?)"]
    );
}
