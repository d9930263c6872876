//! Running other programs, as oneself or as root.
//!
//! Invariant: a command that fails gives one line that names it.

use std::ffi::OsStr;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Says what happens next, on stderr.
pub fn step(what: &str) {
    if stderr().is_terminal() {
        eprintln!("\x1b[1;32m==>\x1b[0m \x1b[1m{what}\x1b[0m");
    } else {
        eprintln!("==> {what}");
    }
}

/// Runs it with our own terminal; an error unless it exits with 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs it and gives its standard output; its stderr goes to ours.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", line(command)))
}

/// True where it runs and exits with 0; prints nothing.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program of this name lies: in `PATH` or in the places where root's programs are.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Where a program is: on the path, else in the folder `bin` of a version below this folder, where Debian keeps some.
pub fn find_below(program: &str, folder: &str) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|version| version.path()).collect();
    versions.sort();
    let below = versions.into_iter().rev().map(|version| version.join("bin").join(program));
    find(program).or_else(|| below.into_iter().find(|program| program.exists()))
}

/// True for the superuser.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Asks for what root commands need (a password, perhaps), once, while the terminal is ours.
pub fn become_root() -> Result<()> {
    if is_root() {
        return Ok(());
    }
    if find("sudo").is_none() {
        bail!("this needs root, and there is no sudo: run it again as root");
    }
    let mut ask = Command::new("sudo");
    if std::io::stdin().is_terminal() {
        ask.arg("--validate")
    } else {
        ask.args(["--non-interactive", "true"])
    };
    run(&mut ask).context("this needs root, and sudo refused: run it again as root")
}

/// A command that runs as root, with these variables set.
pub fn as_root<'a>(
    program: impl AsRef<OsStr>,
    variables: impl IntoIterator<Item = (&'a str, String)>,
) -> Command {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(variables);
        return command;
    }
    let mut command = Command::new("sudo");
    command.arg("env");
    command.args(variables.into_iter().map(|(name, value)| format!("{name}={value}")));
    command.arg(program);
    command
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as one would type it.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed (exit status: 3)");
    }

    #[test]
    fn a_missing_program_is_told_from_one_that_fails() {
        assert!(find("no-such-program-at-all").is_none());
        assert!(find("sh").is_some());
        assert!(succeeds(&mut Command::new("true")));
        assert!(!succeeds(&mut Command::new("false")));
        assert!(!succeeds(&mut Command::new("no-such-program-at-all")));
    }
}
