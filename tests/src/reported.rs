//! A watched server that reports to a stand-in Stardust server, and the totals that must arrive there.
//!
//! Invariant: the expected totals follow from what the client asked for, not from what the probe says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::client::Request;
use crate::server::Server;
use crate::stardust::StarServer;
use crate::stardust::wire::Sample;
use crate::watch::Watch;

/// The name under which the app reports.
pub const APP: &str = "flask_app";
/// How long a report, a rule or a login may take to get through.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Shorter waits than in production, so that a test sees them end.
const CONFIG: &str = "[stardust]\ntimeout_s = 1\nping_s = 1\n";

/// Gunicorn with one worker, the probe on it, and how many requests of each kind it was sent.
#[derive(Debug)]
pub struct Reported {
    /// The server and the probe.
    pub watch: Watch,
    sent: BTreeMap<&'static str, (i64, i64)>,
    requests: usize,
    _folder: TempDir,
}

/// A server that knows the app, wants a report each second, and lets the app in.
pub fn star() -> anyhow::Result<StarServer> {
    let star = StarServer::start()?;
    prepare(&star);
    Ok(star)
}

/// Lets the app in, with a report each second.
pub fn prepare(star: &StarServer) {
    star.edit_tracer(APP, |tracer| tracer.period_s = 1);
}

/// Total and errors by name, over all `servers`.
pub fn totals(servers: &[&StarServer]) -> BTreeMap<String, (i64, i64)> {
    let mut sum = BTreeMap::<String, (i64, i64)>::new();
    for (name, totals) in servers.iter().flat_map(|star| star.totals(APP)) {
        let (total, errors) = sum.entry(name).or_default();
        *total += totals.total;
        *errors += totals.errors;
    }
    sum
}

/// Every sample of the app, by name.
pub fn samples(star: &StarServer) -> BTreeMap<String, Vec<Sample>> {
    let totals = star.totals(APP).into_iter();
    totals.map(|(name, totals)| (name, [totals.samples, totals.error_samples].concat())).collect()
}

impl Reported {
    /// Starts the server, and the probe with these arguments and these lines of configuration.
    pub fn start(arguments: &[&str], config: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let file = folder.path().join("probe.toml");
        std::fs::write(&file, format!("{CONFIG}{config}")).context("write the configuration")?;
        let file = file.to_str().context("the folder's name is text")?;
        let server = Server::gunicorn("flask_app:app", &["--workers", "1"])?;
        let watch = Watch::with(server, &[arguments, &["--config", file]].concat())?;
        Ok(Self { watch, sent: BTreeMap::new(), requests: 0, _folder: folder })
    }

    /// Sends so many rounds of good and failing requests.
    pub fn ask(&mut self, rounds: usize) -> anyhow::Result<()> {
        for _ in 0..rounds {
            self.requests += 1;
            let n = self.requests;
            self.watch.get(&format!("/fast?n={n}"), 200, "GET /fast")?;
            self.watch.get(&format!("/items/{n}"), 200, "GET /items/{id}")?;
            self.watch.get(&format!("/boom?n={n}"), 500, "GET /boom")?;
        }
        let rounds = rounds as i64;
        for (name, errors) in [("/fast", 0), ("/items/{id}", 0), ("/boom", rounds)] {
            let sent = self.sent.entry(name).or_default();
            *sent = (sent.0 + rounds, sent.1 + errors);
        }
        Ok(())
    }

    /// Sends one request, which is not expected in the totals.
    pub fn ask_aside(&mut self, request: Request) -> anyhow::Result<()> {
        self.watch.ask(request).map(drop)
    }

    /// What must have arrived.
    pub fn expected(&self) -> BTreeMap<String, (i64, i64)> {
        self.sent.iter().map(|(name, sent)| ((*name).to_owned(), *sent)).collect()
    }

    /// Waits until all that was sent has arrived at these servers, each request once.
    pub fn wait_for_totals(&self, servers: &[&StarServer]) -> anyhow::Result<()> {
        let last = servers.last().context("there is a server")?;
        let arrived = last.wait_until(LIMIT, |_| totals(servers) == self.expected());
        let refusals: Vec<_> = servers.iter().flat_map(|star| star.refusals()).collect();
        let (found, log) = (totals(servers), self.watch.probe.log());
        ensure!(arrived, "{found:?}, not {:?}\nrefused: {refusals:?}\n{log}", self.expected());
        Ok(())
    }

    /// Stops the probe and checks the totals once more.
    pub fn finish(self, servers: &[&StarServer]) -> anyhow::Result<()> {
        let expected = self.expected();
        self.watch.finish(0)?;
        let found = totals(servers);
        ensure!(found == expected, "at the end {found:?}, not {expected:?}");
        Ok(())
    }
}
