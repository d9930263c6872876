//! Who a process is: app, version, user, start.

use std::io;

use model::{AppIdSource, Process};

use super::app_name::{self, Named, Program};
use super::environ::{self, Hints};
use super::files::{read, read_text, split_nul};
use super::{Proc, command_line};

/// Environments and command lines are limited by the stack (a quarter of 8 MiB by default); more is cut.
const MAX_ENVIRON_BYTES: u64 = 4 << 20;
const MAX_PASSWD_BYTES: u64 = 4 << 20;
/// How far up a worker's name is looked for.
const MAX_PARENTS: usize = 8;

impl Proc {
    /// What the process is. `app_id`: its app's name, if the user says so.
    ///
    /// Fails only if the process is gone; what may not be read counts as empty.
    pub fn identify(&self, pid: u32, app_id: Option<&str>) -> io::Result<Process> {
        let stat = self.stat(pid)?;
        let status = self.status(pid)?;
        let arguments = self.arguments(pid);
        let hints = self.hints(pid);
        let (app_id, app_id_source) = match app_id.map(app_name::sanitise).filter(|name| !name.is_empty()) {
            Some(name) => (name, AppIdSource::Flag),
            None => self.name(pid, &arguments, &hints, &status.name),
        };
        let start_ms = i64::try_from(stat.start_ms).unwrap_or(i64::MAX);
        Ok(Process {
            pid,
            parent_pid: stat.parent_pid,
            app_id,
            app_id_source,
            version: hints.version,
            name: status.name,
            command_line: command_line::redacted(&arguments),
            user: self.user(status.uid),
            start_unix_ms: self.boot_unix_ms()?.saturating_add(start_ms),
        })
    }

    fn arguments(&self, pid: u32) -> Vec<String> {
        read(&self.of(pid).join("cmdline"), MAX_ENVIRON_BYTES).map(|b| split_nul(&b)).unwrap_or_default()
    }

    fn hints(&self, pid: u32) -> Hints {
        let variables = read(&self.of(pid).join("environ"), MAX_ENVIRON_BYTES).map(|b| split_nul(&b));
        environ::hints(&variables.unwrap_or_default())
    }

    fn name(&self, pid: u32, arguments: &[String], hints: &Hints, comm: &str) -> (String, AppIdSource) {
        let from_environment = [
            (&hints.stardust_app_id, AppIdSource::StardustEnv),
            (&hints.otel_service_name, AppIdSource::OtelEnv),
        ];
        for (name, source) in from_environment {
            if let Some(name) = name.as_deref().map(app_name::sanitise).filter(|name| !name.is_empty()) {
                return (name, source);
            }
        }
        let name = self.name_by_command(pid, arguments, hints.flask_app.as_deref());
        let name = name.unwrap_or_else(|| app_name::sanitise(comm));
        (if name.is_empty() { "unknown".to_owned() } else { name }, AppIdSource::CommandLine)
    }

    /// Workers started by `multiprocessing` have a command line that says nothing: their parent's counts.
    fn name_by_command(&self, pid: u32, arguments: &[String], flask_app: Option<&str>) -> Option<String> {
        let (mut pid, mut arguments) = (pid, arguments.to_vec());
        for _ in 0..MAX_PARENTS {
            let link = |name: &str| {
                let link = std::fs::read_link(self.of(pid).join(name)).ok();
                let text = link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
                text.trim_end_matches(" (deleted)").to_owned()
            };
            let (directory, executable) = (link("cwd"), link("exe"));
            let program =
                Program { arguments: &arguments, directory: &directory, executable: &executable, flask_app };
            match app_name::name(&program) {
                Named::As(name) => {
                    let name = app_name::sanitise(&name);
                    return (!name.is_empty()).then_some(name);
                }
                Named::AsParent => {
                    pid = self.stat(pid).ok()?.parent_pid;
                    arguments = self.arguments(pid);
                }
            }
        }
        None
    }

    /// A user's name; the number where it has none.
    fn user(&self, uid: u32) -> String {
        let users = read_text(&self.passwd, MAX_PASSWD_BYTES).unwrap_or_default();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| uid.to_string())
    }
}
