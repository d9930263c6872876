//! Django's rules: `urlpatterns` of the module that `ROOT_URLCONF` names, with all that it includes
//! (`django/urls/resolvers.py`).

use model::{Order, Piece, Routes, Rule, Target};

use super::template::{converter_first, pieces};
use super::{DEPTH_MAX, Module, find};
use crate::object::Objects;

/// `None`: Django is loaded, but not set up. `Some(None)`: its rules are not what they should be.
#[expect(clippy::option_option, reason = "no app and an unclear one differ")]
pub(super) fn read(objects: &Objects<'_>, modules: &[Module]) -> Option<Option<Routes>> {
    let settings =
        find(modules, "django.conf").and_then(|module| objects.named(&module.entries, "settings"))?;
    let settings = objects.attributes(objects.attribute(settings, "_wrapped")?)?;
    let root = objects.named(&settings, "ROOT_URLCONF").and_then(|name| objects.text(name))?;
    let script_name = objects.named(&settings, "FORCE_SCRIPT_NAME");
    if script_name.is_some_and(|name| !objects.is_none(name)) {
        return Some(None);
    }
    let root = find(modules, &root)?;
    let rules = objects
        .named(&root.entries, "urlpatterns")
        .and_then(|patterns| rules(objects, modules, patterns, 0))
        // What is not below the first slash is not the app's.
        .map(|rules| Rule {
            template: "/".to_owned(),
            pieces: vec![Piece::Literal("/".to_owned())],
            methods: None,
            target: Target::Rules(rules),
        });
    Some(rules.map(|rule| Routes { order: Order::First, rules: vec![rule] }))
}

fn rules(objects: &Objects<'_>, modules: &[Module], patterns: u64, depth: usize) -> Option<Vec<Rule>> {
    if depth >= DEPTH_MAX {
        return None;
    }
    let patterns = objects.items(patterns)?;
    patterns.into_iter().map(|pattern| rule(objects, modules, pattern, depth)).collect()
}

fn rule(objects: &Objects<'_>, modules: &[Module], address: u64, depth: usize) -> Option<Rule> {
    let (module, kind) = objects.kind_of(address)?;
    let attributes = objects.attributes(address)?;
    let attribute = |name: &str| objects.named(&attributes, name);
    let (template, mut pieces) = pattern(objects, attribute("pattern")?)?;
    if module != "django.urls.resolvers" {
        return Some(Rule {
            template,
            pieces: vec![Piece::Unknown],
            methods: None,
            target: Target::Endpoint,
        });
    }
    let target = match kind.as_str() {
        "URLPattern" => Target::Endpoint,
        "URLResolver" => {
            let below = attribute("urlconf_name")?;
            if let Some(patterns) = below_of(objects, modules, below) {
                Target::Rules(rules(objects, modules, patterns, depth + 1)?)
            } else {
                pieces.push(Piece::Unknown);
                Target::Endpoint
            }
        }
        _ => {
            pieces = vec![Piece::Unknown];
            Target::Endpoint
        }
    };
    Some(Rule { template, pieces, methods: None, target })
}

/// What is included: a module's `urlpatterns`, or the patterns themselves.
fn below_of(objects: &Objects<'_>, modules: &[Module], included: u64) -> Option<u64> {
    if objects.items(included).is_some() {
        return Some(included);
    }
    match objects.text(included) {
        Some(name) => objects.named(&find(modules, &name)?.entries, "urlpatterns"),
        None => objects.named(&objects.module_entries(included)?, "urlpatterns"),
    }
}

/// A pattern's text and pieces.
fn pattern(objects: &Objects<'_>, address: u64) -> Option<(String, Vec<Piece>)> {
    let (module, kind) = objects.kind_of(address)?;
    let attributes = objects.attributes(address)?;
    match (module.as_str(), kind.as_str()) {
        ("django.urls.resolvers", "RoutePattern") => {
            // A text that is translated is no `str`.
            let route = objects.named(&attributes, "_route")?;
            let Some(route) = objects.text(route) else { return Some((String::new(), vec![Piece::Unknown])) };
            let converters = objects.entries(objects.named(&attributes, "converters")?)?;
            let pieces = pieces(&route, ('<', '>'), converter_first, |variable| {
                let converter = objects.named(&converters, variable.name);
                converter.map_or(Piece::Unknown, |converter| piece(objects, converter))
            })?;
            Some((route, pieces))
        }
        ("django.urls.resolvers", "RegexPattern") => {
            let regex = objects.text(objects.named(&attributes, "_regex")?);
            let pieces = regex.as_deref().map_or(vec![Piece::Unknown], beginning);
            Some((regex.unwrap_or_default(), pieces))
        }
        _ => Some((String::new(), vec![Piece::Unknown])),
    }
}

/// By the converter's type (`django/urls/converters.py`).
fn piece(objects: &Objects<'_>, converter: u64) -> Piece {
    match objects.kind_of(converter) {
        Some((module, name)) if module == "django.urls.converters" => match name.as_str() {
            "IntConverter" => Piece::Digits,
            "StringConverter" => Piece::Segment,
            "SlugConverter" => Piece::Slug,
            "UUIDConverter" => Piece::LowerUuid,
            "PathConverter" => Piece::Rest,
            _ => Piece::Unknown,
        },
        _ => Piece::Unknown,
    }
}

/// Of a regular expression, the text that a path must begin with; what follows is not decided.
fn beginning(regex: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if let Some(rest) = regex.strip_prefix('^') {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
        let end = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
        let mut literal = &rest[..end];
        // What is repeated, or one of several, may be missing.
        if rest[end..].starts_with(['?', '*', '{']) {
            literal = &literal[..literal.len().saturating_sub(1)];
        }
        if rest.contains('|') {
            literal = "";
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
    }
    pieces.push(Piece::Unknown);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_is_decided_by_its_beginning() {
        for (regex, want) in [
            ("^media/(?P<path>.*)$", "media/"),
            ("^articles/$", "articles/"),
            ("^articles/?$", "articles"),
            ("^a{2}", ""),
            ("^a|b$", ""),
            ("(?P<url>.*)$", ""),
            ("articles", ""),
            (r"^\d+$", ""),
        ] {
            let mut want: Vec<_> = Some(want)
                .filter(|text| !text.is_empty())
                .map(|text| Piece::Literal(text.into()))
                .into_iter()
                .collect();
            want.push(Piece::Unknown);
            assert_eq!(beginning(regex), want, "{regex}");
        }
    }
}
