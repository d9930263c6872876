//! Tests of reading `/proc` as a whole, made up and real.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use model::AppIdSource;
use report::Vitals;

use super::fake::{FakeProc, FakeProcess};
use super::*;

#[test]
fn a_process_is_identified() {
    let fake = FakeProc::new();
    let command = ["gunicorn", "--db-password", "hush", "shop.wsgi:app"];
    let environment = ["STARDUST_APP_VERSION=1.2"];
    fake.add(&FakeProcess {
        pid: 7,
        parent: 3,
        command: &command,
        environment: &environment,
        ..Default::default()
    });
    let process = fake.proc.identify(7, None).unwrap();
    assert_eq!((process.pid, process.parent_pid), (7, 3));
    assert_eq!((process.app_id.as_str(), process.app_id_source), ("shop", AppIdSource::CommandLine));
    assert_eq!(process.version.as_deref(), Some("1.2"));
    assert_eq!(process.command_line, "gunicorn --db-password *** shop.wsgi:app");
    assert_eq!((process.user.as_str(), process.name.as_str()), ("web", "x"));
    assert_eq!(process.start_unix_ms, 1_005_000);
}

#[test]
fn names_are_looked_for_in_order() {
    let cases: [(Option<&str>, &[&str], &str, AppIdSource); 5] = [
        (Some("flag"), &["STARDUST_APP_ID=a"], "flag", AppIdSource::Flag),
        (Some(""), &["STARDUST_APP_ID=a", "OTEL_SERVICE_NAME=b"], "a", AppIdSource::StardustEnv),
        (None, &["STARDUST_APP_ID=\u{1}", "OTEL_SERVICE_NAME=b"], "b", AppIdSource::OtelEnv),
        (None, &["OTEL_RESOURCE_ATTRIBUTES=service.name=c"], "c", AppIdSource::OtelEnv),
        (None, &[], "worker", AppIdSource::CommandLine),
    ];
    for (flag, environment, name, source) in cases {
        let fake = FakeProc::new();
        fake.add(&FakeProcess {
            pid: 7,
            command: &["python", "worker.py"],
            environment,
            ..Default::default()
        });
        let process = fake.proc.identify(7, flag).unwrap();
        assert_eq!((process.app_id.as_str(), process.app_id_source), (name, source), "{environment:?}");
    }
}

#[test]
fn a_spawned_worker_belongs_to_its_masters_app() {
    let fake = FakeProc::new();
    let spawned = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"];
    let master = ["python", "/v/bin/uvicorn", "main:app", "--workers", "2"];
    fake.add(&FakeProcess { pid: 7, command: &master, directory: "/srv/billing", ..Default::default() });
    fake.add(&FakeProcess {
        pid: 8,
        parent: 7,
        command: &spawned,
        directory: "/srv/billing",
        ..Default::default()
    });
    fake.add(&FakeProcess { pid: 9, parent: 99, command: &spawned, ..Default::default() });
    assert_eq!(fake.proc.identify(8, None).unwrap().app_id, "billing");
    assert_eq!(fake.proc.identify(9, None).unwrap().app_id, "x", "an orphan has its own short name");
}

#[test]
fn what_is_gone_is_an_error() {
    let fake = FakeProc::new();
    assert_eq!(fake.proc.identify(7, None).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fake.proc.vitals(7), None);
    assert!(fake.proc.descendants(7).is_empty());
    assert!(fake.proc.netns(7).is_err());
    assert!(!fake.proc.socket_is_open(7, 0, 1));
}

#[test]
fn descendants_are_found_with_and_without_lists_of_children() {
    // 8 and 10 claim each other, as reused pids may seem to.
    let tree = [(7, 1, "8 9"), (8, 7, "10 77"), (9, 7, ""), (10, 8, "8"), (11, 1, "")];
    for with_lists in [true, false] {
        let fake = FakeProc::new();
        for (pid, parent, children) in tree {
            let children = with_lists.then_some(children);
            fake.add(&FakeProcess { pid, parent, children, ..Default::default() });
        }
        let expected: &[u32] = if with_lists { &[8, 9, 10, 77] } else { &[8, 9, 10] };
        assert_eq!(fake.proc.descendants(7), expected, "lists: {with_lists}");
    }
}

#[test]
fn vitals_count_established_connections_of_the_process_only() {
    let fake = FakeProc::new();
    let descriptors = ["/dev/null", "socket:[100]", "socket:[101]", "socket:[102]", "pipe:[103]"];
    fake.add(&FakeProcess { pid: 7, descriptors: &descriptors, ..Default::default() });
    let line = |state: &str, inode: u32| {
        format!(
            "   0: 0100007F:1F90 0100007F:D431 {state} 00000000:00000000 00:00000000 00000000  1000 0 {inode} 1 0\n"
        )
    };
    let list =
        ["  sl  local_address rem_address st ...\n", &line("01", 100), &line("0A", 101), &line("01", 555)];
    fs::write(fake.path(7).join("net/tcp"), list.concat()).unwrap();
    fs::write(fake.path(7).join("net/tcp6"), line("01", 102)).unwrap();
    let expected = Vitals { cpu_ms: 330, working_set_bytes: 8192, threads: 2, handles: 5, connections: 2 };
    assert_eq!(fake.proc.vitals(7), Some(expected));
    assert!(fake.proc.socket_is_open(7, 1, 100));
    assert!(!fake.proc.socket_is_open(7, 1, 101));
    assert!(!fake.proc.socket_is_open(7, 4, 103));
    assert_eq!(fake.proc.netns(7).unwrap(), 4_026_531_840);
}

#[test]
fn the_real_proc_tells_about_this_process() {
    let proc = Proc::default();
    let pid = std::process::id();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();

    let process = proc.identify(pid, None).unwrap();
    assert!(process.start_unix_ms > 1_000_000_000_000 && !process.command_line.is_empty());
    let vitals = proc.vitals(pid).unwrap();
    assert!(
        vitals.working_set_bytes > 0 && vitals.threads > 0 && vitals.handles > 3 && vitals.connections > 0
    );
    let inode = fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(u64::from(proc.netns(pid).unwrap()), inode);
    let fd = stream.as_raw_fd();
    let socket = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
    assert!(proc.socket_is_open(pid, fd, socket));

    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    assert!(proc.descendants(pid).contains(&child.id()));
    assert!(proc.descendants_by_scan(pid).contains(&child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!proc.descendants(pid).contains(&child.id()));
}
