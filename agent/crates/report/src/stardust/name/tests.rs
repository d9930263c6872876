//! Naming vectors.

use model::Protocol;

use super::super::test_span::span;
use super::*;

fn shown(name: Name<'_>) -> String {
    HostNames::default().admit(name).into_owned()
}

#[test]
fn apis_have_two_segments_or_a_verb() {
    for (route, expected) in [
        ("/", "/"),
        ("", "/"),
        ("/a", "/a"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("/a/b/c", "/a/b"),
        ("/cube/area/Detail", "/cube/area/Detail"),
        ("/cube/area/edit/{id}", "/cube/area/edit"),
        ("//a//b", "/a/b"),
        ("a/b", "/a/b"),
        ("/users/{id}", "/users/{id}"),
        ("/a/b?c=d", "/a/b"),
        ("/a#x", "/a"),
        ("/Date(1)/", "/_Date(1)"),
    ] {
        assert_eq!(shown(plain(api_name(route))), expected, "{route}");
    }
}

#[test]
fn calls_keep_short_segments() {
    for (scheme, authority, path, expected) in [
        ("http", "sso.newlifex.com", "/user/query?id=12345", "http://sso.newlifex.com/user/query"),
        ("https", "newlifex.com", "?id=1234", "https://newlifex.com"),
        ("https", "www.newlifexxx.com", "/notfound?name=stone", "https://www.newlifexxx.com/notfound"),
        ("http", "", "user/query?id=12345", "user/query"),
        ("http", "example.com", "/api/verylongsegmentname1234567890", "http://example.com/api/"),
        ("http", "example.com", "/verylongsegmentname1234567890", "http://example.com"),
        ("http", "example.com", "/", "http://example.com"),
        ("http", "example.com", "", "http://example.com"),
        ("http", "Example.com:80", "/a", "http://example.com/a"),
        ("https", "example.com:443", "/a", "https://example.com/a"),
        ("http", "example.com:443", "/a", "http://example.com:443/a"),
        ("http", "127.0.0.1:5000", "/users/{id}", "http://127.0.0.1:5000/users/{id}"),
        ("http", "h", "/123456789012345/x", "http://h/123456789012345/x"),
        ("http", "h", "/1234567890123456/x", "http://h"),
        ("http", "h", "/1234567890123456", "http://h/1234567890123456"),
        ("http", "", "", "unknown"),
    ] {
        assert_eq!(shown(call_name(scheme, authority, path)), expected, "{authority} {path}");
    }
}

#[test]
fn other_protocols_have_kinds_of_their_own() {
    use SpanKind::{Client, Server};
    let (namespace, operation, table) = ("db.namespace", "db.operation.name", "db.collection.name");
    for (kind, protocol, host, attributes, expected) in [
        (Client, Protocol::Postgresql, "db:5432", vec![(operation, "SELECT")], "db:db_5432:Select"),
        (
            Client,
            Protocol::Mysql,
            "db:3306",
            vec![(namespace, "shop"), (operation, "INSERT"), (table, "a:b")],
            "db:shop:Insert:a_b",
        ),
        (Client, Protocol::Postgresql, "db", vec![(namespace, "")], "db:db:Postgresql"),
        (Client, Protocol::Redis, "cache:6379", vec![(operation, "GET")], "redis:cache:GET"),
        (Client, Protocol::Redis, "cache:6380", vec![(operation, "Pipeline")], "redis:cache_6380:Pipeline"),
        (Client, Protocol::Redis, "cache:6379", vec![(operation, "MULTI SET")], "redis:cache:Pipeline"),
        (Client, Protocol::Redis, "cache:6379", vec![(operation, "PIPELINE")], "redis:cache:Pipeline"),
        (Client, Protocol::Redis, "cache:6379", vec![(operation, "MULTI")], "redis:cache:MULTI"),
        (Client, Protocol::Memcached, "cache", vec![(operation, "BATCH set")], "memcached:cache:set"),
        (
            Client,
            Protocol::Postgresql,
            "db",
            vec![(namespace, "shop"), (operation, "BATCH INSERT"), (table, "t")],
            "db:shop:Insert:t",
        ),
        (Client, Protocol::Memcached, "cache:11211", vec![(operation, "set")], "memcached:cache:set"),
        (Client, Protocol::Memcached, "cache", vec![], "memcached:cache:unknown"),
        (Server, Protocol::WebSocket, "h", vec![], "ws:/chat/room"),
        (Client, Protocol::WebSocket, "h:80", vec![], "ws://h/chat/room/1"),
        (Server, Protocol::Grpc, "h", vec![], "/chat/room"),
        (Server, Protocol::Uwsgi, "h", vec![], "/chat/room"),
    ] {
        let mut span = span(kind, "/chat/room/1");
        (span.protocol, span.scheme, span.host) = (protocol, protocol.scheme(), host.to_owned());
        for (name, value) in attributes {
            span.set(name, value);
        }
        assert_eq!(shown(name_of(&span)), expected, "{protocol:?}");
        span.end = End::Ongoing;
        assert_eq!(shown(name_of(&span)), format!("open:{expected}"));
    }
}

#[test]
fn a_database_with_many_tables_has_one_name_for_each_action() {
    let mut names = HostNames::default();
    let mut query = span(SpanKind::Client, "/");
    query.protocol = Protocol::Postgresql;
    query.set("db.operation.name", "SELECT");
    for table in 0..=NAMES_PER_HOST {
        query.set("db.collection.name", format!("t{table}"));
        let name = names.admit(name_of(&query)).into_owned();
        let expected =
            if table < NAMES_PER_HOST { format!("db:h:Select:t{table}") } else { "db:h:Select".into() };
        assert_eq!(name, expected);
    }
}

#[test]
fn a_host_with_many_names_has_one() {
    let mut names = HostNames::default();
    for i in 0..5 {
        let path = format!("/api/a{i}");
        assert_eq!(
            names.admit_within(call_name("http", "example.com", &path), 5),
            format!("http://example.com{path}")
        );
    }
    assert_eq!(names.admit_within(call_name("http", "example.com", "/api/b0"), 5), "http://example.com");
    assert_eq!(
        names.admit_within(call_name("http", "example.com", "/api/a0"), 5),
        "http://example.com/api/a0"
    );
    assert_eq!(names.admit_within(call_name("http", "other", "/api/b0"), 5), "http://other/api/b0");
}

#[test]
fn the_list_of_hosts_is_bounded() {
    let mut names = HostNames::default();
    for i in 0..HOSTS {
        names.admit(call_name("http", &format!("h{i}"), "/a"));
    }
    assert_eq!(names.admit(call_name("http", "late", "/a")), "http://late");
    assert_eq!(names.hosts.len(), HOSTS);
}

#[test]
fn a_name_without_a_path_has_no_kind() {
    for (name, expected) in [("GET", "GET"), ("CONNECT h:443", "CONNECT h_443"), ("", "unknown")] {
        assert_eq!(shown(plain(other_name(name))), expected);
    }
}

#[test]
fn a_name_has_at_most_two_hundred_characters() {
    let long = format!("/{}", "é".repeat(300));
    assert_eq!(shown(plain(api_name(&long))).chars().count(), 200);
    let host = "h".repeat(300);
    assert_eq!(shown(call_name("http", &host, "/a")).chars().count(), 200);
}
