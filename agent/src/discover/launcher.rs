//! Programs that serve an app named in their arguments: `gunicorn shop.wsgi:app`, `celery -A proj worker`.
//!
//! Invariant: an option's value is never taken for the app. Where nothing names the app, its directory does.

mod table;

use super::app_name::{Program, is_script, join, of_directory, of_module, of_script};
use super::files::base_name;
use table::{LAUNCHERS, Launcher};

/// What stands in the arguments.
#[derive(Debug, Default)]
struct Words<'a> {
    name: Option<&'a str>,
    module: Option<&'a str>,
    directory: Option<&'a str>,
    file: Option<&'a str>,
    positionals: Vec<&'a str>,
}

/// The app's name, if `launcher` (a program or a module run with `-m`) is known.
pub(super) fn name(launcher: &str, arguments: &[String], program: &Program<'_>) -> Option<String> {
    let known = LAUNCHERS.iter().find(|known| known.names.contains(&launcher))?;
    let words = read(known, arguments);
    if let Some(name) = words.name {
        return Some(name.to_owned());
    }
    let directory =
        words.directory.map_or_else(|| program.directory.to_owned(), |d| join(program.directory, d));
    let from_environment = program.flask_app.filter(|_| known.reads_flask_app);
    if let Some(module) = words.module.or_else(|| app_among(&words.positionals)).or(from_environment) {
        return Some(of_module(module, &directory));
    }
    if let Some(file) = words.file {
        let stem = base_name(file).split('.').next().unwrap_or_default();
        if !stem.is_empty() && !known.names.contains(&stem) {
            return Some(of_script(&file.replace(base_name(file), stem), &directory));
        }
    }
    Some(of_directory(&directory).unwrap_or_else(|| launcher.to_owned()))
}

fn read<'a>(launcher: &Launcher, arguments: &'a [String]) -> Words<'a> {
    let mut words = Words::default();
    let mut arguments = arguments.iter().map(String::as_str);
    let mut verbs = launcher.verbs;
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            words.positionals.extend(arguments.by_ref());
        } else if !argument.starts_with('-') {
            if verbs.contains(&argument) {
                verbs = &[];
            } else if launcher.config_ends.iter().any(|end| argument.ends_with(end)) {
                words.file = words.file.or(Some(argument));
            } else if launcher.positional {
                words.positionals.push(argument);
            }
        } else {
            let (option, attached) = split(argument);
            let takes_value =
                [launcher.name, launcher.module, launcher.directory, launcher.config, launcher.valued]
                    .iter()
                    .any(|options| options.contains(&option));
            let value = attached.or_else(|| if takes_value { arguments.next() } else { None });
            let slots = [
                (launcher.name, &mut words.name),
                (launcher.module, &mut words.module),
                (launcher.directory, &mut words.directory),
                (launcher.config, &mut words.file),
            ];
            for (options, slot) in slots {
                if options.contains(&option) {
                    *slot = value.filter(|value| !value.is_empty()).or(*slot);
                }
            }
        }
    }
    words
}

/// `--name=value`, `-nvalue`, `-n`.
fn split(argument: &str) -> (&str, Option<&str>) {
    if argument.starts_with("--") {
        return argument.split_once('=').map_or((argument, None), |(option, value)| (option, Some(value)));
    }
    let end = argument.char_indices().nth(2).map_or(argument.len(), |(index, _)| index);
    let (option, value) = argument.split_at(end);
    (option, (!value.is_empty()).then(|| value.trim_start_matches('=')))
}

/// The first word that looks like `pkg.module:attribute`, else like a module or a script.
fn app_among<'a>(words: &[&'a str]) -> Option<&'a str> {
    let find = |looks: fn(&str) -> bool| words.iter().copied().find(|word| looks(word));
    find(|word| {
        word.split_once(':').is_some_and(|(module, attribute)| is_code(module) && is_attribute(attribute))
    })
    .or_else(|| find(is_code))
}

fn is_code(word: &str) -> bool {
    is_script(word) || is_dotted(word)
}

fn is_attribute(word: &str) -> bool {
    is_dotted(word.split('(').next().unwrap_or_default())
}

fn is_dotted(word: &str) -> bool {
    word.split('.').all(|part| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}
