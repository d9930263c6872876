//! Servers that speak TLS themselves. Their folder holds `cert.pem`, which a client must trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Endpoint, IDLE_SECONDS, Pass, Server, nginx_config};
use crate::certificate::certificate;
use crate::venv::{Venv, apps_folder};

impl Server {
    /// gunicorn with `app`, with more arguments of its own.
    pub fn gunicorn_tls(app: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, files) = Self::tls_folder("--certfile", "--keyfile")?;
        let mut command = Command::new(Venv::open()?.program("gunicorn"));
        command.args(["--bind", &endpoint.to_string(), "--no-control-socket"]).args(files);
        command.args(["--keep-alive", IDLE_SECONDS]);
        command.args(arguments).arg(app).current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }

    /// uvicorn with `app` on an event loop (`asyncio` or `uvloop`).
    pub fn uvicorn_tls(app: &str, event_loop: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, files) = Self::tls_folder("--ssl-certfile", "--ssl-keyfile")?;
        let mut command = Command::new(Venv::open()?.program("uvicorn"));
        command.args(["--loop", event_loop, "--no-access-log", "--port", &endpoint.port()]).args(files);
        command.args(["--timeout-keep-alive", IDLE_SECONDS]).arg(app).current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }

    /// hypercorn with `app`.
    pub fn hypercorn_tls(app: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, files) = Self::tls_folder("--certfile", "--keyfile")?;
        let mut command = Command::new(Venv::open()?.program("hypercorn"));
        command.args(["--bind", &endpoint.to_string(), "--keep-alive", IDLE_SECONDS]).args(files);
        command.arg(app).current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }

    /// A gRPC server made with `library`: grpclib, or grpcio, which brings its own TLS along.
    pub fn grpc_tls(library: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, [_, certificate, _, key]) = Self::tls_folder("", "")?;
        let mut command = Venv::open()?.script("grpc_app.py");
        command.args([library, "serve", &endpoint.port(), &certificate, &key]);
        command.current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }

    /// A script in `tests/apps` that needs nothing but the standard library, run by this interpreter, on the port it is
    /// told, with this certificate and key.
    pub fn script_tls_of(interpreter: &Path, name: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, [_, certificate, _, key]) = Self::tls_folder("", "")?;
        let mut command = Command::new(interpreter);
        command.arg(apps_folder().join(name)).args([&endpoint.port(), &certificate, &key]);
        command.current_dir(apps_folder());
        Self::start_in(command, endpoint, folder)
    }

    /// nginx before the `upstream`, speaking this version of TLS (`TLSv1.2`).
    pub fn nginx_tls(upstream: &Endpoint, version: &str) -> anyhow::Result<Self> {
        Self::nginx_listening(upstream, "ssl", version)
    }

    /// nginx before the `upstream`, speaking TLS 1.3 and in it HTTP/2.
    pub fn nginx_tls_http2(upstream: &Endpoint) -> anyhow::Result<Self> {
        Self::nginx_listening(upstream, "ssl http2", "TLSv1.3")
    }

    fn nginx_listening(upstream: &Endpoint, how: &str, version: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::free_tls()?;
        let (folder, _) = Self::tls_folder("", "")?;
        let config = folder.path().join("nginx.conf");
        let (files, listen) = (folder.path().display(), format!("{endpoint} {how}"));
        let server = format!(
            "ssl_certificate {files}/cert.pem;
        ssl_certificate_key {files}/key.pem;
        ssl_protocols {version};
        keepalive_requests 10000;"
        );
        let text = nginx_config(folder.path(), (&listen, &server), Pass::Http, upstream);
        fs::write(&config, text).context("write nginx.conf")?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&config).args(["-e", "stderr"]);
        Self::start_in(command, endpoint, folder)
    }

    /// What a client must trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder().join("cert.pem")
    }

    /// A folder with the certificate, and the arguments that name it.
    fn tls_folder(
        certificate_flag: &str,
        key_flag: &str,
    ) -> anyhow::Result<(tempfile::TempDir, [String; 4])> {
        let folder = tempfile::tempdir().context("make a folder")?;
        certificate()?.write(folder.path())?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let files = [certificate_flag.to_owned(), path("cert.pem"), key_flag.to_owned(), path("key.pem")];
        Ok((folder, files))
    }
}
