//! Names of low cardinality. Invariants: an app never has more names than its ceiling; a path that is
//! answered as unknown teaches the app's routes nothing (a scanner must not blur the real ones).

mod segment;
mod trie;

use std::sync::Arc;

use model::SpanKind;
use rustc_hash::FxHashMap;

pub(crate) use segment::template;
use trie::Trie;

/// The methods that stand in names; others are `_OTHER` (OpenTelemetry, `http.request.method`).
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
/// The route of what is beyond the ceiling.
const OTHER: &str = "(other)";
/// Of the ceiling, the part that unknown paths may use: one in this many.
const STRANGE_SHARE: usize = 4;

/// A span's name and the route in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    pub(crate) route: Option<Arc<str>>,
    /// The app has too many names: this is the shared one.
    pub(crate) over_ceiling: bool,
}

/// The method as it stands in a name.
pub(crate) fn method_in_name(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or("_OTHER")
}

/// The names of one app.
#[derive(Debug)]
pub(crate) struct Names {
    ceiling: usize,
    max_children: usize,
    /// What the app serves, and what it asks others for.
    routes: [Trie; 2],
    /// Paths that were answered as unknown.
    strange: [Trie; 2],
    strange_count: usize,
    known: FxHashMap<Box<str>, Name>,
    scratch: String,
}

impl Names {
    pub(crate) fn new(ceiling: usize, max_children: usize) -> Self {
        Self {
            ceiling,
            max_children,
            routes: [Trie::default(), Trie::default()],
            strange: [Trie::default(), Trie::default()],
            strange_count: 0,
            known: FxHashMap::default(),
            scratch: String::new(),
        }
    }

    /// The name as far as it can be told before the answer is known; learns nothing.
    pub(crate) fn peek(
        &mut self,
        kind: SpanKind,
        method: &str,
        route: Option<&str>,
        template: Option<&str>,
    ) -> &str {
        self.begin(method);
        if let Some(route) = route {
            self.scratch.push_str(route);
        } else if let Some(template) = template
            && !self.routes[kind as usize].find(template, &mut self.scratch)
            && !self.strange[kind as usize].find(template, &mut self.scratch)
        {
            self.scratch.push_str(template);
        }
        &self.scratch
    }

    /// The name of an exchange that is over. `strange`: the answer was that there is no such path.
    /// Without a template the name is the method alone.
    pub(crate) fn resolve(
        &mut self,
        kind: SpanKind,
        method: &str,
        template: Option<&str>,
        strange: bool,
    ) -> Name {
        self.begin(method);
        let Some(template) = template else {
            let text = self.scratch.trim_end().into();
            return Name { text, route: None, over_ceiling: false };
        };
        let (main, other) = (&mut self.routes[kind as usize], &mut self.strange[kind as usize]);
        let learned = main.find(template, &mut self.scratch);
        let found = learned || strange && other.find(template, &mut self.scratch);
        let full = self.known.len() >= self.ceiling
            || strange && !learned && self.strange_count >= self.ceiling.div_ceil(STRANGE_SHARE);
        if found && let Some(name) = self.known.get(self.scratch.as_str()) {
            return name.clone();
        }
        if full {
            self.begin(method);
            self.scratch.push_str(OTHER);
            return Name { text: self.scratch.as_str().into(), route: None, over_ceiling: true };
        }
        if !found {
            self.begin(method);
            let trie = if strange { &mut self.strange } else { &mut self.routes };
            trie[kind as usize].learn(template, self.max_children, &mut self.scratch);
            self.strange_count += usize::from(strange);
        }
        self.register(method_in_name(method).len() + 1)
    }

    /// The name of a request that goes to a framework's rule.
    pub(crate) fn of_rule(&mut self, method: &str, route: &Arc<str>) -> Name {
        self.begin(method);
        self.scratch.push_str(route);
        if let Some(name) = self.known.get(self.scratch.as_str()) {
            return name.clone();
        }
        if self.known.len() >= self.ceiling {
            self.begin(method);
            self.scratch.push_str(OTHER);
            return Name { text: self.scratch.as_str().into(), route: None, over_ceiling: true };
        }
        self.register(method_in_name(method).len() + 1)
    }

    /// A name that is not made of a method and a path. Beyond the ceiling only its stem is kept.
    pub(crate) fn admit(&mut self, text: &str, stem: &str) -> Name {
        if let Some(name) = self.known.get(text) {
            return name.clone();
        }
        if self.known.len() >= self.ceiling {
            return Name { text: format!("{stem} {OTHER}").into(), route: None, over_ceiling: true };
        }
        let name = Name { text: text.into(), route: None, over_ceiling: false };
        self.known.insert(text.into(), name.clone());
        name
    }

    fn begin(&mut self, method: &str) {
        self.scratch.clear();
        self.scratch.push_str(method_in_name(method));
        self.scratch.push(' ');
    }

    /// Keeps the name in `scratch`, whose route begins at `route`.
    fn register(&mut self, route: usize) -> Name {
        if let Some(name) = self.known.get(self.scratch.as_str()) {
            return name.clone();
        }
        let name = Name {
            text: self.scratch.as_str().into(),
            route: Some(self.scratch[route..].into()),
            over_ceiling: false,
        };
        self.known.insert(self.scratch.as_str().into(), name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpanKind::{Client, Server};

    fn name(names: &mut Names, kind: SpanKind, method: &str, path: &str, strange: bool) -> String {
        let template = template(path);
        names.resolve(kind, method, Some(&template), strange).text.to_string()
    }

    #[test]
    fn methods_stand_in_names() {
        let mut names = Names::new(500, 64);
        assert_eq!(name(&mut names, Server, "GET", "/users/7", false), "GET /users/{id}");
        assert_eq!(name(&mut names, Server, "PROPFIND", "/dav", false), "_OTHER /dav");
        assert_eq!(name(&mut names, Server, "get", "/dav", false), "_OTHER /dav");
        assert_eq!(&*names.resolve(Server, "OPTIONS", None, false).text, "OPTIONS");
        assert_eq!(names.peek(Server, "GET", None, Some("/users/{id}")), "GET /users/{id}");
        assert_eq!(names.peek(Server, "GET", None, Some("/new")), "GET /new");
    }

    #[test]
    fn many_children_become_one() {
        let mut names = Names::new(500, 8);
        for user in 0..8 {
            let word = format!("/u/name{}", "x".repeat(user));
            assert_eq!(name(&mut names, Server, "GET", &word, false), format!("GET {word}"));
        }
        assert_eq!(name(&mut names, Server, "GET", "/u/ninth", false), "GET /u/{*}");
        assert_eq!(name(&mut names, Server, "GET", "/u/name", false), "GET /u/{*}");
        assert_eq!(names.peek(Server, "GET", None, Some("/u/tenth")), "GET /u/{*}");
        // The client side learns by itself.
        assert_eq!(name(&mut names, Client, "GET", "/u/ninth", false), "GET /u/ninth");
    }

    #[test]
    fn the_ceiling_holds() {
        let mut names = Names::new(10, 64);
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..100 {
            let template = template(&format!("/{}", "a".repeat(at % 60 + 1)));
            let name = names.resolve(Server, "GET", Some(&template), false);
            assert_eq!(name.over_ceiling, name.route.is_none());
            seen.insert(name.text);
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
        assert!(seen.contains("GET (other)"));
        assert_eq!(name(&mut names, Server, "GET", "/aa", false), "GET /aa");
    }

    #[test]
    fn other_names_count_too() {
        let mut names = Names::new(2, 64);
        for (text, want, over) in [
            ("SELECT a", "SELECT a", false),
            ("PING", "PING", false),
            ("SELECT a", "SELECT a", false),
            ("SELECT b", "SELECT (other)", true),
        ] {
            let name = names.admit(text, text.split(' ').next().unwrap());
            assert_eq!((&*name.text, name.route, name.over_ceiling), (want, None, over));
        }
        assert_eq!(name(&mut names, Server, "GET", "/a", false), "GET (other)");
    }

    #[test]
    fn a_scanner_leaves_the_routes_alone() {
        let mut names = Names::new(40, 8);
        assert_eq!(name(&mut names, Server, "GET", "/real", false), "GET /real");
        for at in 0..1000 {
            name(&mut names, Server, "GET", &format!("/{}.php", "w".repeat(at % 50 + 1)), true);
        }
        assert_eq!(name(&mut names, Server, "GET", "/real", false), "GET /real");
        assert_eq!(name(&mut names, Server, "GET", "/other-real", false), "GET /other-real");
        assert_eq!(name(&mut names, Server, "GET", "/real", true), "GET /real");
    }

    #[test]
    fn hostile_paths_stay_bounded() {
        let mut names = Names::new(100, 8);
        let mut random = fastrand::Rng::with_seed(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            let depth = random.usize(1..20);
            let path: String = (0..depth).flat_map(|_| ['/', random.alphabetic()]).collect();
            seen.insert(name(&mut names, Server, "GET", &path, random.bool()));
        }
        assert!(seen.len() <= 101, "{}", seen.len());
    }
}
