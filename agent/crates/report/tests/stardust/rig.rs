//! An exporter under test, and spans for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{
    Address, AppIdSource, Books, End, Fault, HttpVersion, Process, Protocol, Span, SpanId, SpanKind, TraceId,
};
use report::stardust::{Secret, Settings, Stardust, Timing, open};
use report::{Exporter as _, Remote, Vitals};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stand::Stand;

/// A value of the configuration center that the probe refuses.
pub const REFUSED: &str = "refused";

/// The exporter and its task.
pub struct Rig {
    pub stardust: Arc<Stardust>,
    pub remotes: Arc<Mutex<Vec<Remote>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _state: Option<TempDir>,
}

impl Rig {
    /// One for `stand`, with a secret.
    pub fn start(stand: &Stand) -> Self {
        Self::with(settings(&[&stand.url]))
    }

    /// One with these settings. Their state directory, if it is the default, becomes a fresh one.
    pub fn with(mut settings: Settings) -> Self {
        let state = if settings.state_dir == Settings::default().state_dir {
            let dir = tempfile::tempdir().expect("a directory");
            dir.path().clone_into(&mut settings.state_dir);
            Some(dir)
        } else {
            None
        };
        let remotes = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&remotes);
        let vitals = Vitals { cpu_ms: 1500, working_set_bytes: 4096, threads: 3, handles: 7, connections: 2 };
        let (stardust, task) = open(
            settings,
            // Pid 99 is gone.
            Arc::new(move |pid| (pid != 99).then_some(vitals)),
            move |remote| {
                let (outcome, told_later) = oneshot::channel();
                let refused = match &remote {
                    Remote::Config { values, .. } => values.values().any(|value| value == REFUSED),
                    Remote::HeadLimits { .. } => false,
                };
                told.lock().expect("no panic").push(remote);
                // Nobody waits for limits.
                let _ = outcome.send(if refused { Err("it is refused".to_owned()) } else { Ok(()) });
                told_later
            },
        )
        .expect("an exporter");
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(stop.clone()));
        Self { stardust, remotes, stop, task, _state: state }
    }

    /// Records a good span of `/a`.
    pub fn hit(&self, process: &Arc<Process>) {
        self.stardust.record(&span(process, "/a").into());
    }

    /// Stops it and gives its books.
    pub async fn stop(self) -> Books {
        self.stop.cancel();
        self.task.await.expect("no panic");
        self.stardust.books()
    }
}

/// Waits until `done`.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never {what}"));
}

/// Settings for `servers`, with the secret `MySecret` and short waits.
pub fn settings(servers: &[&str]) -> Settings {
    let ms = Duration::from_millis;
    Settings {
        servers: servers.iter().map(ToString::to_string).collect(),
        secret: Some(Secret::new("MySecret")),
        timing: Timing {
            first_report: ms(100),
            first_ping: ms(20),
            ping: ms(1000),
            config: ms(60_000),
            retry_step: ms(20),
            login_retry_max: ms(50),
            retry_max: ms(50),
            retry_slow: ms(50),
            call: ms(5000),
            exit_grace: ms(50),
            ..Timing::default()
        },
        ..Settings::default()
    }
}

/// [`settings`] with this state directory.
pub fn settings_in(dir: &Path, stand: &Stand) -> Settings {
    Settings { state_dir: dir.to_owned(), ..settings(&[&stand.url]) }
}

/// A process of the app `shop`.
pub fn process(pid: u32) -> Arc<Process> {
    Arc::new(Process {
        pid,
        parent_pid: 1,
        app_id: "shop".to_owned(),
        app_id_source: AppIdSource::Flag,
        version: Some("1.4.2-rc1".to_owned()),
        name: "gunicorn".to_owned(),
        command_line: "gunicorn shop.wsgi:app".to_owned(),
        user: "www".to_owned(),
        start_unix_ms: 1_754_100_000_000,
    })
}

/// A server span that has just ended well.
pub fn span(process: &Arc<Process>, route: &str) -> Span {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Span {
        kind: SpanKind::Server,
        process: Arc::clone(process),
        tid: process.pid,
        name: format!("GET {route}").into(),
        route: Some(route.into()),
        method: Some("GET".into()),
        protocol: Protocol::Http1,
        scheme: "http",
        host: "h".to_owned(),
        target: Some(route.to_owned()),
        status: Some(200),
        http_version: Some(HttpVersion::Http11),
        user_agent: Some("curl/8".to_owned()),
        headers: Vec::new(),
        attributes: Vec::new(),
        start_unix_ns: now.as_nanos() as u64 - 5_000_000,
        start_ns: 1,
        duration_ns: 5_000_000,
        ttfb_ns: None,
        request_bytes: 10,
        response_bytes: 20,
        local: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 8000))),
        peer: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 40_000))),
        client_addr: None,
        trace_id: TraceId::from_u128(7),
        span_id: SpanId(9),
        parent: None,
        trace_state: None,
        head_sampled: false,
        sampled: true,
        fault: None,
        end: End::Complete,
    }
}

/// [`span`] with status 500.
pub fn failed(process: &Arc<Process>, route: &str) -> Span {
    Span { status: Some(500), fault: Some(Fault::Status), ..span(process, route) }
}

impl Rig {
    /// Spans dropped so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.stardust.books().dropped.values().sum()
    }
}
