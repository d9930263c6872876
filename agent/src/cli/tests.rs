//! Tests of the command line as a whole.

use super::*;
use crate::config::{LogFormat, LogLevel, OutputFormat};
use crate::exit::Exit;

fn parsed(arguments: &str) -> Result<Invocation, Failure> {
    let arguments = std::iter::once("stardust-probe").chain(arguments.split_whitespace());
    parse(arguments, std::iter::empty::<(&str, &str)>())
}

#[test]
fn tasks_are_understood() {
    let watch = |pids: &[u32]| Task::Watch { pids: pids.to_vec() };
    let cases = [
        ("--pid 7", watch(&[7])),
        ("--pid 9 --pid 7,8 --pid 9", watch(&[7, 8, 9])),
        ("check", Task::Check { pid: None, json: false }),
        ("check --pid 3 --format json", Task::Check { pid: Some(3), json: true }),
        ("record out.rec --pid 4", Task::Record { file: "out.rec".into(), pids: vec![4] }),
        ("replay out.rec --format json", Task::Replay { file: "out.rec".into() }),
        ("--log-level debug check", Task::Check { pid: None, json: false }),
        ("check --log-level debug", Task::Check { pid: None, json: false }),
    ];
    for (arguments, task) in cases {
        assert_eq!(parsed(arguments).map(|i| i.task), Ok(task), "{arguments}");
    }
}

#[test]
fn flags_reach_the_configuration() {
    let flags = "--pid 1 --app-id shop --duration 5 --server http://a:1,http://b:2 --server http://c:3 \
                 --ca-file ca.pem --state-dir /s --sampling-rate 0.5 --with-sdk skip --format json --log-level warn --log-format json";
    let config = parsed(flags).unwrap().config;
    assert_eq!(config.target.app_id, "shop");
    assert_eq!(config.target.duration_s, 5);
    assert_eq!(config.stardust.servers, ["http://a:1", "http://b:2", "http://c:3"]);
    assert_eq!(config.stardust.ca_file.to_str(), Some("ca.pem"));
    assert_eq!(config.stardust.state_dir.to_str(), Some("/s"));
    assert_eq!(config.trace.with_sdk, trace::WithSdk::Skip);
    assert!((config.sampling.rate - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.output.format, OutputFormat::Json);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Warn, LogFormat::Json));

    let record = parsed("record f --pid 1 --duration 3 --app-id x").unwrap().config;
    assert_eq!((record.target.duration_s, record.target.app_id.as_str()), (3, "x"));
    assert_eq!(parsed("replay f --format table").unwrap().config.output.format, OutputFormat::Table);
}

#[test]
fn a_wrong_command_line_is_one_line_and_exits_64() {
    let cases = [
        ("", "no process named; give --pid PID"),
        ("record f", "no process named"),
        ("--pid 0", "invalid value '0' for '--pid <PID>'"),
        ("--pid x", "invalid value 'x' for '--pid <PID>'"),
        ("--pid 1 --secret hush", "unexpected argument '--secret' found"),
        (
            "--pid 1 --format xml",
            "invalid value 'xml' for '--format <FORMAT>' [possible values: table, json]",
        ),
        ("--pid 1 --sampling-rate 2", "sampling.rate = 2.0: must be from 0 to 1"),
        ("--pid 1 --server star:6600", "stardust.servers = \"star:6600\""),
        ("--pid 1 check", "put the subcommand first"),
        ("replay f --pid 1", "unexpected argument '--pid'"),
        ("reply f", "unrecognized subcommand 'reply'"),
    ];
    for (arguments, expected) in cases {
        let failure = parsed(arguments).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{arguments}");
        let line = failure.to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{arguments}: {line}");
    }
}

#[test]
fn help_and_version_are_texts_to_print() {
    for (arguments, expected) in
        [("--help", "sudo stardust-probe --pid 1234"), ("-h", "--server <URL>"), ("record --help", "<FILE>")]
    {
        let Task::Print(text) = parsed(arguments).unwrap().task else { panic!("{arguments} prints") };
        assert!(text.contains(expected), "{arguments}: {text}");
    }
    assert_eq!(
        parsed("--version").unwrap().task,
        Task::Print(format!("stardust-probe {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn the_printed_configuration_is_the_merged_one_and_holds_no_secret() {
    let environment = [("STARDUST_PROBE_SECRET", "hush"), ("STARDUST_PROBE_KERNEL_DRAIN_MS", "3")];
    let invocation = parse(["stardust-probe", "--print-config", "--app-id", "shop"], environment).unwrap();
    let Task::Print(text) = invocation.task else { panic!("it prints") };
    assert!(text.contains("drain_ms = 3") && text.contains("app_id = \"shop\""), "{text}");
    assert!(!text.contains("hush"));
}

#[test]
fn a_secret_file_on_the_command_line_wins() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from-file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let environment = [("STARDUST_PROBE_SECRET", "from-environment")];
    let flags = parse(["stardust-probe", "--pid", "1", "--secret-file", path], environment).unwrap();
    assert_eq!(flags.config.stardust.secret.expose(), "from-file");
    let none = parse(["stardust-probe", "--pid", "1"], environment).unwrap();
    assert_eq!(none.config.stardust.secret.expose(), "from-environment");
}
