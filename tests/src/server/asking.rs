//! The servers of `lineage_app.py`, which call another server, and that of `fan_app.py`, which needs less.

use std::process::Command;

use anyhow::Context as _;

use super::{Endpoint, IDLE_SECONDS, Server};
use crate::venv::{Venv, apps_folder};

/// The last one that sends later what it is given.
const OLD_UVLOOP: &str = "uvloop==0.22.1";

impl Server {
    /// One of them by its name, in this environment.
    pub fn asking(venv: &Venv, kind: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free()?;
        let (port, bind) = (endpoint.port(), endpoint.to_string());
        let (program, app) = match kind {
            "gthread" | "gevent" => ("gunicorn", "lineage_app:wsgi"),
            "hypercorn" => ("hypercorn", "lineage_app:asgi"),
            "daphne" => ("daphne", "lineage_app:asgi"),
            "uvicorn_layered" => ("uvicorn", "lineage_app:layered"),
            "uvicorn_handed_over" => ("uvicorn", "lineage_app:handed_over"),
            "uvicorn_alone" => ("uvicorn", "fan_app:app"),
            "django" => ("uvicorn", "lineage_app:django"),
            "waitress" => ("waitress-serve", "lineage_app:wsgi"),
            "aiohttp" | "tornado" | "threads" => ("python", "lineage_app.py"),
            "twisted" => ("python", "twisted_app.py"),
            _ => ("uvicorn", "lineage_app:asgi"),
        };
        let arguments: &[&str] = match kind {
            "uvicorn_h11" | "uvicorn_layered" | "uvicorn_handed_over" | "uvicorn_alone" => {
                &["--http", "h11", "--loop", "asyncio"]
            }
            "uvicorn_uvloop" | "uvicorn_old_uvloop" => &["--http", "httptools", "--loop", "uvloop"],
            "django" => &["--http", "httptools", "--loop", "asyncio", "--lifespan", "off"],
            "gthread" => &["--threads", "32"],
            "gevent" => &["--worker-class", "gevent"],
            "uvicorn_httptools" => &["--http", "httptools", "--loop", "asyncio"],
            _ => &[],
        };
        let mut command = Command::new(venv.program(program));
        match program {
            "uvicorn" => {
                command.args(["--timeout-keep-alive", IDLE_SECONDS, "--no-access-log", "--port", &port, app])
            }
            "python" => command.arg(apps_folder().join(app)).args([kind, &port]),
            // It lets no more than 50 wait to be accepted unless told otherwise.
            "daphne" => command.args([
                "--endpoint",
                &format!("tcp:port={port}:interface=127.0.0.1:backlog=1024"),
                app,
            ]),
            "waitress-serve" => command.args(["--threads", "16", "--listen", &bind, app]),
            _ => command.args(["--bind", &bind, app]),
        };
        if kind == "uvicorn_old_uvloop" {
            command.env("PYTHONPATH", venv.package(OLD_UVLOOP)?);
        }
        let folder = tempfile::tempdir().context("make a folder")?;
        // Where newer releases of gunicorn listen for commands.
        command.args(arguments).env("XDG_RUNTIME_DIR", folder.path()).current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }
}
