//! The control surface: tests change the server's mind, and read what it saw.
//!
//! Invariant: every read is a copy; nothing here waits without a limit.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::journal::{Login, Ping, RawCall, Record, Reply, Report};
use super::rule::now_ms;
use super::session::pascal_command;
use super::state::{App, Command, Instance, NameTotals, Settings, State, Tracer};
use super::{Mode, StarServer};

const HOUR_MS: i64 = 3_600_000;

impl StarServer {
    /// Goes away or comes back. Every open connection ends. The mode holds when this returns.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let limit = Duration::from_secs(10);
        let mut state = self.shared.state.lock();
        let waited = self.shared.changed.wait_while_for(&mut state, |state| state.mode != Some(mode), limit);
        assert!(!waited.timed_out(), "the server's thread is gone");
    }

    /// Changes settings of the whole.
    pub fn edit_settings(&self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.shared.state.lock().settings);
    }

    /// Changes an app, which is made (enabled, without a secret) if there is none of that name.
    pub fn edit_app(&self, name: &str, edit: impl FnOnce(&mut App)) {
        edit(self.shared.state.lock().app_or_new(name, ""));
    }

    /// Changes how an app is traced.
    pub fn edit_tracer(&self, name: &str, edit: impl FnOnce(&mut Tracer)) {
        self.edit_app(name, |app| edit(app.tracer.get_or_insert_with(|| Tracer::new(true))));
    }

    /// Edits a key of the configuration; `scope` may be empty. Visible once published.
    pub fn set_config(&self, app: &str, key: &str, scope: &str, value: &str) {
        self.edit_app(app, |app| {
            app.config.pending.insert((key.to_owned(), scope.to_owned()), value.to_owned());
        });
    }

    /// Publishes an app's edits, and tells its instances. Gives the number of the command.
    pub fn publish(&self, app: &str) -> i64 {
        self.edit_app(app, |app| app.config.publish());
        self.send_command(app, "config/publish", "", HOUR_MS)
    }

    /// Sends a command to every instance of an app: by socket at once, and by the next ping.
    pub fn send_command(&self, app: &str, command: &str, argument: &str, lifetime_ms: i64) -> i64 {
        let mut state = self.shared.state.lock();
        let (name, compile_ms) = {
            let app = state.app_or_new(app, "");
            (app.name.clone(), app.compile_ms)
        };
        let command = Command {
            id: state.commands.len() as i64 + 1,
            app: name,
            command: command.to_owned(),
            argument: argument.to_owned(),
            expire_ms: now_ms() + lifetime_ms,
            pinged: HashSet::new(),
        };
        send_to_sockets(&state, &command.app, &pascal_command(&command, compile_ms));
        let id = command.id;
        state.commands.push(command);
        id
    }

    /// Sends a text to every open socket of an app, as it is.
    pub fn send_text(&self, app: &str, text: &str) {
        send_to_sockets(&self.shared.state.lock(), app, text);
    }

    /// Makes every token given out so far void.
    pub fn expire_tokens(&self) {
        let mut state = self.shared.state.lock();
        let tokens = std::mem::take(&mut state.tokens);
        state.expired.extend(tokens);
    }

    /// An app as it is now.
    pub fn app(&self, name: &str) -> Option<App> {
        self.shared.state.lock().app(name).cloned()
    }

    /// What was reported for an app, by name as first spelled.
    pub fn totals(&self, app: &str) -> BTreeMap<String, NameTotals> {
        let tracer = self.app(app).and_then(|app| app.tracer);
        let totals = tracer.map(|tracer| tracer.totals).unwrap_or_default();
        totals.into_values().map(|totals| (totals.name.clone(), totals)).collect()
    }

    /// The names of all apps.
    pub fn apps(&self) -> Vec<String> {
        self.shared.state.lock().apps.values().map(|app| app.name.clone()).collect()
    }

    /// The online table, by `ClientId`.
    pub fn instances(&self) -> BTreeMap<String, Instance> {
        self.shared.state.lock().instances.clone()
    }

    /// The sessions (`app@client`) whose notify socket is open.
    pub fn sockets(&self) -> Vec<String> {
        self.shared.state.lock().sockets.keys().cloned().collect()
    }

    /// Everything that happened.
    pub fn records(&self) -> Vec<Record> {
        self.shared.state.lock().journal.clone()
    }

    /// Everything that happens from now on.
    pub fn listen(&self) -> Receiver<Record> {
        let (sender, receiver) = channel();
        self.shared.state.lock().listeners.push(sender);
        receiver
    }

    /// Logins answered with code 0.
    pub fn logins(&self) -> Vec<Login> {
        self.pick(|record| if let Record::Login(login) = record { Some(login.clone()) } else { None })
    }

    /// Reports answered with parameters.
    pub fn reports(&self) -> Vec<Report> {
        self.pick(|record| if let Record::Report(report) = record { Some(*report.clone()) } else { None })
    }

    /// Pings answered with code 0.
    pub fn pings(&self) -> Vec<Ping> {
        self.pick(|record| if let Record::Ping(ping) = record { Some(*ping.clone()) } else { None })
    }

    /// Replies to commands.
    pub fn replies(&self) -> Vec<Reply> {
        self.pick(|record| if let Record::Reply(reply) = record { Some(reply.clone()) } else { None })
    }

    /// Logouts: app, instance, reason.
    pub fn logouts(&self) -> Vec<(String, String, String)> {
        self.pick(|record| match record {
            Record::Logout(app, client, reason) => Some((app.clone(), client.clone(), reason.clone())),
            _ => None,
        })
    }

    /// Refused calls: path, code, message.
    pub fn refusals(&self) -> Vec<(String, i32, String)> {
        self.pick(|record| match record {
            Record::Refused(path, code, message) => Some((path.clone(), *code, message.clone())),
            _ => None,
        })
    }

    /// Instances that changed hands: `ClientId`, old app, new app. An agent that behaves causes none.
    pub fn takeovers(&self) -> Vec<(String, String, String)> {
        self.pick(|record| match record {
            Record::TakenOver(client, old, new) => Some((client.clone(), old.clone(), new.clone())),
            _ => None,
        })
    }

    /// Calls to a path, in lower case, with their bodies.
    pub fn calls(&self, path: &str) -> Vec<RawCall> {
        self.pick(|record| match record {
            Record::Call(call) if call.path == path => Some(call.clone()),
            _ => None,
        })
    }

    /// Waits until the condition holds; `false` if it does not within the limit. It is asked again after
    /// every record.
    pub fn wait_until(&self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let seen = self.shared.state.lock().journal.len();
            if condition(self) {
                return true;
            }
            let mut state = self.shared.state.lock();
            while state.journal.len() == seen {
                if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                    drop(state);
                    return condition(self);
                }
            }
        }
    }

    fn pick<T>(&self, choose: impl FnMut(&Record) -> Option<T>) -> Vec<T> {
        self.shared.state.lock().journal.iter().filter_map(choose).collect()
    }
}

fn send_to_sockets(state: &State, app: &str, text: &str) {
    for (session, socket) in &state.sockets {
        if session.split_once('@').is_some_and(|(name, _)| name.eq_ignore_ascii_case(app)) {
            // A socket that is closing has taken itself off by the next look.
            let _ = socket.send(text.to_owned());
        }
    }
}
