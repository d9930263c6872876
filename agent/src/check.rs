//! `stardust-probe check`: what this host and kernel allow, and what would be watched.
//!
//! Invariant: every way in is really loaded and attached for a moment, with nothing watched, and taken off again.

use std::fmt::Write;
use std::fs;

use ebpf::{Capabilities, Lockdown};
use serde::Serialize;

use crate::attach;
use crate::config::KernelConfig;
use crate::discover::Proc;
use crate::discover::interpreter::Interpreter;
use crate::exit::Failure;
use crate::{collections, exceptions, lineage, tls};

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `uname -r` and the machine.
    pub kernel: String,
    /// Whether the kernel describes its types.
    pub btf: bool,
    /// `none`, `integrity` or `confidentiality`.
    pub lockdown: &'static str,
    /// Why loading is not allowed, if it is not.
    pub privilege: Option<String>,
    /// Every way in, best first.
    pub ways: Vec<WayReport>,
    /// The way that would be taken.
    pub chosen: Option<String>,
    /// The target, if one is named.
    pub target: Option<Target>,
}

/// One way in.
#[derive(Debug, Clone, Serialize)]
pub struct WayReport {
    /// Its name, as `kernel.way` takes it.
    pub way: String,
    /// Why it does not work, if it does not.
    pub refused: Option<String>,
}

/// A process that would be watched.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// The process.
    pub pid: u32,
    /// The app it belongs to.
    pub app: String,
    /// Where the name is from.
    pub app_from: String,
    /// Its command line, secrets removed.
    pub command: String,
    /// Its descendants, which are watched too.
    pub descendants: usize,
    /// The interpreter that runs it, if it is Python.
    pub interpreter: Option<String>,
    /// How a call to another service is told to belong to a request.
    pub identity: String,
    /// Where exceptions are seen, and why there; or why they are not.
    pub exceptions: Vec<String>,
    /// Where it is seen which task starts which, and why there; or why it is not.
    pub lineage: Vec<String>,
    /// Where collections of garbage would be seen, or why not.
    pub collections: Vec<String>,
    /// The files in which TLS plaintext is seen.
    pub tls: Vec<TlsFile>,
}

/// A file that the target reads and writes TLS with.
#[derive(Debug, Clone, Serialize)]
pub struct TlsFile {
    /// Its path as the target sees it.
    pub file: String,
    /// Where it is probed, and why there.
    pub sites: Vec<String>,
    /// Where its connections keep the protocol that was agreed on.
    pub agreed: String,
    /// What cannot be probed, and why.
    pub refused: Vec<String>,
}

/// Asks the kernel and `/proc`. The failure is the one that watching would end with.
pub fn check(
    settings: &KernelConfig,
    app_id: Option<&str>,
    pid: Option<u32>,
) -> Result<(Report, Option<Failure>), Failure> {
    let target = pid.map(|pid| target(pid, app_id)).transpose()?;
    let capabilities = Capabilities::probe();
    let permitted = attach::permitted(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    let usable = attach::usable(&capabilities);
    let ready = permitted.is_ok() && usable.is_ok();
    let ways: Vec<_> = attach::ways(settings.way)
        .into_iter()
        .map(|way| WayReport {
            way: way.to_string(),
            refused: if ready {
                attach::try_way(&capabilities, settings, way, true).err()
            } else {
                Some("not tried".to_owned())
            },
        })
        .collect();
    let chosen = ways.iter().find(|way| way.refused.is_none()).map(|way| way.way.clone());
    let failure =
        permitted.clone().and(usable).err().or_else(|| chosen.is_none().then(|| attach::no_way(&ways)));
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let report = Report {
        kernel: format!("{} {}", read("/proc/sys/kernel/osrelease"), std::env::consts::ARCH),
        btf: capabilities.btf,
        lockdown: match capabilities.lockdown {
            Lockdown::None => "none",
            Lockdown::Integrity => "integrity",
            Lockdown::Confidentiality => "confidentiality",
        },
        privilege: permitted.err().map(|failure| failure.to_string()),
        ways,
        chosen,
        target,
    };
    Ok((report, failure))
}

fn target(pid: u32, app_id: Option<&str>) -> Result<Target, Failure> {
    let proc = Proc::default();
    proc.watchable(pid).map_err(|why| attach::unwatchable(pid, why))?;
    let process = proc.identify(pid, app_id).map_err(|_| attach::gone(pid))?;
    let interpreter = proc.interpreter(pid);
    Ok(Target {
        pid,
        identity: identity(interpreter.as_ref()),
        exceptions: places(interpreter.as_ref(), |found| exceptions::places(&proc, pid, found)),
        lineage: places(interpreter.as_ref(), |found| lineage::places(&proc, pid, found)),
        collections: places(interpreter.as_ref(), |found| collections::places(&proc, pid, found)),
        interpreter: interpreter.map(|interpreter| interpreter.to_string()),
        app: process.app_id,
        app_from: attach::source_of(process.app_id_source).to_owned(),
        command: process.command_line,
        descendants: proc.descendants(pid).len(),
        tls: tls::Planner::default().plan(&proc, pid).into_iter().map(TlsFile::from).collect(),
    })
}

/// How calls find their request, in words.
fn identity(interpreter: Option<&Interpreter>) -> String {
    let Some(interpreter) = interpreter else { return "by thread: no Python interpreter".to_owned() };
    match interpreter.refusal() {
        Some(reason) => format!("by thread only: {reason}"),
        None => "by thread, task and greenlet: the interpreter's current context".to_owned(),
    }
}

/// Where something is seen in an interpreter, or why not.
fn places(
    interpreter: Option<&Interpreter>,
    find: impl Fn(&Interpreter) -> Result<Vec<String>, String>,
) -> Vec<String> {
    let Some(interpreter) = interpreter else { return vec!["not told: no Python interpreter".to_owned()] };
    match find(interpreter) {
        Ok(places) => places,
        Err(reason) => vec![format!("not told: {reason}")],
    }
}

impl From<tls::Plan> for TlsFile {
    fn from(plan: tls::Plan) -> Self {
        Self {
            file: plan.file.shown.display().to_string(),
            sites: plan.sites.iter().map(ToString::to_string).collect(),
            agreed: match plan.fields.agreed {
                Some(field) => format!("the protocol agreed on is kept in a connection {field}"),
                None => "the protocol agreed on is not read here".to_owned(),
            },
            refused: plan.refused,
        }
    }
}

/// The report for people.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<11}{value}");
    };
    line("kernel", &report.kernel);
    line(
        "types",
        if report.btf { "there (/sys/kernel/btf/vmlinux)" } else { "missing (/sys/kernel/btf/vmlinux)" },
    );
    line("lockdown", report.lockdown);
    line("privilege", report.privilege.as_deref().unwrap_or("enough"));
    for (index, way) in report.ways.iter().enumerate() {
        let state = match &way.refused {
            Some(reason) => format!("no: {reason}"),
            None if report.chosen.as_deref() == Some(way.way.as_str()) => "works, chosen".to_owned(),
            None => "works".to_owned(),
        };
        line(if index == 0 { "ways in" } else { "" }, &format!("{:<10}{state}", way.way));
    }
    if let Some(target) = &report.target {
        line("target", &format!("{} {}", target.pid, target.command));
        line("app", &format!("{} ({})", target.app, target.app_from));
        line("children", &target.descendants.to_string());
        line("python", target.interpreter.as_deref().unwrap_or("no"));
        line("calls", &target.identity);
        for (index, text) in target.exceptions.iter().enumerate() {
            line(if index == 0 { "exceptions" } else { "" }, text);
        }
        for (index, text) in target.lineage.iter().enumerate() {
            line(if index == 0 { "lineage" } else { "" }, text);
        }
        for (index, text) in target.collections.iter().enumerate() {
            line(if index == 0 { "gc pauses" } else { "" }, text);
        }
        if target.tls.is_empty() {
            line("tls", "no library that could be probed is loaded");
            line(
                "",
                "one that is linked in without its symbols shows nothing: its connections and bytes are counted",
            );
        }
        for TlsFile { file, sites, agreed, refused } in &target.tls {
            line("tls", file);
            let refused = refused.iter().map(|reason| format!("not probed: {reason}"));
            for text in sites.iter().chain([agreed]).cloned().chain(refused) {
                line("", &text);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use python::Build;
    use python::state::{NoSlot, Slot};

    use super::*;
    use crate::discover::interpreter::Switching;

    fn interpreter(name: &str, version_hex: Option<u64>, slot: Result<Slot, NoSlot>) -> Interpreter {
        Interpreter {
            path: format!("/usr/bin/{name}"),
            shared: false,
            stripped: true,
            runtime: 0,
            build: Build::of(&python::File { name, version_hex, runtime: &[] }),
            slot,
            switching: Switching::default(),
            greenlets: None,
            sends_later: None,
            has_asyncio: false,
        }
    }

    #[test]
    fn what_is_not_known_of_an_interpreter_leaves_the_thread() {
        let slot = Ok(Slot { offset: 0x320 });
        for (name, version_hex, slot, want) in [
            ("python3.11", None, slot, "by thread, task and greenlet: the interpreter's current context"),
            ("python3.7", None, slot, "by thread only: CPython 3.7: its layout is not known"),
            (
                "python3.15",
                Some(0x030f_02f0),
                slot,
                "by thread only: CPython 3.15.2: its layout is not known",
            ),
            (
                "libpython3.14t.so.1.0",
                Some(0x030e_0af0),
                slot,
                "by thread only: CPython 3.14.10, free-threaded: its layout is not known",
            ),
            (
                "python3.11",
                None,
                Err(NoSlot::Subinterpreters),
                "by thread only: several interpreters run in the process",
            ),
        ] {
            assert_eq!(identity(Some(&interpreter(name, version_hex, slot))), want);
        }
        assert_eq!(identity(None), "by thread: no Python interpreter");
    }

    #[test]
    fn the_report_says_what_is_chosen_and_why_not() {
        let report = Report {
            kernel: "6.1.0 x86_64".into(),
            btf: true,
            lockdown: "none",
            privilege: None,
            ways: vec![
                WayReport { way: "tp_btf".into(), refused: Some("missing".into()) },
                WayReport { way: "fexit".into(), refused: None },
                WayReport { way: "syscalls".into(), refused: None },
            ],
            chosen: Some("fexit".into()),
            target: None,
        };
        assert_eq!(
            render(&report),
            "kernel     6.1.0 x86_64\n\
             types      there (/sys/kernel/btf/vmlinux)\n\
             lockdown   none\n\
             privilege  enough\n\
             ways in    tp_btf    no: missing\n           fexit     works, chosen\n           syscalls  works\n"
        );
    }
}
