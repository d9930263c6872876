//! What the probe refuses: each with its exit code, and one line that says what to do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tests::command::{Ended, probe, run};
use tests::probe::find_program;
use tests::watch::can_run;

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(says.iter().all(|part| ended.stderr.contains(part)), "{says:?}: {ended:?}");
    assert_eq!((ended.stderr.trim_end().lines().count(), ended.stdout.as_str()), (1, ""), "{ended:?}");
}

fn own_pid() -> String {
    std::process::id().to_string()
}

#[test]
fn arguments_and_files_that_are_wrong() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let own = own_pid();
    let unknown_key = file("unknown.toml", "[kernel]\nring = 1\n");
    let no_toml = file("broken.toml", "[kernel\n");
    let bad_value = file("value.toml", "[kernel]\nring_bytes = 1000\n");
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["--pid", "4194300"], 66, &["no process 4194300", "pgrep"]),
        (&["--pid", "0"], 64, &["--pid"]),
        (&[], 64, &["give --pid PID"]),
        (&["--pid", &own, "--config", &unknown_key], 64, &["ring"]),
        (&["--pid", &own, "--config", &no_toml], 64, &["broken.toml"]),
        (&["--pid", &own, "--config", &bad_value], 64, &["kernel.ring_bytes", "power of two"]),
        (&["--pid", &own, "--config", "/nonexistent.toml"], 66, &["/nonexistent.toml"]),
        (&["--pid", &own, "--server", "star.example.com"], 64, &["http://"]),
        (&["replay", "/nonexistent"], 66, &["cannot replay"]),
    ];
    for (arguments, code, says) in cases {
        assert_refused(&run(probe(arguments).unwrap()).unwrap(), code, says);
    }
}

#[test]
fn numbers_that_name_no_process_with_a_program() {
    if !can_run() {
        return;
    }
    // kthreadd: the parent of every thread of the kernel.
    assert_refused(&run(probe(&["--pid", "2"]).unwrap()).unwrap(), 64, &["cannot watch 2", "kernel"]);
    let own = own_pid();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut ids = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let other = ids.find(|id| *id != own).unwrap();
    let advice = format!("use --pid {own}");
    assert_refused(&run(probe(&["--pid", &other]).unwrap()).unwrap(), 64, &["one thread", &advice]);
    assert_refused(&run(probe(&["check", "--pid", &other]).unwrap()).unwrap(), 64, &["one thread", &advice]);
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id().to_string();
    let is_zombie = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") Z ")
    };
    while !is_zombie() {
        std::thread::sleep(tests::process::POLL);
    }
    assert_refused(&run(probe(&["--pid", &pid]).unwrap()).unwrap(), 66, &["has ended"]);
    ended.wait().unwrap();
}

/// However short the target lives, the probe ends too: it either never was attached, or saw it end.
#[test]
fn a_target_that_goes_while_the_probe_comes() {
    if !can_run() {
        return;
    }
    let (mut too_late, mut attached) = (0, 0);
    for delay_ms in (0..=1500).step_by(100) {
        let seconds = format!("{}.{:03}", delay_ms / 1000, delay_ms % 1000);
        // Half of them are taken by their parent at once, half stay behind as zombies.
        let mut target = Command::new("sleep").arg(seconds).spawn().unwrap();
        let pid = target.id().to_string();
        let reaper = (delay_ms % 200 == 0).then(|| std::thread::spawn(move || target.wait().unwrap()));
        let mut command = probe(&["--pid", &pid]).unwrap();
        command.args(["--duration", "20"]).stdout(Stdio::null());
        let begin = std::time::Instant::now();
        let ended = run(command).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "it waits for nobody: {ended:?}");
        match ended.code {
            Some(66) => {
                too_late += 1;
                assert_refused(&ended, 66, &[&pid]);
            }
            code => {
                attached += 1;
                assert_eq!(code, Some(0), "{ended:?}");
                assert!(ended.stderr.contains("every watched process has ended"), "{ended:?}");
            }
        }
        if let Some(reaper) = reaper {
            reaper.join().unwrap();
        }
    }
    assert!(too_late > 0 && attached > 0, "{too_late} too late, {attached} attached");
}

/// The probe's program where anybody may run it.
fn public_copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("stardust-probe");
    std::fs::copy(find_program().unwrap(), &program).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    (folder, program)
}

#[test]
fn without_the_privilege_the_missing_capability_is_named() {
    if !can_run() {
        return;
    }
    let (_folder, program) = public_copy();
    for (drops, names) in [("-all", "CAP_BPF"), ("-sys_admin,-perfmon", "CAP_PERFMON")] {
        let mut command = Command::new("setpriv");
        if drops == "-all" {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(format!("--bounding-set={drops}")).arg(format!("--inh-caps={drops}"));
        command.arg(&program).args(["--pid", &own_pid()]);
        assert_refused(&run(command).unwrap(), 77, &[names, "sudo"]);
    }
}

/// Runs the probe where `prepare` has changed what is mounted, for it alone.
fn run_where(prepare: &str, program: &Path) -> Ended {
    let mut command = Command::new("unshare");
    let script = format!("{prepare} && exec \"$0\" --pid {}", own_pid());
    command.args(["--mount", "sh", "-c", &script]).arg(program);
    run(command).unwrap()
}

#[test]
fn a_kernel_that_cannot_says_so() {
    if !can_run() {
        return;
    }
    let program = find_program().unwrap();
    let without_types = run_where("mount -t tmpfs none /sys/kernel/btf", &program);
    assert_refused(&without_types, 69, &["no type information", "CONFIG_DEBUG_INFO_BTF"]);
    let lockdown = "mount -t tmpfs none /sys/kernel/security && \
                    echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown";
    assert_refused(&run_where(lockdown, &program), 69, &["confidentiality", "lockdown=integrity"]);
}

#[test]
fn a_pid_namespace_of_its_own_is_refused() {
    if !can_run() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(find_program().unwrap()).args(["--pid", "1"]);
    assert_refused(&run(command).unwrap(), 69, &["pid namespace", "host"]);
}
