//! Real database servers, each with its data in a folder of its own, on a free port.
//!
//! Invariant: a server that was started answers, runs without root's rights where it insists on that, and ends with
//! its value.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::unistd::User;
use tempfile::TempDir;

use crate::certificate::certificate;
use crate::process::ProcessTree;
use crate::server::Endpoint;

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_mins(1);

/// What the tests ask for, for PostgreSQL and MariaDB alike.
const TABLES: &str = "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(100));
INSERT INTO items VALUES (1, 'a secret'), (2, 'b');
CREATE TABLE log (text VARCHAR(100));
CREATE TABLE numbers (n INT);
";

/// A running database server.
#[derive(Debug)]
pub struct Database {
    /// Its port on 127.0.0.1.
    pub port: u16,
    process: ProcessTree,
    folder: TempDir,
}

/// A user without rights, and a folder that is theirs.
struct Home {
    user: User,
    folder: TempDir,
}

impl Home {
    fn new() -> anyhow::Result<Self> {
        let user = User::from_name("nobody")?.context("there is a user nobody")?;
        let folder = tempfile::tempdir().context("make a folder")?;
        chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .context("give the folder away")?;
        certificate()?.write(folder.path())?;
        let key = folder.path().join("key.pem");
        // PostgreSQL insists on a key that nobody else can read.
        chown(&key, Some(user.uid.as_raw()), Some(user.gid.as_raw())).context("give the key away")?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).context("hide the key")?;
        Ok(Self { user, folder })
    }

    /// A file in the folder.
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw()).current_dir(self.folder.path());
        command.env("HOME", self.folder.path()).env("LC_ALL", "C");
        command
    }

    /// Starts a server and waits until it answers.
    fn serve(self, command: Command, port: u16, answers: impl Fn() -> bool) -> anyhow::Result<Database> {
        let mut process = ProcessTree::spawn(command, self.folder.path().join("log"))?;
        process.wait_until(START_LIMIT, answers)?;
        Ok(Database { port, process, folder: self.folder })
    }
}

impl Database {
    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What a client that speaks TLS to it must trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// PostgreSQL with a database `shop`, open to the user `app`, in the clear and with TLS.
    pub fn postgresql() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let programs = postgresql_programs()?;
        let data = home.folder.path().join("data");
        let mut init = home.command(programs.join("initdb"));
        init.args(["--username=app", "--auth=trust", "--no-sync", "--encoding=UTF8", "--pgdata"]).arg(&data);
        run(&mut init)?;
        let numbers = "INSERT INTO numbers SELECT generate_series(1, 5000);\n";
        let mut single = home.command(programs.join("postgres"));
        feed(single.args(["--single", "-D"]).arg(&data).arg("postgres"), "CREATE DATABASE shop;\n")?;
        let mut single = home.command(programs.join("postgres"));
        let script = format!("{TABLES}{numbers}");
        feed(single.args(["--single", "-j", "-D"]).arg(&data).arg("shop"), &script.replace(";\n", ";\n\n"))?;
        let mut server = home.command(programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-F", "-k", ""]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "logging_collector=off", "-c", "ssl=on"]);
        server.args(["-c", &format!("ssl_cert_file={}", home.path("cert.pem"))]);
        server.args(["-c", &format!("ssl_key_file={}", home.path("key.pem"))]);
        // Refuses until it is ready: only then is the answer to a startup an `R`.
        home.serve(server, port, || answers(port, &startup(), b'R'))
    }

    /// MariaDB with a database `shop`, open to the user `app`, in the clear and with TLS.
    pub fn mariadb() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let data = home.folder.path().join("data");
        let mut init = home.command("mariadb-install-db");
        init.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        run(init.arg(format!("--datadir={}", data.display())))?;
        let script = home.folder.path().join("init.sql");
        let text = format!(
            "CREATE DATABASE shop;
CREATE USER app@localhost;
CREATE USER app@'127.0.0.1';
GRANT ALL ON shop.* TO app@localhost;
GRANT ALL ON shop.* TO app@'127.0.0.1';
USE shop;
{TABLES}INSERT INTO numbers SELECT seq FROM seq_1_to_5000;
CREATE DEFINER=app@localhost PROCEDURE two_results() SELECT 1 UNION SELECT 2;
"
        );
        fs::write(&script, text).context("write what the server is to begin with")?;
        let mut server = home.command("mariadbd");
        server.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin"]);
        server.arg(format!("--port={port}")).arg(format!("--datadir={}", data.display()));
        server.arg(format!("--socket={}", home.folder.path().join("socket").display()));
        server.arg(format!("--init-file={}", script.display()));
        server.arg(format!("--ssl-cert={}", home.path("cert.pem")));
        server.arg(format!("--ssl-key={}", home.path("key.pem")));
        home.serve(server, port, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Redis that keeps nothing; if it is to be `encrypted`, it speaks TLS only.
    pub fn redis(encrypted: bool) -> anyhow::Result<Self> {
        if encrypted { Self::redis_tls() } else { Self::redis_clear() }
    }

    fn redis_clear() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let mut server = redis_server(&home);
        server.args(["--port", &port.to_string()]);
        home.serve(server, port, || answers(port, b"PING\r\n", b'+'))
    }

    fn redis_tls() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let mut server = redis_server(&home);
        server.args(["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        server.args(["--tls-cert-file", &home.path("cert.pem"), "--tls-key-file", &home.path("key.pem")]);
        server.args(["--tls-ca-cert-file", &home.path("cert.pem")]);
        home.serve(server, port, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Memcached; if it is to be `encrypted`, it speaks TLS only.
    pub fn memcached(encrypted: bool) -> anyhow::Result<Self> {
        if encrypted { Self::memcached_tls() } else { Self::memcached_clear() }
    }

    fn memcached_clear() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let server = memcached_server(&home, port);
        home.serve(server, port, || answers(port, b"version\r\n", b'V'))
    }

    fn memcached_tls() -> anyhow::Result<Self> {
        let (home, port) = (Home::new()?, free_port()?);
        let mut server = memcached_server(&home, port);
        let files = format!("ssl_chain_cert={},ssl_key={}", home.path("cert.pem"), home.path("key.pem"));
        server.args(["-Z", "-o", &files]);
        home.serve(server, port, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }
}

fn redis_server(home: &Home) -> Command {
    let mut server = home.command("redis-server");
    server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    server
}

fn memcached_server(home: &Home, port: u16) -> Command {
    let mut server = home.command("memcached");
    server.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0"]);
    server
}

fn free_port() -> anyhow::Result<u16> {
    match Endpoint::free()? {
        Endpoint::Tcp(address) => Ok(address.port()),
        Endpoint::Unix(_) | Endpoint::Tls(_) => anyhow::bail!("a free port is one of TCP"),
    }
}

/// Whether what listens there answers so to these bytes.
fn answers(port: u16, asked: &[u8], first: u8) -> bool {
    let answer = || -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(asked)?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    answer().is_ok_and(|byte| byte == first)
}

/// PostgreSQL's first message of a client.
fn startup() -> Vec<u8> {
    let parameters = b"user\0app\0database\0shop\0\0";
    let mut bytes = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 3, 0, 0]);
    bytes.extend_from_slice(parameters);
    bytes
}

/// Where `initdb` and `postgres` are: Debian keeps them out of the way, others do not.
fn postgresql_programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.push(PathBuf::from("/usr/bin"));
    let found = folders.into_iter().find(|folder| folder.join("initdb").exists());
    found.context("no initdb: install PostgreSQL's server")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs a command that reads `text`.
fn feed(command: &mut Command, text: &str) -> anyhow::Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    child.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !said.contains("ERROR"), "{command:?}: {said}");
    Ok(())
}
