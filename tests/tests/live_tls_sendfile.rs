//! A server that has the kernel send its files inside TLS: of what they hold nothing is copied, but all of it counts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tests::caller::Caller;
use tests::certificate::certificate;
use tests::clock::monotonic_ns;
use tests::command::{probe, run};
use tests::ledger::{Entry, assert_agree};
use tests::probe::{Probe, counts};
use tests::venv::apps_folder;
use tests::watch::can_run;

const SPAN_LIMIT: Duration = Duration::from_secs(10);
const REQUESTS: usize = 20;
const FILE_BYTES: usize = 300_000;
/// Of a record's header (RFC 8446 section 5.1).
const HEADER_BYTES: usize = 5;

/// A client of TLS that reads no further than one record, as the file comes in the clear.
struct Client {
    session: ClientConnection,
    socket: TcpStream,
}

impl Client {
    fn open(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let name = ServerName::from(address.ip()).to_owned();
        let session = ClientConnection::new(certificate().unwrap().client().unwrap(), name).unwrap();
        Self { session, socket: TcpStream::connect(address).unwrap() }
    }

    fn send(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket).unwrap();
        }
    }

    fn take_record(&mut self) {
        let mut record = vec![0; HEADER_BYTES];
        self.socket.read_exact(&mut record).unwrap();
        record.resize(HEADER_BYTES + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
        self.socket.read_exact(&mut record[HEADER_BYTES..]).unwrap();
        self.session.read_tls(&mut &record[..]).unwrap();
        self.session.process_new_packets().unwrap();
        self.send();
    }

    fn get(&mut self, target: &str) -> Entry {
        let request = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        let start_ns = monotonic_ns();
        self.session.writer().write_all(request.as_bytes()).unwrap();
        self.send();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            self.take_record();
            // Nothing to read yet is no error here.
            let _ = self.session.reader().read_to_end(&mut head);
        }
        let mut file = vec![0; FILE_BYTES];
        self.socket.read_exact(&mut file).unwrap();
        assert!(file.iter().all(|byte| *byte == b'x'));
        Entry {
            method: "GET".to_owned(),
            target: target.to_owned(),
            status: Some(200),
            request_bytes: request.len() as u64,
            response_bytes: (head.len() + FILE_BYTES) as u64,
            start_ns,
            last_ns: monotonic_ns(),
            local: self.socket.local_addr().ok(),
            complete: true,
            ..Entry::default()
        }
    }
}

/// In `tls_sendfile.c` it stands why the file comes in the clear.
#[test]
fn what_the_kernel_sends_of_a_file_counts() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [program, file] = ["server", "file"].map(|name| folder.path().join(name));
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-D_GNU_SOURCE", "-o"]).arg(&program).arg(apps_folder().join("tls_sendfile.c"));
    assert!(compile.args(["-lssl", "-lcrypto"]).status().unwrap().success());
    certificate().unwrap().write(folder.path()).unwrap();
    std::fs::write(&file, vec![b'x'; FILE_BYTES]).unwrap();
    let mut command = Command::new(&program);
    command.args(["cert.pem", "key.pem"].map(|name| folder.path().join(name))).arg(&file);
    let mut server = Caller::start(command).unwrap();
    let port = server.line().unwrap().trim_end().parse().unwrap();
    let said = run(probe(&["check", "--pid", &server.pid().to_string()]).unwrap()).unwrap().stdout;
    assert!(said.contains("SSL_sendfile at ") && said.contains("behind SSL_sendfile at "), "{said}");

    let probe = Probe::attach(&[server.pid()], &["--log-level", "debug"]).unwrap();
    let mut client = Client::open(port);
    let entries: Vec<_> =
        (0..REQUESTS).map(|n| client.get(&format!("/files/{n}")).named("GET /files/{id}")).collect();
    assert!(probe.wait_for_spans(REQUESTS, SPAN_LIMIT), "{}", probe.log());
    let (spans, log) = probe.stop_with_log().unwrap();
    assert_agree(&entries, &spans);
    for span in &spans {
        assert_eq!((span.kind.as_str(), span.scheme.as_str()), ("server", "https"));
        assert_eq!(span.attributes["tls.protocol.version"], "1.3");
    }
    let counts = counts(&log);
    assert!(counts["kernel"]["without_content_sendfile"].as_u64() >= Some(REQUESTS as u64), "{counts}");
}
