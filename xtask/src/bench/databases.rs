//! The databases that measured servers ask, on the CPU of the load.
//!
//! Invariant: one that was started takes connections, and is gone with its value, its data too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::load;
use crate::interrupt::Interrupt;
use crate::service::{Service, free_port};
use crate::shell;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Redis that keeps nothing.
    Redis,
    /// PostgreSQL, open to the user `app`.
    Postgresql,
}

/// A running one.
pub struct Database {
    /// Ends before its folder goes.
    _service: Service,
    folder: PathBuf,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Database {
    /// Starts one and waits until it takes connections.
    pub fn start(kind: Kind, interrupt: &Interrupt) -> Result<Self> {
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("bench-database-{port}"));
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        let mut command = match kind {
            Kind::Redis => {
                let mut command = on_the_loads_cpu();
                command.args(["redis-server", "--bind", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--save", "", "--appendonly", "no"]);
                command
            }
            Kind::Postgresql => postgresql(&folder, port)?,
        };
        command.current_dir(&folder);
        let service = Service::start_on(&mut command, &folder.join("log"), port, interrupt)?;
        Ok(Self { _service: service, folder, port })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What is left of it lies among temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn on_the_loads_cpu() -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", load::CPU]);
    command
}

/// Makes its data. It insists on not being root, and finds its own files from where it really is.
fn postgresql(folder: &Path, port: u16) -> Result<Command> {
    shell::run(Command::new("chown").arg("nobody").arg(folder))?;
    let initdb = shell::find_below("initdb", "/usr/lib/postgresql")
        .context("no initdb: install PostgreSQL's server")?
        .canonicalize()?;
    let as_nobody = |program: &Path| {
        let mut command = on_the_loads_cpu();
        command.args(["setpriv", "--reuid", "nobody", "--clear-groups"]).arg(program);
        command.arg("-D").arg(folder.join("data")).current_dir(folder);
        command
    };
    shell::read(as_nobody(&initdb).args(["--username=app", "--auth=trust", "--no-sync"]))?;
    let mut server = as_nobody(&initdb.with_file_name("postgres"));
    server.args(["-p", &port.to_string(), "-F", "-k", "", "-c", "listen_addresses=127.0.0.1"]);
    Ok(server)
}
