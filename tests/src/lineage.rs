//! Requests that each call another server three times, and whose spans those calls are.
//!
//! Invariant: which call belongs to which request is told by the numbers in their targets alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::client::{Connection, Request};
use crate::probe::{Probe, SpanLine};
use crate::server::{Endpoint, Server};
use crate::venv::Venv;

/// Calls of each request.
const CALLS: usize = 3;
const BODY_BYTES: usize = 1 << 20;
/// How long a process may take to be followed, and spans to come.
const LIMIT: Duration = Duration::from_secs(20);

/// What clients do. Each has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One request each.
    Once,
    /// Three requests each, one after the other on the same connection.
    Kept,
    /// Three requests each, in one piece.
    Pipelined,
    /// One request each, of which every other client does not await the answer.
    Cancelled,
    /// One request each, with a body of a MiB, answered by one of a MiB.
    Bodies,
    /// One request each, all of them on one connection, over HTTP/2.
    Streams,
}

/// How the server calls.
#[derive(Debug, Clone, Copy)]
pub struct Fan<'a> {
    /// The library.
    pub client: &'a str,
    /// `in_turn`, `sync` (in turn, in a thread of a pool), or one of the ways to call three times at once.
    pub style: &'a str,
}

/// Whether the probe looks which task starts which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Never.
    Off,
    /// As soon as some call shows that to be needed.
    Auto,
    /// From the start.
    Always,
}

/// What the probe says once it sees which task starts which.
pub const SEES: &str = "looking at which task starts which";
/// Numbers of requests that are only made to have it look are at least this.
const FIRST_WARMING: usize = 1_000_000;

/// Whose the calls are.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls seen.
    pub calls: usize,
    /// Requests seen.
    pub requests: usize,
    /// Calls whose parent is the request that made them.
    pub known: usize,
    /// Calls of requests that were answered, and how many of these are known.
    pub of_answered: usize,
    /// See above.
    pub known_of_answered: usize,
    /// Calls with another parent: each as it was told.
    pub wrong: Vec<String>,
    /// Calls without a parent, by the reason that is told.
    pub unknown: BTreeMap<String, usize>,
    /// What the probe has said, but for its loader.
    pub log: String,
}

/// Watches the server while so many clients ask it at the same time.
pub fn drive(
    server: &Server,
    sight: Sight,
    fan: Fan<'_>,
    load: Load,
    clients: usize,
) -> anyhow::Result<Tally> {
    let (leaf, workers) = (Server::crowd()?, server.workers()?);
    let lineage = match sight {
        Sight::Off => "off",
        Sight::Auto => "auto",
        Sight::Always => "always",
    };
    let environment = [("STARDUST_PROBE_PYTHON_LINEAGE", lineage)];
    let probe = Probe::attach_in(&[server.pid()], &["--log-level", "debug"], &environment)?;
    probe.wait_until_followed(&workers, LIMIT)?;
    let target = |number: usize| {
        let Fan { client, style } = fan;
        let size = if load == Load::Bodies { BODY_BYTES } else { 2 };
        let leaf = leaf.endpoint.url();
        let (path, style) = if style == "sync" { ("sync", "in_turn") } else { ("fan", style) };
        format!("/{path}?n={number}&client={client}&style={style}&size={size}&leaf={leaf}")
    };
    match sight {
        Sight::Off => {}
        Sight::Auto => {
            let warm = |number| ask(&server.endpoint, Load::Once, 0, &[target(FIRST_WARMING + number)]);
            for number in 0.. {
                warm(number)?;
                if probe.wait_for_log(SEES, Duration::from_millis(100)) {
                    break;
                }
                ensure!(number < 100, "it is never looked at which task starts which:\n{}", probe.log());
            }
        }
        Sight::Always => ensure!(probe.wait_for_log(SEES, LIMIT), "it is not looked at:\n{}", probe.log()),
    }
    let before = probe.spans().len();
    let asked = clients;
    let each = if matches!(load, Load::Kept | Load::Pipelined) { 3 } else { 1 };
    if load == Load::Streams {
        let targets: Vec<String> = (0..clients).map(target).collect();
        ask_in_streams(&server.endpoint, &targets)?;
    }
    let clients = if load == Load::Streams { 0 } else { clients };
    let outcomes = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..clients)
            .map(|lane| {
                let numbers: Vec<_> = (0..each).map(|index| lane * each + index).collect();
                let targets: Vec<String> = numbers.into_iter().map(target).collect();
                scope.spawn(move || ask(&server.endpoint, load, lane, &targets))
            })
            .collect();
        lanes.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for outcome in outcomes {
        outcome.ok().context("a client panicked")??;
    }
    let requests = asked * each;
    if load == Load::Cancelled {
        probe.wait_for_spans(before + requests, LIMIT);
    } else {
        // Calls of which the parent is not known yet come when the probe stops.
        probe.wait_for_spans(before + requests * (1 + CALLS), Duration::from_secs(2));
    }
    let (spans, log) = probe.stop_with_log()?;
    let said: Vec<&str> = log.lines().filter(|line| !line.contains(" libbpf: ")).collect();
    Ok(Tally { log: said.join("\n"), ..tally(&spans) })
}

/// All at once on one connection.
fn ask_in_streams(endpoint: &Endpoint, targets: &[String]) -> anyhow::Result<()> {
    let mut command = Venv::open()?.script("http2_asker.py");
    command.args(["at_once", &endpoint.url()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.spawn().context("start the client")?;
    let mut input = client.stdin.take().context("its input")?;
    // The first one opens the connection.
    let first = target_again(&targets[0]);
    writeln!(input, "{first}\n{}", targets.join("\n")).context("say what to ask for")?;
    drop(input);
    let said = client.wait_with_output().context("wait for the client")?;
    let statuses = String::from_utf8_lossy(&said.stdout);
    let fine = statuses.lines().filter(|status| *status == "200").count();
    ensure!(fine == targets.len(), "{fine} of {} answers are fine", targets.len());
    Ok(())
}

/// The same target with a number that is not looked at.
fn target_again(target: &str) -> String {
    let (before, after) = target.split_once("n=").unwrap_or((target, ""));
    format!("{before}n={FIRST_WARMING}{}", after.trim_start_matches(|char: char| char.is_ascii_digit()))
}

/// What one client does.
fn ask(endpoint: &Endpoint, load: Load, lane: usize, targets: &[String]) -> anyhow::Result<()> {
    let mut connection = Connection::open(endpoint)?;
    if load == Load::Cancelled && lane % 2 == 1 {
        let sent = connection.send(Request::get(&targets[0]))?;
        // From before the server has read it to the middle of its calls.
        std::thread::sleep(Duration::from_millis(lane as u64 % 40 * 5));
        connection.abandon(sent);
        return Ok(());
    }
    let entries = match load {
        Load::Pipelined => {
            let requests = targets.iter().map(|target| Request::get(target)).collect();
            let sent = connection.send_pipelined(requests)?;
            sent.into_iter().map(|sent| connection.receive(sent)).collect::<anyhow::Result<Vec<_>>>()?
        }
        Load::Bodies => vec![connection.exchange(Request::post(&targets[0], BODY_BYTES))?],
        _ => {
            let asked = targets.iter().map(|target| connection.exchange(Request::get(target)));
            asked.collect::<anyhow::Result<Vec<_>>>()?
        }
    };
    for entry in entries {
        ensure!(entry.status == Some(200), "{} gives {:?}", entry.target, entry.status);
    }
    Ok(())
}

fn tally(spans: &[SpanLine]) -> Tally {
    let mut tally = Tally::default();
    let by_id: HashMap<&str, &SpanLine> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let answered = spans.iter().filter(|span| span.kind == "server" && span.status == Some(200));
    let answered: HashSet<&str> = answered.filter(|span| span.end == "complete").map(number).collect();
    let is_warming =
        |span: &&SpanLine| number(span).parse().is_ok_and(|number: usize| number >= FIRST_WARMING);
    for span in spans.iter().filter(|span| !is_warming(span)) {
        if span.kind == "server" {
            tally.requests += 1;
            continue;
        }
        tally.calls += 1;
        let is_of_answered = answered.contains(number(span));
        tally.of_answered += usize::from(is_of_answered);
        match span.parent_id.as_deref() {
            None => {
                let reason = span.attributes.get("stardust_probe.parent");
                let reason = reason.and_then(|reason| reason.as_str()).unwrap_or("none told");
                *tally.unknown.entry(reason.to_owned()).or_default() += 1;
            }
            Some(parent) => match by_id.get(parent) {
                Some(parent) if number(parent) == number(span) && parent.trace_id == span.trace_id => {
                    tally.known += 1;
                    tally.known_of_answered += usize::from(is_of_answered);
                }
                parent => tally.wrong.push(format!("{span:?} of {parent:?}")),
            },
        }
    }
    tally
}

/// The `n` of a target; spans that have none differ from one another.
fn number(span: &SpanLine) -> &str {
    let query = span.target.as_deref().and_then(|target| target.split_once('?'));
    let mut pairs = query.map(|(_, query)| query.split('&')).into_iter().flatten();
    pairs.find_map(|pair| pair.strip_prefix("n=")).unwrap_or(&span.span_id)
}
