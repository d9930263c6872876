//! A server for tests: keeps every call, answers like Stardust unless a test says otherwise.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{FromRequestParts as _, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

const PATIENCE: Duration = Duration::from_secs(20);

/// A call as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    /// The body, unpacked and parsed; null if there is none.
    pub body: Value,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and a body: JSON, or a text as it is.
    Says(u16, Value),
    /// None ever comes.
    Hangs,
}

type Script = Box<dyn FnMut(&Call, usize) -> Option<Answer> + Send>;

/// The server.
pub struct Stand {
    pub url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    count: watch::Sender<usize>,
    script: Mutex<Script>,
    push: broadcast::Sender<String>,
}

/// Success with `data`.
pub fn ok(data: &Value) -> Answer {
    Answer::Says(200, json!({"code": 0, "data": data}))
}

/// Failure with `code`.
pub fn no(code: i64) -> Answer {
    Answer::Says(200, json!({"code": code, "message": "no"}))
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn is(&self, path: &str) -> bool {
        self.path == path
    }

    /// The builder `name` of a report.
    pub fn builder(&self, name: &str) -> Option<&Value> {
        self.body["Builders"].as_array()?.iter().find(|builder| builder["Name"] == name)
    }

    /// The total of the builder `name`, 0 without one.
    pub fn total(&self, name: &str) -> i64 {
        self.builder(name).and_then(|builder| builder["Total"].as_i64()).unwrap_or(0)
    }
}

impl Stand {
    /// One that answers with `script`, given the call and how many of its path came before, and by itself where that
    /// gives `None`.
    pub async fn start(script: impl FnMut(&Call, usize) -> Option<Answer> + Send + 'static) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            script: Mutex::new(Box::new(script)),
            push: broadcast::Sender::new(16),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Self { url, shared, server }
    }

    /// Sends `frame` on every open push channel.
    pub fn push(&self, frame: &str) {
        self.shared.push.send(frame.to_owned()).expect("an open push channel");
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().expect("no panic").clone()
    }

    /// Every call of `path` so far.
    pub fn calls_of(&self, path: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.is(path)).collect()
    }

    /// Waits until the calls are such that `find` finds something.
    pub async fn wait<T>(&self, what: &str, find: impl Fn(&[Call]) -> Option<T>) -> T {
        let mut count = self.shared.count.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                count.borrow_and_update();
                if let Some(found) = find(&self.calls()) {
                    return found;
                }
                count.changed().await.expect("the server runs");
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no {what} in {:#?}", self.calls()))
    }

    /// Waits for the `n`th call of `path` (from 1).
    pub async fn wait_nth(&self, path: &str, n: usize) -> Call {
        self.wait(path, |calls| calls.iter().filter(|call| call.is(path)).nth(n - 1).cloned()).await
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn keep(&self, call: Call) -> usize {
        let mut calls = self.calls.lock().expect("no panic");
        let before = calls.iter().filter(|other| other.path == call.path).count();
        calls.push(call);
        let count = calls.len();
        drop(calls);
        self.count.send_replace(count);
        before
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 26).await.expect("a body");
    let call = Call {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        headers: parts.headers.clone(),
        body: unpack(&parts.headers, &bytes),
    };
    let before = shared.keep(call.clone());
    let scripted = (shared.script.lock().expect("no panic"))(&call, before);
    match scripted {
        Some(Answer::Hangs) => std::future::pending().await,
        Some(Answer::Says(status, body)) => reply(&call, status, &body),
        None if call.is("/App/Notify") => {
            let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.expect("an upgrade");
            upgrade.on_upgrade(move |socket| channel(socket, shared))
        }
        None => reply(&call, 200, &json!({"code": 0, "data": by_itself(&call, before)})),
    }
}

/// Packed, as the real server does for those who can unpack it.
fn reply(call: &Call, status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    if !call.header("accept-encoding").contains("gzip") {
        return (status, text).into_response();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("packed");
    (status, [("content-encoding", "gzip")], gzip.finish().expect("packed")).into_response()
}

/// What the real server says to a known app.
fn by_itself(call: &Call, before: usize) -> Value {
    match call.path.as_str() {
        "/App/Login" => {
            json!({"code": null, "secret": null, "name": "x", "token": format!("token-{}", before + 1),
            "expire": 7200, "time": 0, "serverTime": 0})
        }
        "/Trace/ReportRaw" => json!({"period": 1, "maxSamples": 1, "maxErrors": 10, "timeout": 5000,
            "maxTagLength": 1024, "requestTagLength": 1024, "enableMeter": true, "excludes": null}),
        "/App/Ping" => json!({"time": 0, "serverTime": 0, "period": 1, "token": null, "commands": null}),
        "/Config/GetAll" => json!({"version": 1, "scope": "", "configs": null}),
        "/App/CommandReply" => json!(1),
        _ => Value::Null,
    }
}

fn unpack(headers: &HeaderMap, bytes: &Bytes) -> Value {
    let gzip = headers.get("content-type").is_some_and(|kind| kind == "application/x-gzip");
    let mut json = Vec::new();
    if gzip {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut json).expect("gzip");
    } else {
        json.extend_from_slice(bytes);
    }
    if json.is_empty() { Value::Null } else { serde_json::from_slice(&json).expect("JSON") }
}

async fn channel(mut socket: WebSocket, shared: Arc<Shared>) {
    let mut push = shared.push.subscribe();
    let opened = |path: &str, body: Value| Call {
        path: path.to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body,
    };
    shared.keep(opened("channel opened", Value::Null));
    loop {
        tokio::select! {
            frame = push.recv() => {
                let Ok(frame) = frame else { return };
                if socket.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => _ = shared.keep(opened("frame", json!(text.as_str()))),
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}
