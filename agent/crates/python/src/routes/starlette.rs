//! Rules of Starlette and `FastAPI`: `app.router.routes`, with mounts and included routers (`starlette/routing.py`,
//! `fastapi/routing.py`).

use model::{Order, Piece, Routes, Rule, Target};

use super::DEPTH_MAX;
use super::template::{name_first, pieces};
use crate::object::Objects;

/// `None`: they are not what they should be.
pub(super) fn read(objects: &Objects<'_>, app: u64) -> Option<Routes> {
    let rules = rules(objects, routes_of(objects, app)?, "", 0)?;
    Some(Routes { order: Order::FirstOfMethod, rules })
}

/// The apps that an app leads to.
pub(super) fn mounted(objects: &Objects<'_>, app: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = vec![(app, 0)];
    while let Some((app, depth)) = next.pop() {
        if depth >= DEPTH_MAX {
            continue;
        }
        let routes = routes_of(objects, app).and_then(|routes| objects.items(routes)).unwrap_or_default();
        for route in routes {
            let below = match kind(objects, route) {
                Some(Kind::Mount) => mounted_app(objects, route),
                Some(Kind::Included) => objects.attribute(route, "original_router"),
                _ => None,
            };
            if let Some(below) = below.filter(|below| !found.contains(below)) {
                found.push(below);
                next.push((below, depth + 1));
            }
        }
    }
    found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Route,
    Socket,
    Mount,
    Included,
    Other,
}

fn kind(objects: &Objects<'_>, route: u64) -> Option<Kind> {
    let kind = objects.type_of(route)?;
    let (module, name) = objects.kind_of(route)?;
    // What is made from them may match otherwise.
    Some(match (module.as_str(), name.as_str()) {
        ("starlette.routing", "Route") | ("fastapi.routing", "APIRoute") => Kind::Route,
        ("starlette.routing", "WebSocketRoute") | ("fastapi.routing", "APIWebSocketRoute") => Kind::Socket,
        ("starlette.routing", "Mount") => Kind::Mount,
        ("fastapi.routing", "_IncludedRouter") => Kind::Included,
        // An endpoint's own class of routes handles requests otherwise, and matches as its base does.
        _ if objects.is_a(kind, "fastapi.routing", "APIRoute") => Kind::Route,
        _ => Kind::Other,
    })
}

/// The list of routes of an app or a router.
fn routes_of(objects: &Objects<'_>, app: u64) -> Option<u64> {
    let attributes = objects.attributes(app)?;
    match objects.named(&attributes, "router") {
        Some(router) => objects.attribute(router, "routes"),
        None => objects.named(&attributes, "routes"),
    }
}

/// What is mounted, without the middleware around it.
fn mounted_app(objects: &Objects<'_>, mount: u64) -> Option<u64> {
    let attributes = objects.attributes(mount)?;
    objects.named(&attributes, "_base_app").or_else(|| objects.named(&attributes, "app"))
}

fn rules(objects: &Objects<'_>, list: u64, prefix: &str, depth: usize) -> Option<Vec<Rule>> {
    let mut found = Vec::new();
    if depth >= DEPTH_MAX {
        return None;
    }
    for route in objects.items(list)? {
        let unknown = Rule {
            template: String::new(),
            pieces: vec![Piece::Unknown],
            methods: None,
            target: Target::Endpoint,
        };
        let rule = match kind(objects, route)? {
            Kind::Other => unknown,
            Kind::Included => {
                let context = objects.attribute(route, "include_context")?;
                let prefix = format!("{prefix}{}", objects.text_attribute(context, "prefix")?);
                let router = objects.attribute(route, "original_router")?;
                found.extend(rules(objects, objects.attribute(router, "routes")?, &prefix, depth + 1)?);
                continue;
            }
            Kind::Mount => {
                let path = format!("{prefix}{}", objects.text_attribute(route, "path")?);
                let path = path.trim_end_matches('/').to_owned();
                mount(objects, route, path, depth)?
            }
            kind => {
                let attributes = objects.attributes(route)?;
                let attribute = |name: &str| objects.named(&attributes, name);
                let template = format!("{prefix}{}", objects.text(attribute("path")?)?);
                let methods = match attribute("methods") {
                    Some(methods) if !objects.is_none(methods) => {
                        // No method at all is any.
                        Some(objects.set_of_texts(methods)?).filter(|methods| !methods.is_empty())
                    }
                    _ => None,
                };
                let pieces = path_pieces(objects, &template, attribute("param_convertors")?)?;
                let target = if kind == Kind::Socket { Target::Socket } else { Target::Endpoint };
                Rule { template, pieces, methods, target }
            }
        };
        found.push(rule);
    }
    Some(found)
}

fn mount(objects: &Objects<'_>, route: u64, path: String, depth: usize) -> Option<Rule> {
    let mut pieces = path_pieces(objects, &path, objects.attribute(route, "param_convertors")?)?;
    let app = mounted_app(objects, route)?;
    let (module, name) = objects.kind_of(app)?;
    if (module.as_str(), name.as_str()) == ("starlette.staticfiles", "StaticFiles") {
        pieces.extend([Piece::Literal("/".to_owned()), Piece::Anything]);
        let template = format!("{path}/{{path}}");
        return Some(Rule { template, pieces, methods: None, target: Target::Endpoint });
    }
    let kind = objects.type_of(app)?;
    let is_known = objects.is_a(kind, "starlette.applications", "Starlette")
        || objects.is_a(kind, "starlette.routing", "Router");
    let below = if is_known { routes_of(objects, app) } else { None };
    let target = if let Some(routes) = below {
        Target::Rules(rules(objects, routes, "", depth + 1)?)
    } else {
        pieces.extend([Piece::Literal("/".to_owned()), Piece::Unknown]);
        Target::Endpoint
    };
    Some(Rule { template: path, pieces, methods: None, target })
}

/// By the type of each variable's convertor (`starlette/convertors.py`).
fn path_pieces(objects: &Objects<'_>, template: &str, convertors: u64) -> Option<Vec<Piece>> {
    let convertors = objects.entries(convertors)?;
    pieces(template, ('{', '}'), name_first, |variable| {
        let convertor = objects.named(&convertors, variable.name);
        match convertor.and_then(|convertor| objects.kind_of(convertor)) {
            Some((module, name)) if module == "starlette.convertors" => match name.as_str() {
                "StringConvertor" => Piece::Segment,
                "PathConvertor" => Piece::Anything,
                "IntegerConvertor" => Piece::Digits,
                "FloatConvertor" => Piece::Decimal,
                "UUIDConvertor" => Piece::BareUuid,
                _ => Piece::Unknown,
            },
            // A variable of the prefix that a router was included under.
            None if matches!(variable.converter, "" | "str") => Piece::Segment,
            _ => Piece::Unknown,
        }
    })
}
