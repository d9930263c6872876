//! The exporters that the configuration asks for, from their opening to their last word.
//!
//! Invariant: one that cannot be closed in time is left behind and said so; it holds up nobody else.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use report::Exporter;
use report::console::{self, Console, Format};
use report::stardust;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::config::{OutputConfig, OutputFormat, StardustConfig};
use crate::discover::Proc;
use crate::exit::{Exit, Failure};
use crate::live::Wish;

/// For the last spans and the summary.
const CONSOLE_LIMIT: Duration = Duration::from_secs(1);
/// For the last reports; the exporter itself gives up a little earlier.
const STARDUST_LIMIT: Duration = Duration::from_millis(3700);

/// What is open.
#[derive(Default)]
pub struct Outputs {
    console: Option<(Arc<Console>, console::Task)>,
    stardust: Option<Link>,
}

/// The exporter to a server, and what drives it.
struct Link {
    exporter: Arc<stardust::Stardust>,
    driver: JoinHandle<()>,
    stop: CancellationToken,
}

impl Outputs {
    /// Opens the terminal's exporter, unless the configuration wants none.
    pub fn open_console(&mut self, config: &OutputConfig, has_server: bool) -> Result<(), Failure> {
        let is_terminal = io::stdout().is_terminal();
        let format = match config.format.resolve(is_terminal, has_server) {
            OutputFormat::Table => Format::Table,
            OutputFormat::Json => Format::Json,
            OutputFormat::Auto | OutputFormat::None => return Ok(()),
        };
        let no_color = std::env::var("NO_COLOR").ok();
        let settings = console::Settings {
            color: config.color.resolve(is_terminal, no_color.as_deref()),
            ..console::Settings::new(format, cli::columns)
        };
        let outputs = console::Outputs { spans: Box::new(io::stdout()), summary: Box::new(io::stderr()) };
        let opened = console::open(settings, outputs);
        self.console = Some(opened.map_err(|error| Failure::io("cannot start the console", &error))?);
        Ok(())
    }

    /// Opens the exporter to Stardust, if a server is named. What the server asks for goes to `wishes`.
    pub fn open_stardust(
        &mut self,
        runtime: &Runtime,
        config: &StardustConfig,
        wishes: Sender<Wish>,
    ) -> Result<(), Failure> {
        if config.servers.is_empty() {
            return Ok(());
        }
        let vitals = Arc::new(|pid| Proc::default().vitals(pid));
        // The pipeline is gone only when the probe stops; then nobody minds.
        let remote = move |remote| {
            let (outcome, told_later) = oneshot::channel();
            drop(wishes.send(Wish { remote, outcome }));
            told_later
        };
        let opened = stardust::open(config.settings(), vitals, remote);
        let (exporter, task) =
            opened.map_err(|error| Failure::new(Exit::Usage, "cannot report to Stardust").because(error))?;
        let stop = CancellationToken::new();
        let driver = runtime.spawn(task.run(stop.clone()));
        self.stardust = Some(Link { exporter, driver, stop });
        Ok(())
    }

    /// Everything that spans go to.
    pub fn exporters(&self) -> Vec<Arc<dyn Exporter>> {
        let console = self.console.iter().map(|(console, _)| Arc::clone(console) as Arc<dyn Exporter>);
        let stardust = self.stardust.iter().map(|link| Arc::clone(&link.exporter) as Arc<dyn Exporter>);
        console.chain(stardust).collect()
    }

    /// Whether the reader of stdout is gone.
    pub fn is_closed(&self) -> bool {
        self.console.as_ref().is_some_and(|(console, _)| console.output_closed())
    }

    /// Why stdout cannot be written, if it is not that its reader has left.
    pub fn failure(&self) -> Option<Failure> {
        let why = self.console.as_ref()?.0.failure()?;
        let failure = Failure::new(Exit::Io, "cannot write spans to stdout").because(why);
        Some(failure.hint("make room, or send them elsewhere"))
    }

    /// Waits until the reader of stdout is gone; for ever where there is none.
    pub async fn closed(&self) {
        match &self.console {
            Some((console, _)) => console.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Says the last word everywhere, and closes.
    pub async fn close(&mut self) {
        let stardust = self.stardust.as_mut().map(|link| {
            link.stop.cancel();
            timeout(STARDUST_LIMIT, &mut link.driver)
        });
        // The console's last word is short; the server is spoken to meanwhile.
        let stardust = async {
            match stardust {
                Some(closing) => closing.await.map_or(Err("did not stop in time"), |end| {
                    end.map_err(|_| "has failed; what was not reported is lost")
                }),
                None => Ok(()),
            }
        };
        if let Err(why) = stardust.await {
            tracing::error!("the exporter to Stardust {why}");
        }
        self.close_console();
    }

    /// Writes what waits for the terminal, and the summary.
    pub fn close_console(&mut self) {
        if let Some((_, task)) = self.console.take()
            && !task.close(CONSOLE_LIMIT)
        {
            tracing::error!("stdout does not take what is left in time");
        }
    }
}
