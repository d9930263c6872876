//! Where connections lead: IPv6, IPv4 over an IPv6 socket, ports that nobody listens on, hosts that do not answer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tests::ledger::assert_agree;
use tests::server::{Endpoint, Server};
use tests::watch::{Watch, can_run};

#[test]
fn a_service_on_ipv6_that_calls_another() {
    if !can_run() {
        return;
    }
    let other = {
        let endpoint = Endpoint::free_v6().unwrap();
        Server::gunicorn_bound(endpoint.clone(), &endpoint.to_string(), "flask_app:app").unwrap()
    };
    let endpoint = Endpoint::free_v6().unwrap();
    let app = Server::gunicorn_bound(endpoint.clone(), &endpoint.to_string(), "flask_app:app").unwrap();
    let mut watch = Watch::on(app).unwrap();
    for n in 0..10 {
        let url = format!("{}/items/{n}", other.endpoint.url());
        watch.get(&format!("/call?n={n}&url={url}"), 200, "GET /call").unwrap();
    }
    let (entries, spans) = watch.finish(10).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    assert_eq!(calls.len(), 10);
    for span in &served {
        assert_eq!(
            (span.local.clone(), span.client_addr.as_deref()),
            (Some(endpoint.to_string()), Some("::1")),
            "{span:?}"
        );
    }
    for call in &calls {
        assert_eq!(call.peer.clone(), Some(other.endpoint.to_string()), "{call:?}");
        assert_eq!(call.host.clone(), Some(other.endpoint.to_string()), "{call:?}");
        assert_eq!((call.status, call.parent_kind.as_deref()), (Some(200), Some("thread")), "{call:?}");
    }
}

#[test]
fn a_client_of_ipv4_at_a_socket_of_both() {
    if !can_run() {
        return;
    }
    let endpoint = Endpoint::free().unwrap();
    let Endpoint::Tcp(address) = endpoint else { panic!("it is TCP") };
    let bind = format!("[::]:{}", address.port());
    let mut watch = Watch::on(Server::gunicorn_bound(endpoint, &bind, "flask_app:app").unwrap()).unwrap();
    for n in 0..5 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
    }
    let (entries, spans) = watch.finish(0).unwrap();
    // The ledger compares the peer with the client's own address.
    assert_agree(&entries, &spans);
    for span in &spans {
        assert_eq!(
            (span.local.clone(), span.client_addr.as_deref()),
            (Some(address.to_string()), Some("127.0.0.1")),
            "{span:?}"
        );
    }
}

/// A port whose queue of connections is full: whoever connects gets no answer.
struct Silent {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting = std::iter::from_fn(connect).take(16).collect();
        Self { address, _listener: listener, _waiting: waiting }
    }
}

#[test]
fn connects_that_come_to_nothing() {
    if !can_run() {
        return;
    }
    let refusing = Endpoint::free().unwrap();
    let silent = Silent::new();
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &[]).unwrap()).unwrap();
    for n in 0..3 {
        let target = format!("/call?n=r{n}&timeout=0.3&url={}/items/{n}", refusing.url());
        watch.get(&target, 500, "GET /call").unwrap();
        let target = format!("/call?n=t{n}&timeout=0.3&url=http://{}/items/{n}", silent.address);
        watch.get(&target, 500, "GET /call").unwrap().least_us = 300_000;
    }
    let (entries, spans) = watch.finish(6).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    assert_eq!(calls.len(), 6, "{calls:#?}");
    for call in &calls {
        let parent = served.iter().find(|span| Some(&span.span_id) == call.parent_id.as_ref());
        let parent = parent.unwrap_or_else(|| panic!("no parent of {call:?}"));
        let refused = parent.target.as_deref().unwrap().contains("n=r");
        let (peer, error) = if refused {
            (refusing.to_string(), "connection refused")
        } else {
            (silent.address.to_string(), "connect timed out")
        };
        assert_eq!((call.peer.clone(), call.error.as_deref()), (Some(peer), Some(error)), "{call:?}");
        assert_eq!(
            (call.name.as_str(), call.end.as_str(), call.status),
            ("connect", "not_connected", None),
            "{call:?}"
        );
        assert!(refused || call.duration_us >= 290_000.0, "{call:?}");
    }
}

#[test]
fn the_second_address_of_a_name_that_answers_is_the_call() {
    if !can_run() {
        return;
    }
    // `localhost` is ::1 first, where nobody listens.
    let other = Server::plain().unwrap();
    let Endpoint::Tcp(address) = other.endpoint else { panic!("it is TCP") };
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &[]).unwrap()).unwrap();
    for n in 0..3 {
        let target = format!("/call?n={n}&url=http://localhost:{}/items/{n}", address.port());
        watch.get(&target, 200, "GET /call").unwrap();
    }
    let (entries, spans) = watch.finish(3).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    let found: Vec<_> = calls.iter().map(|call| (call.status, call.peer.clone())).collect();
    assert_eq!(found, vec![(Some(200), Some(address.to_string())); 3], "{calls:#?}");
}
