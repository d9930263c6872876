//! The command as a user meets it: exit codes, and what goes to which stream.

use std::process::{Command, Output};

type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

fn probe(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stardust-probe"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the command can be started")
}

#[test]
fn a_wrong_use_exits_64_with_one_line_on_stderr() {
    let cases: [Case; 4] = [
        (&[], &[], "stardust-probe: no process named; give --pid PID, or see --help\n"),
        (
            &["--pid", "1", "--bogus"],
            &[],
            "stardust-probe: unexpected argument '--bogus' found; see --help\n",
        ),
        (
            &["--pid", "1"],
            &[("STARDUST_PROBE_X", "1")],
            "stardust-probe: unknown variable STARDUST_PROBE_X in",
        ),
        (
            &["check"],
            &[("STARDUST_PROBE_KERNEL_DRAIN_MS", "99")],
            "stardust-probe: bad value kernel.drain_ms = 99",
        ),
    ];
    for (arguments, environment, expected) in cases {
        let output = probe(arguments, environment);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(expected), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_missing_file_exits_66() {
    let output = probe(&["--pid", "1", "--config", "/no/such/file"], &[]);
    assert_eq!(output.status.code(), Some(66));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such/file"));
}

#[test]
fn help_version_and_configuration_go_to_stdout_and_exit_0() {
    for (argument, expected) in [
        ("--help", "Usage: stardust-probe"),
        ("--version", "stardust-probe "),
        ("--print-config", "[kernel]"),
    ] {
        let output = probe(&[argument], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected), "{argument}");
        assert!(output.stderr.is_empty());
    }
}
