//! Which processes descend from which.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use super::Proc;
use super::files::read_text;

/// More children than fit here are not asked for; the kernel side sees later ones fork.
const MAX_CHILDREN_BYTES: u64 = 1 << 20;

impl Proc {
    /// Every process below `pid`, without itself, sorted. Those that come or go meanwhile may be there or not.
    pub fn descendants(&self, pid: u32) -> Vec<u32> {
        // Written per thread, and only where the kernel has CONFIG_PROC_CHILDREN.
        let own = self.of(pid).join("task").join(pid.to_string()).join("children");
        if own.exists() { below(pid, |pid| self.children(pid)) } else { self.descendants_by_scan(pid) }
    }

    fn children(&self, pid: u32) -> Vec<u32> {
        let threads = fs::read_dir(self.of(pid).join("task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|t| read_text(&t.path().join("children"), MAX_CHILDREN_BYTES).ok());
        lists.flat_map(|l| l.split_whitespace().filter_map(|w| w.parse().ok()).collect::<Vec<_>>()).collect()
    }

    pub(super) fn descendants_by_scan(&self, pid: u32) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Ok(stat) = self.stat(child) {
                children.entry(stat.parent_pid).or_default().push(child);
            }
        }
        below(pid, |pid| children.get(&pid).cloned().unwrap_or_default())
    }
}

/// Pids may be used anew while this walks: each is visited once, so that it always ends.
fn below(pid: u32, children: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let (mut found, mut open) = (BTreeSet::new(), vec![pid]);
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            if child != pid && found.insert(child) {
                open.push(child);
            }
        }
    }
    found.into_iter().collect()
}
