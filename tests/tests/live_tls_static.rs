//! A TLS library that a program of C calls: OpenSSL linked in, seen where the program has its symbols, said and counted
//! where it has none; and BoringSSL.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::command::{probe, run};
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, counts};
use tests::server::Server;
use tests::told_client::ToldClient;
use tests::venv::apps_folder;
use tests::watch::can_run;

const SPAN_LIMIT: Duration = Duration::from_secs(10);
const REQUESTS: usize = 50;

/// The client with the library linked in; then without the names of its functions.
struct Programs {
    folder: TempDir,
}

impl Programs {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-D_GNU_SOURCE", "-o"]).arg(folder.path().join("tls_client"));
        compile.arg(apps_folder().join("tls_client.c")).args(["-l:libssl.a", "-l:libcrypto.a"]);
        assert!(compile.status().unwrap().success(), "{compile:?}");
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(folder.path().join("stripped")).arg(folder.path().join("tls_client"));
        assert!(strip.status().unwrap().success(), "{strip:?}");
        Self { folder }
    }

    /// The client with BoringSSL, as Debian has it, beside it.
    fn with_boringssl() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = boringssl_folder().unwrap();
        let mut compile = Command::new("cc");
        compile
            .args(["-O1", "-D_GNU_SOURCE", "-I/usr/include/android", "-o"])
            .arg(folder.path().join("tls_client"));
        compile.arg(apps_folder().join("tls_client.c"));
        compile.args(["libssl.so", "libcrypto.so"].map(|name| library.join(name)));
        compile.arg(format!("-Wl,--disable-new-dtags,-rpath,{}", library.display()));
        assert!(compile.status().unwrap().success(), "{compile:?}");
        Self { folder }
    }

    fn start(&self, name: &str, server: &Server) -> ToldClient {
        let mut command = Command::new(self.path(name));
        command.args([server.endpoint.port(), REQUESTS.to_string()]);
        ToldClient::start(command).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Where Debian puts BoringSSL.
fn boringssl_folder() -> Option<PathBuf> {
    let architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut folders = architectures.map(|folder| folder.path().join("android"));
    folders.find(|folder| folder.join("libssl.so").exists())
}

/// What `check` says of a process.
fn check(client: &ToldClient) -> String {
    run(probe(&["check", "--pid", &client.pid().to_string()]).unwrap()).unwrap().stdout
}

/// Every request is told, and how it is seen is said by `check`.
fn is_seen(programs: &Programs, sites: &[&str]) {
    let server = Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap();
    let mut client = programs.start("tls_client", &server);
    let said = check(&client);
    for site in sites {
        assert!(said.contains(site), "{site}: {said}");
    }
    let probe = Probe::attach(&[client.pid()], &[]).unwrap();
    let entries: Vec<Entry> =
        client.run().unwrap().into_iter().map(|entry| entry.named("GET /items/{id}")).collect();
    assert_eq!(entries.len(), REQUESTS);
    assert!(probe.wait_for_spans(REQUESTS, SPAN_LIMIT), "{}", probe.log());
    let (spans, log) = probe.stop_with_log().unwrap();
    assert_agree(&entries, &spans);
    for span in &spans {
        assert_eq!((span.kind.as_str(), span.scheme.as_str()), ("client", "https"));
        assert_eq!(span.attributes["tls.protocol.version"], "1.3");
        assert!(span.attributes["tls.cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS_")));
        assert!(span.peer.is_some(), "{span:?}");
    }
    assert!(log.contains("nothing missed"), "{log}");
}

#[test]
fn with_symbols() {
    if !can_run() {
        return;
    }
    is_seen(&Programs::build(), &["tls_client\n           SSL_read at "]);
}

#[test]
fn boringssl() {
    if !can_run() {
        return;
    }
    if boringssl_folder().is_none() {
        println!("not run: no BoringSSL here, which only Debian and its kin have as a package");
        return;
    }
    let sites = ["libssl.so.0\n           SSL_read at ", "behind SSL_read at ", "behind SSL_write at "];
    is_seen(&Programs::with_boringssl(), &sites);
}

#[test]
fn stripped() {
    if !can_run() {
        return;
    }
    let server = Server::uvicorn_tls("fastapi_app:app", "asyncio").unwrap();
    let programs = Programs::build();
    let mut client = programs.start("stripped", &server);
    let said = check(&client);
    assert!(said.contains("linked in without its symbols shows nothing"), "{said}");
    let probe = Probe::attach(&[client.pid()], &["--log-level", "debug"]).unwrap();
    assert_eq!(client.run().unwrap().len(), REQUESTS);
    let (spans, log) = probe.stop_with_log().unwrap();
    assert!(spans.is_empty(), "{spans:#?}");
    let counts = counts(&log);
    assert_eq!(counts["trace"]["tls_unbound_connections"], 1, "{counts}");
    assert!(counts["trace"]["tls_unbound_bytes"].as_u64() > Some(REQUESTS as u64 * 200), "{counts}");
}
