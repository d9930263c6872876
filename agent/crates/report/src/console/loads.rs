//! How busy the processes were, for the summary. Invariant: the number of processes that are kept is bounded.

use std::collections::BTreeMap;
use std::fmt::Write;

use model::{Load, Process};

use super::text::{Align, duration, push_cell};

/// Most processes that are kept; the first ones are.
const MAX_PROCESSES: usize = 1000;
/// Processes shown, the busiest first.
const MAX_ROWS: usize = 20;
const PROCESS_COLUMNS: std::ops::RangeInclusive<usize> = 8..=24;
const FIGURE_COLUMNS: usize = 8;

/// By app and process.
#[derive(Debug, Default)]
pub(super) struct Loads {
    processes: BTreeMap<(String, u32), Load>,
}

impl Loads {
    pub(super) fn add(&mut self, process: &Process, load: &Load) {
        let key = (process.app_id.clone(), process.pid);
        if self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&key) {
            self.processes.entry(key).or_default().add(load);
        }
    }

    /// One line for each process that has served, for a terminal so many columns wide.
    pub(super) fn push_to(&self, text: &mut String, terminal_columns: usize) {
        let mut rows: Vec<_> = self.processes.iter().collect();
        if rows.is_empty() {
            return;
        }
        let busy = |load: &Load| load.saturation().unwrap_or_default();
        rows.sort_by(|(_, a), (_, b)| busy(b).total_cmp(&busy(a)));
        let width = terminal_columns.saturating_sub(3 * (FIGURE_COLUMNS + 1));
        let width = width.clamp(*PROCESS_COLUMNS.start(), *PROCESS_COLUMNS.end());
        text.push('\n');
        push_row(text, ("WORKER", width), ["THREADS", "BUSY", "LOOP LAG"]);
        for ((app, pid), load) in rows.iter().take(MAX_ROWS) {
            let busy = load.saturation().map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0));
            let lag = load.loop_lag_ns.map_or("-".to_owned(), |ns| duration(ns / 1000));
            push_row(text, (&format!("{app}[{pid}]"), width), [&load.workers.to_string(), &busy, &lag]);
        }
        if rows.len() > MAX_ROWS {
            // Writing to a string does not fail.
            let _ = writeln!(text, "and {} more", rows.len() - MAX_ROWS);
        }
    }
}

fn push_row(text: &mut String, (process, width): (&str, usize), figures: [&str; 3]) {
    push_cell(text, process, width, Align::Left);
    for figure in figures {
        text.push(' ');
        push_cell(text, figure, FIGURE_COLUMNS, Align::Right);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::example::server;
    use super::*;

    #[test]
    fn the_busiest_process_comes_first() {
        let mut loads = Loads::default();
        let process = server().process;
        let other = Process { pid: 43, ..Process::clone(&process) };
        let load = Load { pid: 42, workers: 4, busy_ns: 1, known_ns: 4, ..Load::default() };
        loads.add(&process, &load);
        loads.add(&process, &load);
        let of_loop = Load { workers: 1, busy_ns: 93, known_ns: 100, loop_lag_ns: Some(210_000_000), ..load };
        loads.add(&other, &of_loop);
        let mut text = String::new();
        loads.push_to(&mut text, 80);
        let expected = "
WORKER                    THREADS     BUSY LOOP LAG
shop[43]                        1      93%    210ms
shop[42]                        4      25%        -
";
        assert_eq!(text, expected);
        text.clear();
        loads.push_to(&mut text, 35);
        assert!(text.lines().skip(1).all(|line| line.chars().count() == 35), "{text}");
    }
}
