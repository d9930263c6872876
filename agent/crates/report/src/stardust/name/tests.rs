//! Naming vectors.

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
