//! The workspace's test binaries: built once by cargo, run from their crate's folder.
//!
//! Run by us and not by cargo, so that those which need root get it without building as root.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::tally::Tally;
use crate::interrupt::Interrupt;
use crate::{shell, workspace};

/// A compiled test binary.
pub struct TestBinary {
    /// Its crate and target, as in `protocol` or `tests/live_flask`.
    pub name: String,
    /// The target alone.
    pub target: String,
    executable: PathBuf,
    folder: PathBuf,
}

/// How to run one.
#[derive(Default)]
pub struct Run {
    /// How long it may take.
    pub limit: Duration,
    /// Its tests one after the other.
    pub one_at_a_time: bool,
    /// As root.
    pub as_root: bool,
    /// What it prints is shown when it is done, as others run meanwhile.
    pub shown_at_end: bool,
    /// Environment variables.
    pub variables: Vec<(&'static str, String)>,
}

/// Builds all tests of the workspace.
pub fn build() -> Result<Vec<TestBinary>> {
    let mut build = shell::cargo();
    build.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    let messages = shell::read(build.current_dir(workspace::root())).context("build the tests")?;
    Ok(messages.lines().filter_map(|line| built(&serde_json::from_str(line).ok()?)).collect())
}

/// The test binary that a message of cargo's tells of, if it does.
fn built(message: &Value) -> Option<TestBinary> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let target = message["target"]["name"].as_str()?.to_owned();
    let kind = message["target"]["kind"][0].as_str()?;
    let package = folder.file_name()?.to_str()?;
    let name = if kind == "lib" { package.to_owned() } else { format!("{package}/{target}") };
    Some(TestBinary { name, target, executable: message["executable"].as_str()?.into(), folder })
}

impl TestBinary {
    /// True for tests of the running kernel, which need root.
    pub fn is_live(&self) -> bool {
        self.target.starts_with("live_")
    }

    /// How many tests it holds.
    pub fn count(&self) -> Result<usize> {
        let list = shell::read(Command::new(&self.executable).args(["--list", "--format", "terse"]))?;
        Ok(list.lines().filter(|line| line.ends_with(": test")).count())
    }

    /// Runs it, shows what it prints and counts its results.
    pub fn run(&self, how: &Run, interrupt: &Interrupt) -> Result<Tally> {
        let mut variables = how.variables.clone();
        variables.push(("CARGO_MANIFEST_DIR", self.folder.display().to_string()));
        let mut command = if how.as_root {
            shell::as_root(&self.executable, variables)
        } else {
            let mut command = Command::new(&self.executable);
            command.envs(variables);
            command
        };
        if how.one_at_a_time {
            command.arg("--test-threads=1");
        }
        if how.shown_at_end {
            return tested_aside(&self.name, command.current_dir(&self.folder), how.limit, interrupt);
        }
        shell::step(&self.name);
        tested(&self.name, command.current_dir(&self.folder), how.limit, interrupt)
    }
}

/// Runs a command that prints results as libtest does, shows them and counts them.
pub fn tested(name: &str, command: &mut Command, limit: Duration, interrupt: &Interrupt) -> Result<Tally> {
    let (output, ended_well) = run(name, command, limit, interrupt, |line| println!("{line}"))?;
    Ok(Tally::of_run(name, &output, ended_well))
}

/// The same, and shows them when it is done.
fn tested_aside(name: &str, command: &mut Command, limit: Duration, interrupt: &Interrupt) -> Result<Tally> {
    let (output, ended_well) = run(name, command, limit, interrupt, |_| ())?;
    shell::step(name);
    print!("{output}");
    Ok(Tally::of_run(name, &output, ended_well))
}

/// Gives what the command printed, and whether it ended well.
fn run(
    name: &str,
    command: &mut Command,
    limit: Duration,
    interrupt: &Interrupt,
    shown: impl Fn(&str) + Send + 'static,
) -> Result<(String, bool)> {
    // A group of its own, so that all it has started can be ended with it.
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shell::line(command)))?;
    let pipe = child.stdout.take().context("a test's stdout is a pipe")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            shown(&line);
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    let ended_well = wait(name, &mut child, limit, interrupt)?;
    // What a test left running would keep the pipe open for ever.
    end_group(&child);
    let output = reader.join().unwrap_or_default();
    Ok((output, ended_well))
}

fn wait(name: &str, child: &mut Child, limit: Duration, interrupt: &Interrupt) -> Result<bool> {
    let start = Instant::now();
    let ended = interrupt.wait_for(name, limit, || child.try_wait().context("look after a test"));
    match ended {
        Ok(status) => Ok(status.success()),
        Err(_) if start.elapsed() > limit => {
            eprintln!("{name}: not done after {} s: ended", limit.as_secs());
            end_group(child);
            child.wait().context("wait for a test")?;
            Ok(false)
        }
        Err(error) => {
            end_group(child);
            child.wait().context("wait for a test")?;
            Err(error)
        }
    }
}

fn end_group(child: &Child) {
    let pid = child.id();
    if shell::is_root() {
        // Nobody left in the group: nothing to do.
        let _ = killpg(Pid::from_raw(pid as i32), Signal::SIGKILL);
    } else {
        shell::succeeds(Command::new("kill").args(["-s", "KILL", "--", &format!("-{pid}")]));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cargos_messages_name_the_test_binaries() {
        let message = |kind: &str, target: &str, test: bool| {
            json!({
                "reason": "compiler-artifact", "profile": {"test": test}, "executable": "/t/x-1",
                "manifest_path": "/w/tests/Cargo.toml", "target": {"name": target, "kind": [kind]},
            })
        };
        let live = built(&message("test", "live_flask", true)).unwrap();
        assert_eq!((live.name.as_str(), live.is_live()), ("tests/live_flask", true));
        let lib = built(&message("lib", "tests", true)).unwrap();
        assert_eq!((lib.name.as_str(), lib.is_live()), ("tests", false));
        assert!(built(&message("bin", "star-server", false)).is_none());
        assert!(built(&json!({"reason": "build-finished", "success": true})).is_none());
    }

    #[test]
    fn a_run_that_hangs_is_ended_with_all_it_started() {
        let interrupt = Interrupt::watch().unwrap();
        let mut hang = Command::new("sh");
        hang.args(["-c", "sleep 1000 & echo test result: ok. 1 passed; wait"]);
        let tally = tested("hang", &mut hang, Duration::from_millis(200), &interrupt).unwrap();
        assert_eq!((tally.passed, tally.failed), (1, 1));
    }

    #[test]
    fn a_run_is_counted() {
        let interrupt = Interrupt::watch().unwrap();
        let mut good = Command::new("echo");
        good.arg("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured");
        let tally = tested("good", &mut good, Duration::from_secs(20), &interrupt).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped), (3, 0, 1));
    }
}
