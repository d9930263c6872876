//! What names of statements and portals stand for. Invariant: bounded; what had to be forgotten is unknown, never
//! something else.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sql::Summary;

/// More than drivers keep prepared (asyncpg and psycopg: 100 by default).
const MAX_NAMES: usize = 512;

/// Names and their statements.
#[derive(Debug, Default)]
pub(super) struct Names {
    map: HashMap<Vec<u8>, (u64, Arc<Summary>)>,
    inserted: u64,
}

impl Names {
    pub(super) fn insert(&mut self, name: &[u8], summary: Arc<Summary>) {
        if self.map.len() >= MAX_NAMES
            && !self.map.contains_key(name)
            && let Some(oldest) =
                self.map.iter().min_by_key(|(_, (age, _))| *age).map(|(name, _)| name.clone())
        {
            self.map.remove(&oldest);
        }
        self.inserted += 1;
        self.map.insert(name.to_vec(), (self.inserted, summary));
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<Summary>> {
        self.map.get(name).map(|(_, summary)| Arc::clone(summary))
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        self.map.remove(name);
    }
}
