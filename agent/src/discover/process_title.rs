//! Programs that write their own title over their command line (`setproctitle`).

use super::app_name::{Program, of_module};

/// The name a title tells, if this is a title that is known.
pub(super) fn name(program: &Program<'_>) -> Option<String> {
    let title = program.arguments.first()?.trim();
    if let Some(rest) = title.strip_prefix("gunicorn: ") {
        return gunicorn(rest, program.directory);
    }
    if title.starts_with("[celeryd: ") {
        let mut words = title.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
        words.find(|&word| word == "-A" || word == "--app")?;
        return words.next().map(|app| of_module(app, program.directory));
    }
    None
}

/// `master [shop.wsgi:app]`, `worker [shop]`: the name in brackets is `--name`, else the module.
fn gunicorn(rest: &str, directory: &str) -> Option<String> {
    let (role, rest) = rest.split_once('[')?;
    let known = role.trim().starts_with("master") || role.trim().starts_with("worker");
    let (name, _) = rest.rsplit_once(']')?;
    // `gunicorn` is what stands there when neither a name nor a module is given.
    match name.trim() {
        _ if !known => None,
        "" | "gunicorn" => Some(of_module("", directory)).filter(|name| !name.is_empty()),
        name => Some(of_module(name, directory)),
    }
}
