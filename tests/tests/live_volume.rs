//! Many requests at full speed: none missing, none twice.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::thread;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::{Entry, assert_agree};
use tests::server::{Endpoint, Server};
use tests::watch::{Watch, can_run};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 4;

fn drive(endpoint: &Endpoint, client: usize) -> Vec<Entry> {
    let mut kept = None;
    let requests = (client..REQUESTS).step_by(CLIENTS);
    requests
        .map(|n| {
            let mut connection = kept.take().unwrap_or_else(|| Connection::open(endpoint).unwrap());
            let entry = connection.exchange(Request::get(&format!("/items/{n}"))).unwrap();
            kept = entry.keeps_alive.then_some(connection);
            entry.named("GET /items/{id}")
        })
        .collect()
}

#[rstest]
#[case::threads(&["--workers", "2", "--threads", "4", "--keep-alive", "60"])]
#[case::sync(&["--workers", "2"])]
fn ten_thousand_requests(#[case] arguments: &[&str]) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", arguments).unwrap()).unwrap();
    let endpoint = watch.server.endpoint.clone();
    watch.entries = thread::scope(|scope| {
        let endpoint = &endpoint;
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || drive(endpoint, client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(watch.entries.len(), REQUESTS);
    assert!(watch.entries.iter().all(|entry| entry.status == Some(200) && entry.complete));
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}
