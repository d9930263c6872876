//! `cargo xtask kernels`: the probe on other kernels than the one that runs here.
//!
//! Debian's kernels, each started by QEMU, without hardware's help, with a file system in memory that holds the probe, Python and
//! busybox. A server is asked there, once for each way in, and what the probe tells is held against what was asked.

mod guest;
mod ledger;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{packages, shell, workspace};

/// How Debian's packages of a kernel are called, and the ways in that it has.
const KERNELS: [(&str, &[&str]); 2] = [
    (r"^linux-image-6\.12\.[0-9]+[+]deb[0-9]+-cloud-amd64$", &["tp_btf", "fexit", "syscalls"]),
    (r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$", &["fexit", "syscalls"]),
];
/// A guest takes one to three minutes.
const LIMIT: Duration = Duration::from_mins(10);
const MEMORY_MB: u32 = 2048;
/// Requests of each kind for each way, as `init.sh` makes them.
const ROUNDS: usize = 3;

/// Which kernels.
#[derive(clap::Args)]
pub struct Options {
    /// Only kernels whose packages have this in their name.
    #[arg(long)]
    kernel: Option<String>,
}

/// What a guest said of one way.
#[derive(Debug, Default)]
struct Said {
    exit: String,
    log: Vec<String>,
    spans: Vec<Value>,
    /// What its client has asked for and got.
    asked: Vec<Value>,
    /// How many connections the kernel has encrypted, and decrypted, since it runs.
    encrypted: BTreeMap<String, u64>,
}

impl Said {
    fn take(&mut self, line: &str) -> Result<()> {
        if let Some(asked) = line.strip_prefix("ASKED ") {
            self.asked.push(serde_json::from_str(asked).context("a broken line of what was asked")?);
        } else if let Some(encrypted) = line.strip_prefix("KTLS ") {
            let (direction, count) = encrypted.split_once(' ').context("a broken count")?;
            self.encrypted.insert(direction.to_owned(), count.parse().context("a broken count")?);
        } else {
            match serde_json::from_str(line) {
                Ok(span) => self.spans.push(span),
                Err(_) => self.log.push(line.to_owned()),
            }
        }
        Ok(())
    }
}

/// Runs the probe on each kernel. What is not told as it was asked is an error.
pub fn run(options: &Options) -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "the kernels are those of x86_64");
    packages::ensure(&[packages::BUILD, packages::KERNELS])?;
    shell::run(shell::cargo().args(["build", "--package", "stardust-probe"]).current_dir(workspace::root()))?;
    let folder = workspace::target()?.join("kernels");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let probe = workspace::target()?.join("debug/stardust-probe");
    for (pattern, ways) in KERNELS {
        let package = newest(pattern)?;
        if options.kernel.as_ref().is_some_and(|part| !package.contains(part)) {
            continue;
        }
        let unpacked = download(&folder, &package)?;
        let kernel = find(&unpacked.join("boot"), "vmlinuz-")?;
        let files = guest::pack(&folder, &probe, &unpacked)?;
        shell::step(&format!("{package}: {}", ways.join(", ")));
        let said = read(&boot(&kernel, &files, ways)?)?;
        for way in ways {
            let said =
                said.get(*way).with_context(|| format!("{package}: the guest said nothing of {way}"))?;
            check(way, said)
                .and_then(|()| ledger::check(&said.asked, &said.spans, &said.encrypted))
                .with_context(|| format!("{package}, {way}: {said:#?}"))?;
            let made = 2 * ROUNDS + said.asked.len();
            println!("{package}: {way}: {made} requests made, {} spans seen", said.spans.len());
        }
    }
    Ok(())
}

/// The newest package of a kernel.
fn newest(pattern: &str) -> Result<String> {
    let found = shell::read(Command::new("apt-cache").args(["search", "--names-only", pattern]))
        .context("kernels are had from Debian's package manager")?;
    let number = |name: &str| {
        let parts = name.split(|character: char| !character.is_ascii_digit());
        parts.filter_map(|part| part.parse::<u64>().ok()).collect::<Vec<_>>()
    };
    let names = found.lines().filter_map(|line| line.split_whitespace().next());
    names.max_by_key(|name| number(name)).map(str::to_owned).with_context(|| format!("no package {pattern}"))
}

fn download(folder: &Path, package: &str) -> Result<PathBuf> {
    let unpacked = folder.join(package);
    if !unpacked.is_dir() {
        shell::run(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(folder))?;
        let archive = find(folder, &format!("{package}_"))?;
        shell::run(Command::new("dpkg-deb").arg("--extract").args([&archive, &unpacked]))?;
        std::fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))?;
    }
    Ok(unpacked)
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let begins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut found = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(begins);
    found.next().with_context(|| format!("no {prefix}* in {}", folder.display()))
}

/// Gives what the guest said on its console.
fn boot(kernel: &Path, files: &Path, ways: &[&str]) -> Result<String> {
    let mut command = Command::new("timeout");
    command.arg(LIMIT.as_secs().to_string()).args([
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
    ]);
    command
        .args(["-smp", "2", "-m", &MEMORY_MB.to_string(), "-nographic", "-no-reboot", "-kernel"])
        .arg(kernel);
    command.arg("-initrd").arg(files).arg("-append");
    command.arg(format!("console=ttyS0 quiet panic=-1 ways={}", ways.join(",")));
    let output = command.stdin(Stdio::null()).output().context("start QEMU")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// By way. An error if the guest did not come to its end.
fn read(console: &str) -> Result<BTreeMap<String, Said>> {
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    let mut way = None;
    for line in console.lines().map(str::trim_end) {
        if let Some(mark) = line.strip_prefix("=== ") {
            if mark == "end" {
                return Ok(said);
            }
            let (name, exit) = mark.split_once(" exit ").context("a broken mark")?;
            said.insert(name.to_owned(), Said { exit: exit.to_owned(), ..Said::default() });
            way = Some(name.to_owned());
        } else if let Some(said) = way.as_ref().and_then(|way| said.get_mut(way)) {
            said.take(line)?;
        }
    }
    bail!("the guest did not come to its end: {console}")
}

fn check(way: &str, said: &Said) -> Result<()> {
    ensure!(said.exit == "0", "the probe ended with {}", said.exit);
    let attached = format!("by way of {way}");
    let is_attached = !said.log.is_empty() && said.log.iter().all(|line| line.ends_with(&attached));
    ensure!(is_attached, "not {attached} at once");
    let plain = said.spans.iter().filter(|span| !ledger::is_asked(span));
    let told = plain.map(|span| (span["name"].as_str(), span["status"].as_u64(), span["end"].as_str()));
    let kinds =
        [(Some("GET /"), Some(200), Some("complete")), (Some("GET /missing"), Some(404), Some("complete"))];
    let asked = (0..2 * ROUNDS).map(|index| kinds[index % 2]);
    ensure!(told.eq(asked), "not all is told as it was asked");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    0.1] noise\r\n=== fexit exit 0\r\n INFO attached to 9 (python) as app \"x\"; 1 processes watched by way of fexit\r\n{\"name\":\"GET /\",\"status\":200,\"end\":\"complete\"}\r\n{\"name\":\"GET /missing\",\"status\":404,\"end\":\"complete\"}\r\nKTLS Tx 3\r\nASKED {\"status\":200}\r\n";

    #[test]
    fn what_a_guest_says_is_read_by_way() {
        let said = read(&format!("{CONSOLE}=== end\r\n")).unwrap();
        assert_eq!(said.keys().collect::<Vec<_>>(), ["fexit"]);
        assert_eq!(
            (said["fexit"].exit.as_str(), said["fexit"].log.len(), said["fexit"].spans.len()),
            ("0", 1, 2)
        );
        assert_eq!((said["fexit"].asked.len(), said["fexit"].encrypted["Tx"]), (1, 3));
        assert!(read(CONSOLE).is_err());
    }

    #[test]
    fn all_is_told_as_it_was_asked_or_it_is_an_error() {
        let span =
            |name: &str, status: u64| serde_json::json!({"name": name, "status": status, "end": "complete"});
        let round = [span("GET /", 200), span("GET /missing", 404)];
        let said = |exit: &str, log: &[&str], spans: &[Value]| Said {
            exit: exit.to_owned(),
            log: log.iter().map(|line| (*line).to_owned()).collect(),
            spans: spans.to_vec(),
            ..Said::default()
        };
        let all: Vec<_> = round.iter().cycle().take(2 * ROUNDS).cloned().collect();
        let attached = "watched by way of fexit";
        for (said, good) in [
            (said("0", &[attached], &all), true),
            (said("1", &[attached], &all), false),
            (said("0", &["fexit does not work here", attached], &all), false),
            (said("0", &["watched by way of syscalls"], &all), false),
            (said("0", &[attached], &all[1..]), false),
            (said("0", &[attached], &[all.clone(), round.to_vec()].concat()), false),
        ] {
            assert_eq!(check("fexit", &said).is_ok(), good, "{said:?}");
        }
    }
}
