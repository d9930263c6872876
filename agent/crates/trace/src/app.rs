//! What is kept for each app: its names, its sampling rules, and which of its requests are flagged.

use model::SpanKind;
use rustc_hash::FxHashMap;

use crate::route::Names;
use crate::sample::{Rules, Sampler};

/// One app.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) names: Names,
    pub(crate) sampler: Sampler,
    pub(crate) flags: Flags,
}

/// The apps seen so far. One is never forgotten, so that its index stays good.
#[derive(Debug)]
pub(crate) struct Apps {
    by_id: FxHashMap<String, AppIndex>,
    list: Vec<App>,
    max_names: usize,
    max_path_children: usize,
}

/// Where an app stands in [`Apps`]: its name is looked up once for each exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppIndex(usize);

impl Apps {
    pub(crate) fn new(max_names: usize, max_path_children: usize) -> Self {
        Self { by_id: FxHashMap::default(), list: Vec::new(), max_names, max_path_children }
    }

    /// The app of this id; a new one if there is none.
    pub(crate) fn find(&mut self, app_id: &str) -> AppIndex {
        if let Some(index) = self.by_id.get(app_id) {
            return *index;
        }
        let index = AppIndex(self.list.len());
        self.list.push(App::new(self.max_names, self.max_path_children));
        self.by_id.insert(app_id.to_owned(), index);
        index
    }

    pub(crate) fn get(&self, index: AppIndex) -> &App {
        &self.list[index.0]
    }

    pub(crate) fn get_mut(&mut self, index: AppIndex) -> &mut App {
        &mut self.list[index.0]
    }
}

impl App {
    fn new(max_names: usize, max_path_children: usize) -> Self {
        Self {
            names: Names::new(max_names, max_path_children),
            sampler: Sampler::new(Rules::default()),
            flags: Flags::new(max_names),
        }
    }
}

/// Head sampling: the first requests of each name in each period are flagged when they start, so that
/// whoever takes part in their traces keeps them too.
#[derive(Debug)]
pub(crate) struct Flags {
    period_ns: u64,
    max_samples: u32,
    max_names: usize,
    /// The number of the period that `started` counts.
    period: u64,
    started: [FxHashMap<Box<str>, u32>; 2],
}

impl Flags {
    /// One request of each name in each minute, as a Stardust server asks of a new app.
    fn new(max_names: usize) -> Self {
        Self { period_ns: 60_000_000_000, max_samples: 1, max_names, period: 0, started: Default::default() }
    }

    /// Other limits, from now on. A period of 0 leaves the period as it is.
    pub(crate) fn set_limits(&mut self, period_s: u32, max_samples: u32) {
        if period_s > 0 {
            self.period_ns = u64::from(period_s) * 1_000_000_000;
        }
        self.max_samples = max_samples;
    }

    /// A request of this name has started: whether to flag it. Names beyond the app's ceiling are not.
    pub(crate) fn start(&mut self, kind: SpanKind, name: &str, at_ns: u64) -> bool {
        let period = at_ns / self.period_ns;
        if period > self.period {
            self.period = period;
            self.started.iter_mut().for_each(FxHashMap::clear);
        }
        let started = &mut self.started[kind as usize];
        if let Some(count) = started.get_mut(name) {
            *count = count.saturating_add(1);
            return *count <= self.max_samples;
        }
        if started.len() >= self.max_names {
            return false;
        }
        started.insert(name.into(), 1);
        self.max_samples >= 1
    }
}

#[cfg(test)]
mod tests {
    use SpanKind::{Client, Server};

    use super::*;

    #[test]
    fn the_first_of_a_period_are_flagged() {
        const S: u64 = 1_000_000_000;
        let mut flags = Flags::new(2);
        for (kind, name, at_s, want) in [
            (Server, "a", 0, true),
            (Server, "a", 1, false),
            (Server, "b", 1, true),
            (Server, "c", 2, false),
            (Client, "a", 2, true),
            (Server, "a", 60, true),
            (Server, "a", 119, false),
        ] {
            assert_eq!(flags.start(kind, name, at_s * S), want, "{name} {at_s}");
        }
        flags.set_limits(10, 2);
        let flagged = [120, 121, 122, 130].map(|at_s| flags.start(Server, "a", at_s * S));
        assert_eq!(flagged, [true, true, false, true]);
        flags.set_limits(0, 0);
        assert!(!flags.start(Server, "a", 200 * S));
    }
}
