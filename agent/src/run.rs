//! Does what the command line asks for.

use std::path::Path;

use ebpf::UntilReleased;

use crate::check;
use crate::cli::{self, Invocation, Task};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::frame::Recording;
use crate::outputs::Outputs;
use crate::pipeline::Pipeline;
use crate::watch;

/// Carries out a task to its end.
pub fn run(invocation: Invocation) -> Result<(), Failure> {
    let config = invocation.config;
    let _last = UntilReleased;
    match invocation.task {
        Task::Print(text) => cli::print(&text),
        Task::Check { pid, json } => check_host(&config, pid, json),
        Task::Watch { pids } => watch::watch(&config, &pids, None),
        Task::Record { file, pids } => watch::watch(&config, &pids, Some(&file)),
        Task::Replay { file } => replay(&config, &file),
    }
}

fn check_host(config: &Config, pid: Option<u32>, json: bool) -> Result<(), Failure> {
    let app_id = (!config.target.app_id.is_empty()).then_some(config.target.app_id.as_str());
    let (report, failure) = check::check(&config.kernel, app_id, pid)?;
    let text = if json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|error| Failure::new(Exit::Internal, "cannot write the report").because(error))? + "\n"
    } else {
        check::render(&report)
    };
    cli::print(&text)?;
    failure.map_or(Ok(()), Err)
}

/// Feeds a recording to the pipeline, as fast as it goes.
fn replay(config: &Config, file: &Path) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        let failure = Failure::io(format!("cannot replay {}", file.display()), &error);
        failure.hint("make one with `stardust-probe record FILE --pid PID`")
    };
    let mut recording = Recording::open(file).map_err(unreadable)?;
    let mut outputs = Outputs::default();
    outputs.open_console(&config.output, false)?;
    let mut pipeline = Pipeline::new(config.trace_settings(), outputs.exporters())
        .map_err(|error| Failure::usage("bad configuration").because(error))?;
    while let Some(frame) = recording.next().map_err(unreadable)? {
        pipeline.feed(&frame);
        if outputs.is_closed() {
            break;
        }
    }
    outputs.close_console();
    Ok(())
}
