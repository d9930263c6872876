//! The routes of the app in a process, read from the objects of its framework: Flask, Django, Starlette and `FastAPI`.
//!
//! Invariant: what is given is the whole of one app's rules, as far as every object on the way was what it should be.
//! Where several apps could be the one that serves, nothing is.

mod django;
mod made;
mod starlette;
mod template;
mod werkzeug;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use model::Routes;
use thiserror::Error;

use crate::object::Objects;
use crate::{Layout, Memory, modules, state};

/// Most modules that are looked through, and how deep rules lead to rules.
const MODULES_MAX: usize = 8192;
const DEPTH_MAX: usize = 16;
/// Most rules of an app.
const RULES_MAX: usize = 4096;

/// Most reads of memory in one look: some ten times what the largest apps need.
const READS_MAX: u64 = 8_000_000;
/// The modules that define apps, one of each framework.
const FRAMEWORKS: [&str; 3] = ["flask.app", "starlette.applications", "django.urls.resolvers"];

/// Why there are no routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoRoutes {
    /// The list of modules cannot be read.
    #[error("its modules cannot be read")]
    Unreadable,
    /// No app of a known framework is there.
    #[error("no app of a known framework was found")]
    NoApp,
    /// Several apps are there: it is not known which serves.
    #[error("several apps are there, and it is not known which one serves")]
    Several,
    /// Something in the app's rules is not what it should be; it may just be changing.
    #[error("the app's rules cannot be read")]
    Unclear,
}

/// An app that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum App {
    Flask(u64),
    Starlette(u64),
}

/// What an object at an address is.
type Make = fn(u64) -> App;

/// A loaded module: its name and what it holds.
struct Module {
    name: String,
    entries: Vec<(u64, u64)>,
}

/// Memory of which no more than so many reads are done: rules that lead to each other end so.
struct Bounded<'a, M> {
    memory: &'a M,
    left: Cell<u64>,
}

impl<M: Memory> Memory for Bounded<'_, M> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && self.memory.read(address, into)
    }
}

/// Reads them. `runtime`: the address of `_PyRuntime`.
pub fn read(memory: &impl Memory, runtime: u64, layout: &Layout) -> Result<Routes, NoRoutes> {
    let memory = &Bounded { memory, left: Cell::new(READS_MAX) };
    let objects = Objects { memory, layout };
    let [interpreter] = state::interpreters(memory, runtime, layout)[..] else {
        return Err(NoRoutes::Unreadable);
    };
    let loaded = modules::named(&objects, interpreter, MODULES_MAX).ok_or(NoRoutes::Unreadable)?;
    let loaded: Vec<(String, u64)> = loaded.collect();
    let has = |name: &str| loaded.iter().any(|(loaded, _)| loaded == name);
    if !FRAMEWORKS.iter().any(|module| has(module)) {
        return Err(NoRoutes::NoApp);
    }
    let modules = contents(&objects, &loaded);
    let mut found: Vec<Routes> = Vec::new();
    let mut unclear = false;
    let mut take = |routes: Option<Routes>| match routes {
        // The same app under two names: as `__main__`, and imported.
        Some(routes) if found.contains(&routes) => {}
        Some(routes) => found.push(routes),
        None => unclear = true,
    };
    let has_app = has("flask.app") || has("starlette.applications");
    let apps = if has_app { apps(&objects, &modules, [interpreter, runtime]) } else { Vec::new() };
    let mounted: HashSet<u64> = apps
        .iter()
        .filter_map(|app| match app {
            App::Starlette(address) => Some(starlette::mounted(&objects, *address)),
            App::Flask(_) => None,
        })
        .flatten()
        .collect();
    for app in apps {
        match app {
            App::Flask(address) => take(werkzeug::read(&objects, address)),
            App::Starlette(address) if mounted.contains(&address) => {}
            App::Starlette(address) => take(starlette::read(&objects, address)),
        }
    }
    if has("django.urls.resolvers")
        && let Some(routes) = django::read(&objects, &modules)
    {
        take(routes);
    }
    match (found.len(), unclear) {
        (0, false) => Err(NoRoutes::NoApp),
        (1, false) => found.pop().filter(|routes| count(&routes.rules) <= RULES_MAX).ok_or(NoRoutes::Unclear),
        (_, true) => Err(NoRoutes::Unclear),
        (_, false) => Err(NoRoutes::Several),
    }
}

fn count(rules: &[model::Rule]) -> usize {
    let below = |rule: &model::Rule| match &rule.target {
        model::Target::Rules(rules) => count(rules),
        _ => 0,
    };
    rules.iter().map(|rule| 1 + below(rule)).sum()
}

/// What they hold. Some are no modules, but what a package has put in a module's place.
fn contents(objects: &Objects<'_>, loaded: &[(String, u64)]) -> Vec<Module> {
    let read = |(name, module): &(String, u64)| {
        Some(Module { name: name.clone(), entries: objects.module_entries(*module)? })
    };
    loaded.iter().filter_map(read).collect()
}

/// Types that were met, and which of them are apps'.
#[derive(Default)]
struct Kinds(HashMap<u64, Option<Make>>);

impl Kinds {
    /// The app that an object of this type is.
    fn app(&mut self, objects: &Objects<'_>, address: u64, kind: u64) -> Option<App> {
        let make = *self.0.entry(kind).or_insert_with(|| -> Option<Make> {
            if objects.is_a(kind, "flask.app", "Flask") {
                Some(App::Flask)
            } else if objects.is_a(kind, "starlette.applications", "Starlette") {
                Some(App::Starlette)
            } else {
                None
            }
        });
        make.map(|make| make(address))
    }
}

/// Apps that stand in variables of modules; or else those that stand in none.
fn apps(objects: &Objects<'_>, modules: &[Module], states: [u64; 2]) -> Vec<App> {
    let mut kinds = Kinds::default();
    let mut found = Vec::new();
    for (_, value) in modules.iter().flat_map(|module| &module.entries) {
        let Some(kind) = objects.type_of(*value) else { continue };
        if let Some(app) = kinds.app(objects, *value, kind)
            && !found.contains(&app)
        {
            found.push(app);
        }
    }
    if found.is_empty() { made::apps(objects, modules, states, &mut kinds) } else { found }
}

fn find<'a>(modules: &'a [Module], name: &str) -> Option<&'a Module> {
    modules.iter().find(|module| module.name == name)
}

impl Objects<'_> {
    /// The module and the name of an object's type.
    fn kind_of(&self, address: u64) -> Option<(String, String)> {
        let name = self.type_name(self.type_of(address)?)?;
        Some((name.module?, name.qualname))
    }

    fn is_none(&self, address: u64) -> bool {
        self.kind_of(address).is_some_and(|(module, name)| module == "builtins" && name == "NoneType")
    }

    fn bool(&self, address: u64) -> Option<bool> {
        let (module, name) = self.kind_of(address)?;
        (module == "builtins" && name == "bool").then(|| self.int(address))?.map(|number| number != "0")
    }
}
