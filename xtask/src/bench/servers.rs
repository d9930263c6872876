//! The servers that are measured: one worker each, alone on the first CPU.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::procfs;
use crate::service::{Service, free_port};

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
}

enum Address {
    /// `--bind HOST:PORT`
    Bind,
    /// `--host HOST --port PORT`
    HostAndPort,
}

/// What is measured. The routes answer a few bytes and do nothing else, so that the probe weighs most.
pub const SERVERS: &[Server] = &[
    Server {
        name: "Flask, gunicorn sync",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "sync", "flask_app:app"],
        address: Address::Bind,
    },
    Server {
        name: "Flask, gunicorn gthread",
        program: "gunicorn",
        arguments: &["--workers", "1", "--worker-class", "gthread", "--threads", "8", "flask_app:app"],
        address: Address::Bind,
    },
    Server {
        name: "FastAPI, uvicorn httptools",
        program: "uvicorn",
        arguments: &["--workers", "1", "--http", "httptools", "--no-access-log", "fastapi_app:app"],
        address: Address::HostAndPort,
    },
];

/// A running server.
pub struct Target {
    service: Service,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// Starts it and waits until it takes connections.
    pub fn start(&self, venv: &Path, sources: &Path, logs: &Path, interrupt: &Interrupt) -> Result<Target> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", CPU]).arg(venv.join("bin").join(self.program)).args(self.arguments);
        match self.address {
            Address::Bind => command.args(["--bind", &format!("127.0.0.1:{port}")]),
            Address::HostAndPort => command.args(["--host", "127.0.0.1", "--port", &port.to_string()]),
        };
        command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(sources);
        let log = logs.join(self.program).with_extension("log");
        Ok(Target { service: Service::start_on(&mut command, &log, port, interrupt)?, port })
    }
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
