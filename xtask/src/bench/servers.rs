//! The servers that are measured: one worker each, alone on the first CPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::databases::{Database, Kind};
use super::load::Load;
use crate::interrupt::Interrupt;
use crate::procfs;
use crate::service::{Service, free_port};
use crate::shell;

/// Where the server runs. The load runs on [`super::load::CPU`].
pub const CPU: &str = "0";

/// How one is started.
pub struct Server {
    /// As the report names it.
    pub name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What comes before the address to listen on.
    address: Address,
    /// It speaks TLS, with the certificate of the bench.
    tls: bool,
    /// What it is asked for, and by whom.
    path: &'static str,
    load: Load,
    /// What it asks itself for each request.
    asks: Option<Kind>,
}

enum Address {
    /// `--bind HOST:PORT`
    Bind,
    /// `--host HOST --port PORT`
    HostAndPort,
}

const PLAIN: Server = Server {
    name: "",
    program: "",
    arguments: &[],
    address: Address::Bind,
    tls: false,
    path: "/",
    load: Load::Wrk,
    asks: None,
};

/// What is measured. The routes answer a few bytes and do nothing else, so that the probe weighs most.
pub const SERVERS: &[Server] = &[
    Server {
        name: "Flask, gunicorn sync",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "sync", "flask_app:app"],
        ..PLAIN
    },
    Server {
        name: "Flask, gunicorn gthread",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "gthread", "--threads", "8", "flask_app:app"],
        ..PLAIN
    },
    Server {
        name: "FastAPI, uvicorn httptools",
        program: "uvicorn",
        arguments: &["--workers", "1", "--http", "httptools", "--no-access-log", "fastapi_app:app"],
        address: Address::HostAndPort,
        ..PLAIN
    },
    Server {
        name: "FastAPI, uvicorn h11",
        program: "uvicorn",
        arguments: &[
            "--workers",
            "1",
            "--http",
            "h11",
            "--loop",
            "asyncio",
            "--no-access-log",
            "fastapi_app:app",
        ],
        address: Address::HostAndPort,
        ..PLAIN
    },
    Server {
        name: "FastAPI, uvicorn httptools, HTTPS",
        program: "uvicorn",
        arguments: &["--workers", "1", "--http", "httptools", "--no-access-log", "fastapi_app:app"],
        address: Address::HostAndPort,
        tls: true,
        ..PLAIN
    },
    Server {
        name: "Django WSGI, gunicorn gthread",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "gthread", "--threads", "8", "django_app:wsgi"],
        ..PLAIN
    },
    Server {
        name: "Django ASGI, uvicorn httptools",
        program: "uvicorn",
        arguments: &["--workers", "1", "--http", "httptools", "--no-access-log", "django_app:asgi"],
        address: Address::HostAndPort,
        ..PLAIN
    },
    Server {
        name: "FastAPI, hypercorn, HTTP/2",
        program: "hypercorn",
        arguments: &["--config", "hypercorn.toml", "fastapi_app:app"],
        load: Load::Http2,
        ..PLAIN
    },
    Server {
        name: "gRPC, grpcio, unary",
        program: "python",
        arguments: &["grpc_app.py"],
        address: Address::HostAndPort,
        path: "/bench.Echo/Say",
        load: Load::Grpc,
        ..PLAIN
    },
    Server {
        name: "Flask, gunicorn gthread, a GET of Redis by redis-py",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "gthread", "--threads", "8", "database_app:app"],
        path: "/redis",
        asks: Some(Kind::Redis),
        ..PLAIN
    },
    Server {
        name: "Flask, gunicorn gthread, a SELECT of PostgreSQL by psycopg",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "gthread", "--threads", "8", "database_app:app"],
        path: "/postgresql",
        asks: Some(Kind::Postgresql),
        ..PLAIN
    },
];

/// A running server.
pub struct Target {
    service: Service,
    /// Where it answers.
    pub url: String,
    /// Who asks.
    pub load: Load,
    _database: Option<Database>,
    _tls_module: Option<TempDir>,
}

impl Server {
    /// Share of the throughput that it may lose at most: where TLS is looked into, it is a little more, and more where
    /// everything is that can be in Python. Of HTTP/2 and of databases nothing is promised.
    pub const fn loss_max(&self, forced: bool) -> f64 {
        match (&self.load, self.asks) {
            (Load::Wrk, None) if forced => 0.10,
            (Load::Wrk, None) if self.tls => 0.04,
            (Load::Wrk, None) => 0.02,
            _ => f64::INFINITY,
        }
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&self, venv: &Path, sources: &Path, logs: &Path, interrupt: &Interrupt) -> Result<Target> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", CPU]).arg(venv.join("bin").join(self.program)).args(self.arguments);
        match self.address {
            Address::Bind => command.args(["--bind", &format!("127.0.0.1:{port}")]),
            Address::HostAndPort => command.args(["--host", "127.0.0.1", "--port", &port.to_string()]),
        };
        let tls_module = self.tls.then(|| own_tls_module(venv, logs)).transpose()?;
        if let Some(module) = &tls_module {
            let (certificate, key) = certificate(logs)?;
            command.arg("--ssl-certfile").arg(certificate).arg("--ssl-keyfile").arg(key);
            command.env("PYTHONPATH", module.path());
        }
        let database = self.asks.map(|kind| Database::start(kind, interrupt)).transpose()?;
        if let Some(database) = &database {
            command.env("DATABASE_PORT", database.port.to_string());
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(sources);
        let log = logs.join(self.program).with_extension("log");
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}{}", self.path);
        let service = Service::start_on(&mut command, &log, port, interrupt)?;
        Ok(Target { service, url, load: self.load, _database: database, _tls_module: tls_module })
    }
}

/// A certificate that nobody checks, and its key, as small as clients take today.
fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost", "-out"]).arg(&certificate).arg("-keyout").arg(&key);
    shell::read(&mut openssl)?;
    Ok((certificate, key))
}

/// A folder with a copy of the interpreter's TLS module, for one server alone: a probe in a file is in every process that has it,
/// and the server beside the watched one is to pay for none.
fn own_tls_module(venv: &Path, scratch: &Path) -> Result<TempDir> {
    let mut python = Command::new(venv.join("bin/python"));
    let file = shell::read(python.args(["-c", "import _ssl; print(_ssl.__file__)"]))?;
    let file = Path::new(file.trim());
    let name = file.file_name().context("the interpreter's `_ssl` is no file")?;
    let folder =
        TempDir::new_in(scratch).with_context(|| format!("make a folder in {}", scratch.display()))?;
    fs::copy(file, folder.path().join(name)).with_context(|| format!("copy {}", file.display()))?;
    Ok(folder)
}

impl Target {
    /// The first process: gunicorn's master, uvicorn itself.
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// The process that answers requests.
    pub fn worker(&self) -> u32 {
        procfs::last_descendant(self.pid())
    }
}
