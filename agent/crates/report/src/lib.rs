//! Exporters: where spans go.
//!
//! Invariant: an exporter never makes the pipeline wait. What it cannot take it drops and counts.

#![forbid(unsafe_code)]

pub mod console;
mod remote;
pub mod stardust;
mod vitals;

pub use remote::{HeadLimits, Outcome, Remote};
pub use vitals::{Vitals, VitalsSource};

use std::sync::Arc;

use model::{Books, Load, Process, Span};

/// A place that spans go to. Every call returns at once.
pub trait Exporter: Send + Sync {
    /// Its name in logs and books.
    fn name(&self) -> &'static str;
    /// Takes a finished span, which it may keep. Spans whose `sampled` is false are counted, but not sent one by one.
    fn record(&self, span: &Arc<Span>);
    /// What was taken may go on its way: nothing more comes for some milliseconds.
    fn flush(&self) {}
    /// A watched process is known (again).
    fn process_started(&self, process: &Arc<Process>);
    /// How busy a watched process was since this was told last.
    fn process_load(&self, process: &Arc<Process>, load: &Load);
    /// What was not seen, or not whole, of all processes since the probe began: `ring_full 12, gaps 3`.
    fn losses(&self, _: &str) {}
    /// A watched process is gone.
    fn process_exited(&self, pid: u32);
    /// What became of the spans so far.
    fn books(&self) -> Books;
}
