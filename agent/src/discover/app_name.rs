//! The name a person would give an app, from its command line.
//!
//! Invariant: pure; the same words give the same name, so that all workers of one master agree.

use std::path::Path;

use super::files::base_name;
use super::{process_title, python_command, wrapper};

/// Stardust's columns for an app's name hold 50 characters.
const MAX_CHARS: usize = 50;

/// Modules and scripts whose name says nothing about the app.
const GENERIC_MODULES: [&str; 18] = [
    "wsgi",
    "asgi",
    "app",
    "main",
    "__main__",
    "__init__",
    "application",
    "server",
    "serve",
    "run",
    "manage",
    "api",
    "index",
    "start",
    "src",
    "config",
    "service",
    "web",
];
/// Directories whose name says nothing about the app.
const GENERIC_DIRECTORIES: [&str; 17] = [
    "src",
    "app",
    "bin",
    "lib",
    "code",
    "python",
    "current",
    "release",
    "dist",
    "opt",
    "srv",
    "usr",
    "var",
    "www",
    "home",
    "site-packages",
    "tmp",
];

/// What is known of a program that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program<'a> {
    /// The command line; the first is the program.
    pub(super) arguments: &'a [String],
    /// The working directory; empty if unknown.
    pub(super) directory: &'a str,
    /// The executable; empty if unknown.
    pub(super) executable: &'a str,
    /// `FLASK_APP` of the environment.
    pub(super) flask_app: Option<&'a str>,
}

/// What a command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// The name.
    As(String),
    /// It is a worker that has its parent's name.
    AsParent,
}

/// Names a program.
pub(super) fn name(program: &Program<'_>) -> Named {
    if let Some(name) = process_title::name(program) {
        return Named::As(name);
    }
    let arguments = wrapper::inner(program.arguments);
    if let Some(named) = python_command::name(&Program { arguments, ..*program }) {
        return named;
    }
    // A wrapper that has replaced itself left its own words, but not its executable.
    let unwrapped = arguments.len() != program.arguments.len();
    let by_path = [program.executable, arguments.first().map_or("", String::as_str)];
    let chosen =
        if unwrapped { by_path[1] } else { by_path.into_iter().find(|p| !p.is_empty()).unwrap_or_default() };
    Named::As(base_name(chosen).trim_start_matches('-').to_owned())
}

/// Trimmed, without control characters, and no longer than a back end takes.
pub(super) fn sanitise(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    plain.trim().chars().take(MAX_CHARS).collect::<String>().trim_end().to_owned()
}

/// `shop.wsgi:app` is `shop`, `wsgi:app` the directory's name, `src/billing/main.py` `billing`.
pub(super) fn of_module(specification: &str, directory: &str) -> String {
    let module = specification.split(':').next().unwrap_or_default();
    if module.contains('/') || is_script(module) {
        return of_script(module, directory);
    }
    match module.split('.').find(|part| !part.is_empty() && !GENERIC_MODULES.contains(part)) {
        Some(package) => package.to_owned(),
        None => of_directory(directory).unwrap_or_else(|| module.to_owned()),
    }
}

/// Whether this is a Python file and not a module.
pub(super) fn is_script(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "py")
}

/// `worker.py` is `worker`, `main.py` and `pkg/__main__.py` their directory's name.
pub(super) fn of_script(path: &str, directory: &str) -> String {
    let file = base_name(path);
    let stem = [".py", ".pyc", ".pyz", ".pyw"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    let whole = join(directory, path);
    if [".", "..", ""].contains(&stem) {
        return of_directory(&whole).unwrap_or_default();
    }
    if !GENERIC_MODULES.contains(&stem) {
        return stem.to_owned();
    }
    let parent = whole.rsplit_once('/').map_or("", |(parent, _)| parent);
    of_directory(parent).unwrap_or_else(|| stem.to_owned())
}

/// The innermost part of a path that says something, else the innermost part.
pub(super) fn of_directory(directory: &str) -> Option<String> {
    let parts = || directory.split('/').filter(|part| !part.is_empty()).rev();
    let telling = parts().find(|part| !GENERIC_DIRECTORIES.contains(part));
    telling.or_else(|| parts().next()).map(str::to_owned)
}

/// `path` seen from `directory`, with `.` and `..` resolved by their words.
pub(super) fn join(directory: &str, path: &str) -> String {
    let base = if path.starts_with('/') { "" } else { directory };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
