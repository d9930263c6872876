//! Joins the pieces for each task of the command line.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use model::Process;
use report::Exporter;

use crate::attach::{self, Attached};
use crate::cli::Task;
use crate::config::Config;
use crate::discover;
use crate::exit::{Exit, Failure};
use crate::frame::{Frame, Recorder, Recording};
use crate::live::{self, Ended};
use crate::pipeline::Pipeline;
