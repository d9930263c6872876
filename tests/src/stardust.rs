//! A stand-in for the Stardust server: behaves as the real one does, its traps included, and can be asked
//! what it saw.
//!
//! Invariant: what the real server refuses is refused here, and as quietly.

pub mod answer;
pub mod bind;
pub mod config;
mod control;
pub mod journal;
mod listen;
mod login;
mod notify;
mod rule;
pub mod secret;
mod session;
mod state;
pub mod token;
mod trace;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as FromState};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;

use answer::{Call, Refusal, answer};
use journal::{RawCall, Record};
pub use state::{App, Command, Instance, NameTotals, Settings, Tracer};
use state::{Shared, State};
use token::TokenKey;

/// The largest body Kestrel takes, in bytes.
const MAX_BODY_BYTES: usize = 30_000_000;

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Serving,
    /// Connections are refused.
    Refusing,
    /// Connections are taken, calls never answered.
    Hanging,
    /// Every call is answered with HTTP 500.
    Failing,
    /// Not at all: the end.
    Stopped,
}

/// A running server. Stops when dropped.
#[derive(Debug)]
pub struct StarServer {
    shared: Arc<Shared>,
    mode: watch::Sender<Mode>,
    address: SocketAddr,
    ca_pem: Option<String>,
    thread: Option<JoinHandle<()>>,
}

impl StarServer {
    /// Starts a server on a free port of 127.0.0.1, plain HTTP.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), false)
    }

    /// Starts a server at this address; port 0 picks a free one. With `tls` it speaks HTTPS with a certificate
    /// for `localhost` and 127.0.0.1, signed by a CA of its own.
    pub fn start_at(address: SocketAddr, tls: bool) -> anyhow::Result<Self> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (ca_pem, acceptor) = tls.then(|| listen::make_tls(&names)).transpose()?.unzip();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            key: TokenKey::new("stand-in server's key"),
        });
        let (mode, watched) = watch::channel(Mode::Serving);
        let router = router(&shared, &watched);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let listener = {
            let _entered = runtime.enter();
            listen::hold(address)?.listen(listen::BACKLOG).context("listen")?
        };
        let address = listener.local_addr().context("read the bound address")?;
        let told = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let entered = |mode| {
                told.state.lock().mode = Some(mode);
                told.changed.notify_all();
            };
            if let Err(error) = runtime.block_on(listen::run(listener, acceptor, router, watched, entered)) {
                eprintln!("stand-in Stardust server: {error:#}");
            }
            runtime.shutdown_background();
        });
        Ok(Self { shared, mode, address, ca_pem, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL.
    pub fn url(&self) -> String {
        match self.ca_pem {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// The certificate of its CA in PEM, if it speaks HTTPS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }
}

impl Drop for StarServer {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Stopped);
        if let Some(thread) = self.thread.take() {
            // It has nothing to give; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

type Action = fn(&Shared, &Call) -> Result<Value, Refusal>;

fn router(shared: &Arc<Shared>, mode: &watch::Receiver<Mode>) -> Router {
    let mode = mode.clone();
    let both = MethodFilter::GET.or(MethodFilter::POST);
    let post = MethodFilter::POST;
    let actions = Router::new()
        .route("/app/login", action(post, login::login))
        .route("/app/logout", action(both, session::logout))
        .route("/app/ping", action(both, session::ping))
        .route("/app/commandreply", action(post, session::command_reply))
        .route("/app/postevents", action(post, session::post_events))
        .route("/trace/report", action(post, trace::report))
        .route("/trace/reportraw", action(post, trace::report_raw))
        .route("/config/getall", action(both, config::get_all))
        .route("/config/setall", action(post, config::set_all))
        .route("/oauth/token", action(post, login::oauth_token))
        .route("/api", action(both, info))
        .layer(CompressionLayer::new().gzip(true));
    let notify = get(move |FromState(shared): FromState<Arc<Shared>>, request: Request| {
        notify::notify(shared, mode, request)
    });
    actions
        .route("/app/notify", notify)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::clone(shared))
}

/// Runs an action, and writes down the call and its refusal.
fn action(methods: MethodFilter, act: Action) -> MethodRouter<Arc<Shared>> {
    on(methods, move |FromState(shared): FromState<Arc<Shared>>, call: Call| async move {
        let text = |name| call.header(name).map(str::to_owned);
        let raw = RawCall {
            path: call.path.clone(),
            content_type: text("content-type"),
            user_agent: text("user-agent"),
            body: call.body.to_vec(),
        };
        shared.record(&mut shared.state.lock(), Record::Call(raw));
        let result = act(&shared, &call);
        if let Err(refusal) = &result {
            let (code, message) = match refusal {
                Refusal::Business(code, message) | Refusal::Filter(code, message) => (*code, message.clone()),
                Refusal::Unbound(field) => (400, format!("{field} does not bind")),
                Refusal::MediaType => (415, "content type".to_owned()),
            };
            shared.record(&mut shared.state.lock(), Record::Refused(call.path.clone(), code, message));
        }
        answer(result)
    })
}

/// `GET /api`: what a health check reads.
#[expect(clippy::unnecessary_wraps, reason = "an action like the others")]
fn info(_: &Shared, call: &Call) -> Result<Value, Refusal> {
    Ok(json!({
        "name": "StarServer", "title": "stand-in", "fileVersion": "3.10.2026.0802", "remote": call.remote.to_string(),
        "time": rule::local_text(rule::now_ms()), "state": call.parameter("state"),
    }))
}
