//! `cargo xtask demo`: the probe on an unmodified, running Flask app.
//!
//! It ends with a check: as many server spans as requests were made.

mod summary;
mod terminal;
mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::probe::Probe;
use crate::service::{Service, free_port};
use crate::{build, packages, python, shell, workspace};
use terminal::Terminal;
use traffic::Traffic;

/// What `--server` takes for a stand-in that is started on this machine.
const STAND_IN: &str = "stand-in";

/// Where to report, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// Report to this Stardust server too; `stand-in` starts one here and shows what arrived.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Seconds of traffic.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Starts the shop, its traffic and the probe, shows what the probe shows, and compares.
pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    packages::ensure(&[packages::BUILD, packages::PYTHON_APPS])?;
    shell::become_root()?;
    let binary = build::release()?;
    let sources = workspace::root().join("xtask/demo");
    let venv = python::environment("demo-venv", &sources.join("requirements.txt"))?;
    let scratch = workspace::target()?.join("demo");
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let stage = Stage { sources, venv, scratch, interrupt };

    // Building it may take longer than the shop keeps its clients' connections.
    let stand_in = stage.stand_in(options)?;
    let (stock_port, shop_port) = (free_port()?, free_port()?);
    let _stock = stage.start_stock(stock_port)?;
    let shop = stage.start_shop(shop_port, stock_port)?;
    shell::step(&format!(
        "an unmodified Flask app runs under gunicorn: master {}, port {shop_port}",
        shop.pid()
    ));
    let mut traffic = Traffic::prepare(&stage.venv, &stage.sources, shop_port, options.seconds)?;
    shell::step("its clients have their connections open; now the probe attaches");

    let mut arguments = vec!["--format".to_owned(), "table".to_owned()];
    arguments.extend(["--state-dir".to_owned(), stage.scratch.join("state").display().to_string()]);
    if let Some(url) = stand_in.as_ref().map(|server| &server.url).or(options.server.as_ref()) {
        arguments.extend(["--server".to_owned(), url.clone()]);
    }
    let terminal = Terminal::open()?;
    let probe =
        Probe::attach(&binary, shop.pid(), (&arguments, &[]), (terminal.output, true), &stage.interrupt)?;
    traffic.start()?;
    let made = stage
        .interrupt
        .wait_for("the traffic", Duration::from_secs(options.seconds + 60), || traffic.finished())?;
    probe.stop()?;
    let shown = terminal.shown.join().unwrap_or_default();
    if let Some(server) = stand_in {
        shell::step("what the stand-in server says it took");
        print!(
            "{}",
            fs::read_to_string(&server.log).with_context(|| format!("read {}", server.log.display()))?
        );
    }
    compare(&made, &shown)
}

/// Says how many requests there were and how many were seen.
fn compare(made: &traffic::Ledger, shown: &str) -> Result<()> {
    println!();
    for (what, count) in &made.by_kind {
        println!("{count:>8}  {what}");
    }
    let Some(seen) = summary::server_spans(shown) else { bail!("the probe printed no summary") };
    println!("{:>8}  requests made, {seen} server spans seen", made.total());
    if made.total() != seen {
        bail!("{} requests were made, but {seen} server spans seen", made.total());
    }
    println!("every request was seen, and none twice");
    Ok(())
}

/// Where the demo's parts come from and leave their traces.
struct Stage {
    sources: PathBuf,
    venv: PathBuf,
    scratch: PathBuf,
    interrupt: Interrupt,
}

impl Stage {
    fn log(&self, name: &str) -> PathBuf {
        self.scratch.join(name).with_extension("log")
    }

    fn start(&self, name: &str, command: &mut Command, port: u16) -> Result<Service> {
        Service::start_on(command, &self.log(name), port, &self.interrupt)
    }

    fn start_stock(&self, port: u16) -> Result<Service> {
        let mut stock = Command::new(self.venv.join("bin/python"));
        self.start("stock", stock.arg(self.sources.join("stock.py")).arg(port.to_string()), port)
    }

    fn start_shop(&self, port: u16, stock_port: u16) -> Result<Service> {
        let mut shop = Command::new(self.venv.join("bin/gunicorn"));
        shop.args(["--workers", "2", "--threads", "4", "--keep-alive", "60"])
            .args(["--bind", &format!("127.0.0.1:{port}"), "shop:app"])
            .env("STOCK_URL", format!("http://127.0.0.1:{stock_port}"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&self.sources);
        self.start("shop", &mut shop, port)
    }

    /// The stand-in server, where it is asked for.
    fn stand_in(&self, options: &Options) -> Result<Option<StandIn>> {
        if options.server.as_deref() != Some(STAND_IN) {
            return Ok(None);
        }
        shell::run(
            shell::cargo()
                .args(["build", "--quiet", "--package", "tests", "--bin", "star-server"])
                .current_dir(workspace::root()),
        )?;
        let port = free_port()?;
        let program = workspace::target()?.join("debug/star-server");
        let service =
            self.start("star-server", Command::new(program).args(["--port", &port.to_string()]), port)?;
        Ok(Some(StandIn {
            _service: service,
            url: format!("http://127.0.0.1:{port}"),
            log: self.log("star-server"),
        }))
    }
}

/// A Stardust server of our own, running.
struct StandIn {
    _service: Service,
    url: String,
    log: PathBuf,
}

/// The interpreter of an environment.
fn interpreter(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}
