//! A stand-in Stardust server in a terminal: prints what clients do, and the totals whenever they change.

#![forbid(unsafe_code)]

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tests::stardust::StarServer;
use tests::stardust::journal::Record;

/// A stand-in Stardust server: takes logins, reports and pings, and prints them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 6600)]
    port: u16,
    /// Listen on every address, not on 127.0.0.1 only.
    #[arg(long)]
    all: bool,
    /// Speak HTTPS, and write the certificate of the CA made for it here.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let ip = if arguments.all { [0, 0, 0, 0] } else { [127, 0, 0, 1] };
    let server = StarServer::start_at(SocketAddr::from((ip, arguments.port)), arguments.ca_file.is_some())?;
    if let (Some(path), Some(pem)) = (&arguments.ca_file, server.ca_pem()) {
        std::fs::write(path, pem).with_context(|| format!("write {}", path.display()))?;
    }
    let records = server.listen();
    let mut out = stdout().lock();
    writeln!(out, "listening on {}", server.url())?;
    for record in records {
        match &record {
            Record::Call(_) => continue,
            Record::Report(report) => {
                writeln!(out, "{record}")?;
                print_totals(&mut out, &server, &report.app)?;
            }
            _ => writeln!(out, "{record}")?,
        }
        out.flush()?;
    }
    Ok(())
}

fn print_totals(out: &mut impl std::io::Write, server: &StarServer, app: &str) -> std::io::Result<()> {
    for totals in server.totals(app).values() {
        let samples = totals.samples.len() + totals.error_samples.len();
        let (name, total, errors) = (&totals.name, totals.total, totals.errors);
        let mean_ms = totals.cost_ms / total.max(1);
        writeln!(out, "         {total:>8} {errors:>6} errors {mean_ms:>6} ms {samples:>4} samples  {name}")?;
    }
    Ok(())
}
