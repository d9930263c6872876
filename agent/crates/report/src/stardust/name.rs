//! Names as the Stardust server and its pages understand them.
//!
//! Invariant: a name is never empty, has at most 200 characters, and its first characters tell its kind: `/` is an API
//! of the app, `http` a call it makes, `db:` a query, `redis:` a command, `ws:` a session, `open:` a part of what goes on,
//! `socket:` a connection that did not come about.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{End, Family, Span, SpanKind};

use super::text::{cut, not_a_date};

/// The server drops longer ones.
const NAME_CHARS: usize = 200;
/// A segment of a client's URL that is longer, with its slash, ends the name.
const SEGMENT_CHARS: usize = 16;
/// Names a host may have before its calls are all counted under the host.
const NAMES_PER_HOST: usize = 64;
/// Hosts whose names are told apart; calls to further ones are counted by host.
const HOSTS: usize = 256;
/// Third segments that name an action rather than a thing, and so belong to an API's name.
const VERBS: [&str; 8] = ["index", "detail", "add", "edit", "delete", "create", "insert", "update"];

/// A span's name, still to be checked against the host's other names if it is a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// As it is.
    Plain(Cow<'a, str>),
    /// A call to a host, or to something else that may be asked for many things.
    Call {
        /// `scheme://authority`, `db:{database}:{Action}`
        host: String,
        /// `scheme://authority/segments`, `db:{database}:{Action}:{table}`
        full: String,
    },
}

/// The names seen per host.
#[derive(Debug, Default)]
pub(super) struct HostNames {
    hosts: HashMap<String, HashSet<Arc<str>>>,
}

/// The name of `span`. A part of an exchange that goes on is counted apart from whole ones: `open:/events`.
pub(super) fn name_of(span: &Span) -> Name<'_> {
    match whole_name(span) {
        whole if span.end != End::Ongoing => whole,
        Name::Plain(whole) => plain(format!("open:{whole}").into()),
        Name::Call { host, full } => bounded(&format!("open:{host}"), &format!("open:{full}")),
    }
}

fn whole_name(span: &Span) -> Name<'_> {
    if span.end == End::NotConnected {
        return plain(format!("socket:{}", span.peer).into());
    }
    match span.protocol.family() {
        Family::Sql => return query_name(span),
        Family::Store => return command_name(span),
        Family::Session if span.kind == SpanKind::Server => {
            return plain(
                format!("{}:{}", span.scheme, api_name(span.route.as_deref().unwrap_or("/"))).into(),
            );
        }
        Family::Session | Family::Http => {}
    }
    match (span.kind, span.route.as_deref()) {
        (SpanKind::Server, Some(route)) => plain(api_name(route)),
        (SpanKind::Server, None) => plain(other_name(&span.name)),
        (SpanKind::Client, route) => call_name(span.scheme, &span.host, route.unwrap_or("")),
    }
}

/// `db:{database}:{Action}` and the table, as the official client names queries: `db:shop:Select:orders`. The tables of
/// one database and action are bounded as the paths of one host are.
fn query_name(span: &Span) -> Name<'_> {
    let database = text_of(span, "db.namespace").unwrap_or(&span.host);
    let operation = text_of(span, "db.operation.name").unwrap_or(span.protocol.as_str());
    // Many of one kind count as one of it.
    let mut action = operation.strip_prefix("BATCH ").unwrap_or(operation).to_ascii_lowercase();
    if let Some(first) = action.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let host = format!("db:{}:{}", part(database), part(&action));
    match text_of(span, "db.collection.name") {
        Some(table) => bounded(&host, &format!("{host}:{}", part(table))),
        None => plain(host.into()),
    }
}

/// `redis:{host}:{COMMAND}`; the usual ports are left out.
fn command_name(span: &Span) -> Name<'_> {
    let operation = match text_of(span, "db.operation.name").unwrap_or("unknown") {
        several if several.starts_with("PIPELINE") || several.starts_with("MULTI ") => "Pipeline",
        one => one.strip_prefix("BATCH ").unwrap_or(one),
    };
    let asked = span.host.strip_suffix(":6379").or_else(|| span.host.strip_suffix(":11211"));
    let host = format!("{}:{}", span.protocol.scheme(), part(asked.unwrap_or(&span.host)));
    bounded(&host, &format!("{host}:{}", part(operation)))
}

fn text_of<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attribute(name)?.as_text().filter(|text| !text.is_empty())
}

/// As one part of a name, whose parts a colon separates.
fn part(text: &str) -> String {
    clean(text).replace(':', "_")
}

fn bounded(host: &str, full: &str) -> Name<'static> {
    Name::Call { host: cut(host, NAME_CHARS).to_owned(), full: cut(full, NAME_CHARS).to_owned() }
}

/// `/a/b`; with a third segment if that is a verb; `/` for the root.
fn api_name(route: &str) -> Cow<'_, str> {
    let route = clean(route);
    let mut ends = Vec::with_capacity(3);
    let mut segments = Vec::with_capacity(3);
    let mut at = 0;
    for piece in route.split('/') {
        at += piece.len();
        if !piece.is_empty() {
            segments.push(piece);
            ends.push(at);
            if segments.len() == 3 {
                break;
            }
        }
        at += 1;
    }
    let take = match segments.get(2) {
        Some(third) if VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(third)) => 3,
        _ => segments.len().min(2),
    };
    if take == 0 {
        return "/".into();
    }
    let tidy = route.starts_with('/') && !route[..ends[take - 1]].contains("//");
    if tidy { route[..ends[take - 1]].into() } else { format!("/{}", segments[..take].join("/")).into() }
}

/// A name that is no path. Text before a colon would be its kind, so there is no colon.
fn other_name(name: &str) -> Cow<'_, str> {
    let name = clean(name);
    match name {
        "" => "unknown".into(),
        _ if name.contains(':') => name.replace(':', "_").into(),
        _ => name.into(),
    }
}

fn call_name<'a>(scheme: &str, authority: &str, path: &'a str) -> Name<'a> {
    let path = clean(path);
    if authority.is_empty() {
        return plain(if path.is_empty() { "unknown".into() } else { path.into() });
    }
    let authority = authority.to_ascii_lowercase();
    let default_port = if matches!(scheme, "https" | "wss") { ":443" } else { ":80" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let host = format!("{scheme}://{authority}");
    let kept: usize = path
        .strip_prefix('/')
        .unwrap_or_default()
        .split_inclusive('/')
        .take_while(|segment| segment.chars().count() <= SEGMENT_CHARS)
        .map(str::len)
        .sum();
    if kept == 0 {
        return plain(host.into());
    }
    let full = format!("{host}/{}", &path[1..=kept]);
    bounded(&host, &full)
}

/// What is before the first `?`, `#` or `&`, unless that is the first character.
fn clean(name: &str) -> &str {
    match name.find(['?', '#', '&']) {
        Some(end) if end > 0 => &name[..end],
        _ => name,
    }
}

fn plain(name: Cow<'_, str>) -> Name<'_> {
    let name = match cut(&name, NAME_CHARS).len() {
        len if len < name.len() => Cow::Owned(name[..len].to_owned()),
        _ => name,
    };
    Name::Plain(not_a_date(name))
}

impl HostNames {
    /// The name to count `name` under: the host's own once it has too many names.
    pub(super) fn admit<'a>(&mut self, name: Name<'a>) -> Cow<'a, str> {
        self.admit_within(name, NAMES_PER_HOST)
    }

    fn admit_within<'a>(&mut self, name: Name<'a>, names_per_host: usize) -> Cow<'a, str> {
        let (host, full) = match name {
            Name::Plain(name) => return name,
            Name::Call { host, full } => (host, full),
        };
        let room = self.hosts.len() < HOSTS;
        match self.hosts.get_mut(&host) {
            Some(names) if names.contains(full.as_str()) => full.into(),
            Some(names) if names.len() < names_per_host => {
                names.insert(full.as_str().into());
                full.into()
            }
            None if room => {
                self.hosts.insert(host, HashSet::from([full.as_str().into()]));
                full.into()
            }
            Some(_) | None => host.into(),
        }
    }
}

#[cfg(test)]
mod tests;
