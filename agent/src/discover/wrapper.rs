//! Programs that only start another one: `env A=B poetry run gunicorn shop:app`.

use super::files::base_name;

/// A program that stands before the real one.
struct Wrapper {
    name: &'static str,
    /// A word that must follow (`poetry run`); empty if none.
    verb: &'static str,
    /// Options whose value is the next word.
    valued: &'static [&'static str],
    /// Words between the options and the program (`timeout 5 program`).
    positionals: usize,
}

const WRAPPERS: [Wrapper; 20] = [
    wrapper("env", "", &["-u", "--unset", "-C", "--chdir", "-S", "--split-string"], 0),
    wrapper("nice", "", &["-n", "--adjustment"], 0),
    wrapper("ionice", "", &["-c", "-n", "--class", "--classdata"], 0),
    wrapper("nohup", "", &[], 0),
    wrapper("setsid", "", &[], 0),
    wrapper("stdbuf", "", &["-i", "-o", "-e"], 0),
    wrapper("timeout", "", &["-k", "--kill-after", "-s", "--signal"], 1),
    wrapper("taskset", "", &[], 1),
    wrapper("sudo", "", &["-u", "-g", "-C", "-D", "-h", "-p", "-r", "-t"], 0),
    wrapper("tini", "", &["-p"], 0),
    wrapper("dumb-init", "", &["-r", "--rewrite"], 0),
    wrapper("poetry", "run", &["-C", "--directory", "-P", "--project"], 0),
    wrapper("pipenv", "run", &[], 0),
    wrapper("pdm", "run", &["-p", "--project"], 0),
    wrapper("hatch", "run", &["-e", "--env"], 0),
    wrapper(
        "uv",
        "run",
        &["--with", "--python", "-p", "--directory", "--project", "--env-file", "--extra", "--group"],
        0,
    ),
    wrapper("newrelic-admin", "run-program", &[], 0),
    wrapper("ddtrace-run", "", &[], 0),
    wrapper(
        "opentelemetry-instrument",
        "",
        &["--traces_exporter", "--metrics_exporter", "--service_name"],
        0,
    ),
    wrapper("catchsegv", "", &[], 0),
];

const fn wrapper(
    name: &'static str,
    verb: &'static str,
    valued: &'static [&'static str],
    positionals: usize,
) -> Wrapper {
    Wrapper { name, verb, valued, positionals }
}

/// The command line of the program inside. Without a wrapper, or if nothing stands inside, as it was.
pub(super) fn inner(arguments: &[String]) -> &[String] {
    let mut arguments = arguments;
    while let Some(rest) = strip(arguments).filter(|rest| !rest.is_empty()) {
        arguments = rest;
    }
    arguments
}

fn strip(arguments: &[String]) -> Option<&[String]> {
    // Most wrappers written in Python show their interpreter first.
    let start = arguments.first().filter(|first| is_plain_python(first)).map_or(0, |_| 1);
    let program = base_name(arguments.get(start)?);
    let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.name == program)?;
    let mut at = options(arguments, start + 1, wrapper);
    if !wrapper.verb.is_empty() {
        if arguments.get(at)? != wrapper.verb {
            return None;
        }
        at = options(arguments, at + 1, wrapper);
    }
    at = arguments.len().min(at + wrapper.positionals);
    Some(&arguments[at..])
}

fn is_plain_python(program: &str) -> bool {
    base_name(program).starts_with("python")
}

/// The index behind options and assignments (`env A=B`).
fn options(arguments: &[String], from: usize, wrapper: &Wrapper) -> usize {
    let mut at = from;
    while let Some(argument) = arguments.get(at) {
        match argument.as_str() {
            "--" => return at + 1,
            option if wrapper.valued.contains(&option) => at += 2,
            option if option.starts_with('-') => at += 1,
            pair if wrapper.name == "env" && pair.contains('=') => at += 1,
            _ => break,
        }
    }
    at.min(arguments.len())
}
