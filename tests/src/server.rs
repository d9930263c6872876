//! The watched servers: gunicorn, uvicorn, http.server, websockets, nginx, on a free port or a unix socket.
//!
//! Invariant: a server that was started has answered, and ends with its value.

mod asking;
mod tls;

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::client::{Connection, Request};
use crate::process::ProcessTree;
use crate::venv::{Venv, apps_folder};

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Longer than a probe takes to attach on a busy machine: connections that were open before stay so.
const IDLE_SECONDS: &str = "60";

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// A port of 127.0.0.1 that is free now.
    pub fn free() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        Ok(Self::Tcp(listener.local_addr()?))
    }

    /// A port of `[::1]` that is free now.
    pub fn free_v6() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).context("find a free port")?;
        Ok(Self::Tcp(listener.local_addr()?))
    }

    /// The same for TLS.
    pub fn free_tls() -> anyhow::Result<Self> {
        match Self::free()? {
            Self::Tcp(address) => Ok(Self::Tls(address)),
            other => Ok(other),
        }
    }

    /// A path for a unix socket that is not there yet.
    pub fn unix() -> Self {
        Self::Unix(std::env::temp_dir().join(format!("app-{:016x}.sock", crate::clock::unix_ns())))
    }

    /// As a command takes it; empty for a unix socket.
    pub fn port(&self) -> String {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.port().to_string(),
            Self::Unix(_) => String::new(),
        }
    }

    /// `http://127.0.0.1:8000`; for a unix socket the host is `localhost`.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Tls(address) => format!("https://{address}"),
            Self::Unix(_) => "http://localhost".to_owned(),
        }
    }

    /// Whether it is a unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    fn answers(&self) -> bool {
        match self {
            Self::Tcp(address) | Self::Tls(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

/// As gunicorn's `--bind` and nginx's `proxy_pass` write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How nginx hands requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// `proxy_pass`.
    Http,
    /// `uwsgi_pass`.
    Uwsgi,
    /// `fastcgi_pass`, with connections that are kept.
    FastCgi,
}

impl Pass {
    fn location(self) -> String {
        let variables = |directive: &str| {
            let pairs = VARIABLES.iter().map(|(name, value)| format!("{directive} {name} {value};"));
            pairs.collect::<Vec<_>>().join("\n            ")
        };
        match self {
            Self::Http => "proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
                .to_owned(),
            Self::Uwsgi => format!("uwsgi_pass app;\n            {}", variables("uwsgi_param")),
            Self::FastCgi => {
                format!(
                    "fastcgi_pass app;\n            fastcgi_keep_conn on;\n            {}",
                    variables("fastcgi_param")
                )
            }
        }
    }
}

/// As in nginx's own files `uwsgi_params` and `fastcgi_params`, for an application that serves every path.
const VARIABLES: [(&str, &str); 14] = [
    ("QUERY_STRING", "$query_string"),
    ("REQUEST_METHOD", "$request_method"),
    ("CONTENT_TYPE", "$content_type"),
    ("CONTENT_LENGTH", "$content_length"),
    ("REQUEST_URI", "$request_uri"),
    ("PATH_INFO", "$document_uri"),
    ("SCRIPT_NAME", "\"\""),
    ("SERVER_PROTOCOL", "$server_protocol"),
    ("REQUEST_SCHEME", "$scheme"),
    ("HTTPS", "$https if_not_empty"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("SERVER_PORT", "$server_port"),
    ("SERVER_NAME", "$server_name"),
];

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its processes.
    pub processes: ProcessTree,
    /// Where it listens.
    pub endpoint: Endpoint,
    folder: TempDir,
}

impl Server {
    /// gunicorn with `app` (`flask_app:app`), on TCP, with more arguments of its own.
    pub fn gunicorn(app: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::gunicorn_at(Endpoint::free()?, app, arguments)
    }

    /// gunicorn with `app`, on a unix socket.
    pub fn gunicorn_unix(app: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::gunicorn_at(Endpoint::unix(), app, arguments)
    }

    /// gunicorn with `app`, bound to `bind` (`[::]:8000`), which clients reach at `endpoint`.
    pub fn gunicorn_bound(endpoint: Endpoint, bind: &str, app: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(Venv::open()?.program("gunicorn"));
        command.args(["--bind", bind, "--no-control-socket", app]);
        Self::start(command, endpoint)
    }

    fn gunicorn_at(endpoint: Endpoint, app: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(Venv::open()?.program("gunicorn"));
        command.args(["--bind", &endpoint.to_string(), "--no-control-socket"]).args(arguments).arg(app);
        Self::start(command, endpoint)
    }

    /// uvicorn with `app` (`fastapi_app:app`), on TCP, parsing HTTP with `http` (`h11` or `httptools`).
    pub fn uvicorn(app: &str, http: &str) -> anyhow::Result<Self> {
        Self::uvicorn_in(&apps_folder(), app, &["--http", http, "--loop", "asyncio", "--no-access-log"])
    }

    /// uvicorn with an `app` of this folder, on TCP, with more arguments of its own.
    pub fn uvicorn_in(apps: &Path, app: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(Venv::open()?.program("uvicorn"));
        command.args(["--timeout-keep-alive", IDLE_SECONDS]).args(arguments);
        command.args(["--port", &endpoint.port()]).arg(app).current_dir(apps);
        Self::start_in(command, endpoint, tempfile::tempdir().context("make a folder")?)
    }

    /// uvicorn with `app`, its `WebSocket` side by `ws` (`websockets-sansio` or `wsproto`), no pings of its own.
    pub fn uvicorn_sockets(app: &str, ws: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(Venv::open()?.program("uvicorn"));
        let quiet = ["--no-access-log", "--ws-ping-interval", "3600", "--ws-max-size", "100000000"];
        command.args(["--ws", ws, "--port", &endpoint.port()]).args(quiet).arg(app);
        Self::start(command, endpoint)
    }

    /// The `websockets` package's own server.
    pub fn websockets() -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Venv::open()?.script("websockets_app.py");
        command.arg(endpoint.port());
        Self::start(command, endpoint)
    }

    /// hypercorn with `app`, on TCP, speaking HTTP/1.1 and HTTP/2 in clear text.
    pub fn hypercorn(app: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(Venv::open()?.program("hypercorn"));
        command.args(["--bind", &endpoint.to_string(), "--keep-alive", IDLE_SECONDS, app]);
        Self::start(command, endpoint)
    }

    /// waitress with `app`, with four threads that serve.
    pub fn waitress(app: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(Venv::open()?.program("waitress-serve"));
        command.args(["--threads", "4", "--listen", &endpoint.to_string(), app]);
        Self::start(command, endpoint)
    }

    /// A gRPC server made with `library` (`grpcio` or `grpclib`).
    pub fn grpc(library: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Venv::open()?.script("grpc_app.py");
        command.args([library, "serve", &endpoint.port()]);
        Self::start(command, endpoint)
    }

    /// The standard library's http.server with the same routes.
    pub fn plain() -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Venv::open()?.script("plain_app.py");
        command.args(["127.0.0.1", &endpoint.port()]);
        Self::start(command, endpoint)
    }

    /// One of the servers in `apps`, which takes its port as the last argument.
    pub fn script(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::script_in(&Venv::open()?, name, arguments)
    }

    /// The same in this environment.
    pub fn script_in(venv: &Venv, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = venv.script(name);
        command.args(arguments).arg(endpoint.port());
        Self::start(command, endpoint)
    }

    /// A script in `tests/apps/routes`, run in this environment, on the port it is told.
    pub fn routes(venv: &Venv, name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(venv.program("python"));
        command.arg(apps_folder().join("routes").join(name)).args(arguments).arg(endpoint.port());
        Self::start(command, endpoint)
    }

    /// A script in `tests/apps` that needs nothing but the standard library, run by this interpreter, on the port it is
    /// told.
    pub fn script_of(interpreter: &Path, name: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let mut command = Command::new(interpreter);
        command.arg(apps_folder().join(name)).arg(endpoint.port());
        Self::start(command, endpoint)
    }

    /// A server that answers every request with the same few bytes and keeps thousands of connections, on every
    /// address of this host.
    pub fn crowd() -> anyhow::Result<Self> {
        Self::script("crowd_app.py", &[])
    }

    /// uWSGI with `app` (`flask_app:app`), two processes, spoken to in the uwsgi protocol.
    pub fn uwsgi(endpoint: Endpoint, app: &str) -> anyhow::Result<Self> {
        let venv = Venv::open()?;
        let mut command = Command::new(venv.program("uwsgi"));
        command.args(["--master", "--processes", "2", "--need-app", "--die-on-term", "--disable-logging"]);
        command.arg("--home").arg(venv.folder()).args(["--module", app, "--socket", &address_of(&endpoint)]);
        Self::start(command, endpoint)
    }

    /// The Flask app under flup, spoken to in `FastCGI`.
    pub fn fastcgi(endpoint: Endpoint) -> anyhow::Result<Self> {
        let mut command = Venv::open()?.script("fastcgi_app.py");
        command.arg(address_of(&endpoint));
        Self::start(command, endpoint)
    }

    /// nginx before the `upstream`, keeping connections to it open, telling it the client with X-Forwarded-For.
    pub fn nginx(upstream: &Endpoint) -> anyhow::Result<Self> {
        Self::nginx_by(Pass::Http, upstream)
    }

    /// nginx before the `upstream`, which it speaks to in this protocol.
    pub fn nginx_by(pass: Pass, upstream: &Endpoint) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let config = folder.path().join("nginx.conf");
        let text = nginx_config(folder.path(), (&endpoint.to_string(), ""), pass, upstream);
        fs::write(&config, text).context("write nginx.conf")?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&config).args(["-e", "stderr"]);
        Self::start_in(command, endpoint, folder)
    }

    /// The processes that serve, once they do: gunicorn listens before it has any.
    pub fn workers(&self) -> anyhow::Result<Vec<u32>> {
        Connection::open(&self.endpoint)?.exchange(Request::get("/"))?;
        let children = self.processes.children();
        Ok(if children.is_empty() { vec![self.pid()] } else { children })
    }

    /// The pid to give to the probe.
    pub fn pid(&self) -> u32 {
        self.processes.pid()
    }

    fn start(mut command: Command, endpoint: Endpoint) -> anyhow::Result<Self> {
        command.current_dir(apps_folder());
        Self::start_in(command, endpoint, tempfile::tempdir().context("make a folder")?)
    }

    fn start_in(mut command: Command, endpoint: Endpoint, folder: TempDir) -> anyhow::Result<Self> {
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut processes = ProcessTree::spawn(command, folder.path().join("log"))?;
        processes.wait_until(START_LIMIT, || endpoint.answers())?;
        Ok(Self { processes, endpoint, folder })
    }

    /// A folder that lasts as long as the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint {
            // The server may have taken it away itself.
            let _ = fs::remove_file(path);
        }
    }
}

/// As uWSGI and flup take it: `127.0.0.1:8000`, or a path.
fn address_of(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) | Endpoint::Tls(address) => address.to_string(),
        Endpoint::Unix(path) => path.display().to_string(),
    }
}

/// `server`: what the server says beside where it listens.
fn nginx_config(folder: &Path, (listen, server): (&str, &str), pass: Pass, upstream: &Endpoint) -> String {
    let folder = folder.display();
    let location = pass.location();
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{ server {upstream}; keepalive 8; }}
    server {{
        listen {listen};
        {server}
        location / {{
            {location}
        }}
    }}
}}
"
    )
}
