//! The bodies that clients send, bound as the server binds them.

use super::bind::{BindError, Fields};

/// One sampled span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// The span's id.
    pub id: String,
    /// The parent's id; empty for a root.
    pub parent_id: String,
    /// The trace's id, cut to 50 characters.
    pub trace_id: String,
    /// Unix milliseconds.
    pub start_ms: i64,
    /// Unix milliseconds.
    pub end_ms: i64,
    /// The user's number.
    pub value: i64,
    /// Cut to 2000 characters.
    pub tag: Option<String>,
    /// 1 if the trace is to be kept.
    pub trace_flag: u8,
    /// Cut to 2000 characters.
    pub error: Option<String>,
}

/// The figures of one name in one period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Builder {
    /// The span name.
    pub name: String,
    /// Unix milliseconds.
    pub start_ms: i64,
    /// Unix milliseconds.
    pub end_ms: i64,
    /// Spans, errors among them.
    pub total: i32,
    /// Spans in error.
    pub errors: i32,
    /// Sum of durations in milliseconds.
    pub cost_ms: i64,
    /// The longest, in milliseconds.
    pub max_cost_ms: i32,
    /// The shortest, in milliseconds.
    pub min_cost_ms: i32,
    /// Sum of the user's numbers.
    pub value: i64,
    /// Normal samples; `None` for a null element, which breaks the batch.
    pub samples: Vec<Option<Sample>>,
    /// Error samples; `None` for a null element, which breaks the batch.
    pub error_samples: Vec<Option<Sample>>,
}

/// A process's own figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppInfo {
    /// The process id.
    pub pid: i32,
    /// The process's name.
    pub name: Option<String>,
    /// The app's version.
    pub version: Option<String>,
    /// The command line.
    pub command_line: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The machine.
    pub machine: Option<String>,
    /// Local addresses.
    pub ip: Option<String>,
    /// When the process started, as sent.
    pub start_time: Option<String>,
    /// Milliseconds of CPU.
    pub cpu_ms: i64,
    /// CPU over wall time; 1.0 is one core.
    pub cpu_usage: f64,
    /// Resident bytes.
    pub working_set_bytes: i64,
    /// Heap bytes.
    pub heap_bytes: i64,
    /// Threads.
    pub threads: i32,
    /// Open handles.
    pub handles: i32,
    /// TCP connections.
    pub connections: i32,
    /// Unix milliseconds.
    pub time_ms: i64,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceModel {
    /// The app.
    pub app_id: Option<String>,
    /// The app's display name.
    pub app_name: Option<String>,
    /// The instance.
    pub client_id: Option<String>,
    /// The app's version: with it the answer carries `excludes`.
    pub version: Option<String>,
    /// The process's figures.
    pub info: Option<AppInfo>,
    /// The names; `None` for a null element, which breaks the batch.
    pub builders: Vec<Option<Builder>>,
}

impl TraceModel {
    /// Reads a report.
    pub fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        Ok(Self {
            app_id: fields.text("AppId")?,
            app_name: fields.text("AppName")?,
            client_id: fields.text("ClientId")?,
            version: fields.text("Version")?,
            info: fields.object("Info")?.map(AppInfo::bind).transpose()?,
            builders: fields.list("Builders", Builder::bind)?.unwrap_or_default(),
        })
    }
}

impl Builder {
    fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        Ok(Self {
            name: fields.text("Name")?.unwrap_or_default(),
            start_ms: fields.integer("StartTime")?,
            end_ms: fields.integer("EndTime")?,
            total: fields.integer("Total")?,
            errors: fields.integer("Errors")?,
            cost_ms: fields.integer("Cost")?,
            max_cost_ms: fields.integer("MaxCost")?,
            min_cost_ms: fields.integer("MinCost")?,
            value: fields.integer("Value")?,
            samples: fields.list("Samples", Sample::bind)?.unwrap_or_default(),
            error_samples: fields.list("ErrorSamples", Sample::bind)?.unwrap_or_default(),
        })
    }
}

impl Sample {
    fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        Ok(Self {
            id: fields.text("Id")?.unwrap_or_default(),
            parent_id: fields.text("ParentId")?.unwrap_or_default(),
            trace_id: cut(&fields.text("TraceId")?.unwrap_or_default(), 50),
            start_ms: fields.integer("StartTime")?,
            end_ms: fields.integer("EndTime")?,
            value: fields.integer("Value")?,
            tag: fields.text("Tag")?.map(|tag| cut(&tag, 2000)),
            trace_flag: fields.integer("TraceFlag")?,
            error: fields.text("Error")?.map(|error| cut(&error, 2000)),
        })
    }
}

impl AppInfo {
    /// Reads the figures of a ping or a report.
    pub fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        for name in ["WorkerThreads", "IOThreads", "AvailableThreads", "GCCount"] {
            fields.integer::<i32>(name)?;
        }
        for name in ["PendingItems", "CompletedItems"] {
            fields.integer::<i64>(name)?;
        }
        for name in ["AppName", "Listens"] {
            fields.text(name)?;
        }
        Ok(Self {
            pid: fields.integer("Id")?,
            name: fields.text("Name")?,
            version: fields.text("Version")?,
            command_line: fields.text("CommandLine")?,
            user: fields.text("UserName")?,
            machine: fields.text("MachineName")?,
            ip: fields.text("IP")?,
            start_time: fields.date("StartTime")?,
            cpu_ms: fields.integer("ProcessorTime")?,
            cpu_usage: fields.fraction("CpuUsage")?,
            working_set_bytes: fields.integer("WorkingSet")?,
            heap_bytes: fields.integer("HeapSize")?,
            threads: fields.integer("Threads")?,
            handles: fields.integer("Handles")?,
            connections: fields.integer("Connections")?,
            time_ms: fields.integer("Time")?,
        })
    }
}

/// .NET counts UTF-16 units; a pair that the cut would split is left out.
fn cut(text: &str, units: usize) -> String {
    let mut left = units;
    text.chars()
        .take_while(|character| {
            let fits = character.len_utf16() <= left;
            left = left.saturating_sub(character.len_utf16());
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_by_utf16_units() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("a😀b", 2), "a");
        assert_eq!(cut("星尘", 2), "星尘");
    }
}
