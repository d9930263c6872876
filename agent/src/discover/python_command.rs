//! A Python interpreter's command line, or that of a program known to be written in Python.

use super::app_name::{Named, Program, of_directory, of_module, of_script};
use super::files::base_name;
use super::launcher;

/// Packages of the standard library that are programs themselves: `http.server` is more telling than `http`.
const STANDARD_PACKAGES: [&str; 8] =
    ["http", "wsgiref", "xmlrpc", "socketserver", "asyncio", "unittest", "idlelib", "json"];

/// What the interpreter runs.
#[derive(Debug, PartialEq, Eq)]
enum Code<'a> {
    /// `-m module`.
    Module(&'a str),
    /// `-c code`.
    Text(&'a str),
    /// A file.
    Script(&'a str),
    /// Standard input.
    Input,
}

/// The name, if this is Python.
pub(super) fn name(program: &Program<'_>) -> Option<Named> {
    let (first, rest) = program.arguments.split_first()?;
    if let Some(name) = launcher::name(base_name(first), rest, program) {
        return Some(Named::As(name));
    }
    if !is_interpreter(first) {
        return None;
    }
    let (code, rest) = code(rest);
    Some(match code {
        Code::Text(text) if text.starts_with("from multiprocessing") => Named::AsParent,
        Code::Text(_) | Code::Input => {
            Named::As(of_directory(program.directory).unwrap_or_else(|| base_name(first).to_owned()))
        }
        Code::Module(module) => Named::As(by_module(module, rest, program)),
        Code::Script(path) => Named::As(by_script(path, rest, program)),
    })
}

/// `python`, `python3.12`, `pypy3`, `/venv/bin/python3-dbg`.
fn is_interpreter(path: &str) -> bool {
    let name = base_name(path).trim_start_matches('-');
    let version = ["python", "pypy"].iter().find_map(|stem| name.strip_prefix(stem));
    version.is_some_and(|version| {
        let end = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        ["", "d", "t", "-dbg", "-debug"].contains(&end)
    })
}

/// Skips the interpreter's own options (`python --help`): what is run, and its arguments.
fn code(arguments: &[String]) -> (Code<'_>, &[String]) {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        at += 1;
        let rest = |at: usize| &arguments[at.min(arguments.len())..];
        if argument == "--check-hash-based-pycs" {
            at += 1;
            continue;
        }
        if argument == "-" {
            return (Code::Input, rest(at));
        }
        let Some(letters) = argument.strip_prefix('-') else {
            return (Code::Script(argument), rest(at));
        };
        // Letters can be written together; the first that takes a value ends them: `-um pkg`, `-Wignore`.
        let valued = letters.char_indices().find(|(_, letter)| "mcWX".contains(*letter));
        let Some((index, letter)) = valued.filter(|_| !letters.starts_with('-')) else { continue };
        let attached = &letters[index + 1..];
        let value = if attached.is_empty() {
            at += 1;
            arguments.get(at - 1).map_or("", String::as_str)
        } else {
            attached
        };
        match letter {
            'm' => return (Code::Module(value), rest(at)),
            'c' => return (Code::Text(value), rest(at)),
            _ => {}
        }
    }
    (Code::Input, &[])
}

fn by_module(module: &str, rest: &[String], program: &Program<'_>) -> String {
    if let Some(name) = launcher::name(module, rest, program) {
        return name;
    }
    let package = module.split('.').next().unwrap_or_default();
    if STANDARD_PACKAGES.contains(&package) {
        module.to_owned()
    } else {
        of_module(module, program.directory)
    }
}

fn by_script(path: &str, rest: &[String], program: &Program<'_>) -> String {
    launcher::name(base_name(path), rest, program).unwrap_or_else(|| of_script(path, program.directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_name() {
        for name in
            ["python", "/usr/bin/python3", "python3.12", "pypy3.10", "python3-dbg", "python3.13t", "-python"]
        {
            assert!(is_interpreter(name), "{name}");
        }
        for name in ["pythonista", "python-config", "ipython", "node", ""] {
            assert!(!is_interpreter(name), "{name}");
        }
    }

    #[test]
    fn interpreter_options_are_skipped() {
        let cases = [
            ("-u -X dev -W ignore -O a.py b", Code::Script("a.py"), 1),
            ("-Xdev -Wignore -IsS -m pkg.sub x y", Code::Module("pkg.sub"), 2),
            ("-um pkg x", Code::Module("pkg"), 1),
            ("-mpkg", Code::Module("pkg"), 0),
            ("-c print", Code::Text("print"), 0),
            ("--check-hash-based-pycs always a.py", Code::Script("a.py"), 0),
            ("-", Code::Input, 0),
            ("-m", Code::Module(""), 0),
            ("", Code::Input, 0),
        ];
        for (line, expected, rest) in cases {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (found, behind) = code(&arguments);
            assert_eq!((found, behind.len()), (expected, rest), "{line}");
        }
    }
}
