//! Flask's rules: `Flask.url_map`, a `werkzeug.routing.Map` of Werkzeug 2.2 and later (`werkzeug/routing/`).

use model::{Order, Piece, Routes, Rule, Target};

use super::template::{converter_first, pieces};
use crate::object::Objects;

/// `None`: they are not what they should be, or go by more than the path.
pub(super) fn read(objects: &Objects<'_>, app: u64) -> Option<Routes> {
    let map = objects.attributes(objects.attribute(app, "url_map")?)?;
    // Older ones order their rules otherwise.
    objects.named(&map, "_matcher")?;
    if objects.bool(objects.named(&map, "host_matching")?)? {
        return None;
    }
    let mut rules = Vec::new();
    for (_, list) in objects.entries(objects.named(&map, "_rules_by_endpoint")?)? {
        for address in objects.items(list)? {
            rules.extend(rule(objects, address)?);
        }
    }
    Some(Routes { order: Order::MostLiteral, rules })
}

/// A rule. `Some(None)`: no request ever matches it.
#[expect(clippy::option_option, reason = "no rule and an unclear one differ")]
fn rule(objects: &Objects<'_>, address: u64) -> Option<Option<Rule>> {
    let attributes = objects.attributes(address)?;
    let attribute = |name: &str| objects.named(&attributes, name);
    let is = |name: &str| objects.bool(attribute(name)?);
    if is("build_only")? || is("websocket")? {
        return Some(None);
    }
    let subdomain = attribute("subdomain")?;
    if !objects.is_none(subdomain) && !objects.text(subdomain)?.is_empty() {
        return None;
    }
    let template = objects.text(attribute("rule")?)?;
    let converters = objects.entries(attribute("_converters")?)?;
    let methods = attribute("methods")?;
    let methods = if objects.is_none(methods) { None } else { Some(objects.set_of_texts(methods)?) };
    let pieces = pieces(&template, ('<', '>'), converter_first, |variable| {
        // With arguments it may accept less.
        if variable.converter.contains('(') {
            return Piece::Unknown;
        }
        objects
            .named(&converters, variable.name)
            .map_or(Piece::Unknown, |converter| piece(objects, converter))
    })?;
    let target = if is("strict_slashes")? { Target::Endpoint } else { Target::LenientEndpoint };
    // Redirects elsewhere, or stands for another rule.
    let is_plain = objects.is_none(attribute("redirect_to")?) && !is("alias")?;
    let pieces = if is_plain { pieces } else { vec![Piece::Unknown] };
    Some(Some(Rule { template, pieces, methods, target }))
}

/// By the converter's type (`werkzeug/routing/converters.py`).
fn piece(objects: &Objects<'_>, converter: u64) -> Piece {
    match objects.kind_of(converter) {
        Some((module, name)) if module == "werkzeug.routing.converters" => match name.as_str() {
            "UnicodeConverter" => Piece::Segment,
            "PathConverter" => Piece::RestOfPath,
            "IntegerConverter" => Piece::Digits,
            "FloatConverter" => Piece::Fraction,
            "UUIDConverter" => Piece::Uuid,
            _ => Piece::Unknown,
        },
        _ => Piece::Unknown,
    }
}
