//! What the server knows: apps, instances, commands, tokens.
//!
//! Invariant: an instance (`ClientId`) has one row, whichever app it was last seen with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::Sender;

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::UnboundedSender;

use super::Mode;
use super::answer::Refusal;
use super::config::AppConfig;
use super::journal::Record;
use super::rule::now_ms;
use super::token::{Claims, TokenFault, TokenKey};
use super::wire::Sample;

/// The settings of the server as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a token is good for, in seconds.
    pub token_lifetime_s: i64,
    /// Whether an unknown app may work at once. If not, it waits for approval.
    pub auto_register: bool,
    /// How far a salted secret may be from the server's clock, in seconds.
    pub salt_window_s: i64,
    /// How long reports are kept, in days.
    pub retention_days: i64,
    /// Whether a wrong secret is refused (401). The server of today lets it in and hands out the right one.
    pub reject_wrong_secret: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token_lifetime_s: 7200,
            auto_register: true,
            salt_window_s: 600,
            retention_days: 3,
            reject_wrong_secret: false,
        }
    }
}

/// An app and its settings.
#[derive(Debug, Clone, Default)]
pub struct App {
    /// The name, as first spelled.
    pub name: String,
    /// The display name.
    pub display_name: Option<String>,
    /// The secret; empty takes anything.
    pub secret: String,
    /// Whether it may log in.
    pub enabled: bool,
    /// Seconds between pings.
    pub ping_period_s: i32,
    /// The highest version seen.
    pub version: Option<String>,
    /// When the app was built, in Unix milliseconds, if it said.
    pub compile_ms: i64,
    /// Its configuration.
    pub config: AppConfig,
    /// Its tracing, from the first report on.
    pub tracer: Option<Tracer>,
}

/// How an app is traced, and what it has reported.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// Whether reports are taken.
    pub enabled: bool,
    /// Seconds between reports.
    pub period_s: i32,
    /// Normal samples per name and period.
    pub max_samples: i32,
    /// Error samples per name and period.
    pub max_errors: i32,
    /// Past this a request is slow, in milliseconds.
    pub timeout_ms: i32,
    /// Length of a tag in characters.
    pub max_tag_length: i32,
    /// Length of recorded bodies in characters; below 0 for none.
    pub request_tag_length: i32,
    /// Whether figures of the process are wanted.
    pub enable_meter: bool,
    /// Names not to report, with wildcards.
    pub excludes: Vec<String>,
    /// Names switched off by an administrator.
    pub disabled_names: Vec<String>,
    /// By name in lower case.
    pub totals: BTreeMap<String, NameTotals>,
}

impl Tracer {
    /// The server's own defaults.
    pub fn new(enabled: bool) -> Self {
        Self {
            enabled,
            period_s: 60,
            max_samples: 1,
            max_errors: 10,
            timeout_ms: 5000,
            max_tag_length: 1024,
            request_tag_length: 1024,
            enable_meter: true,
            excludes: Vec::new(),
            disabled_names: Vec::new(),
            totals: BTreeMap::new(),
        }
    }
}

/// What was reported under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameTotals {
    /// The name, as first spelled.
    pub name: String,
    /// Spans, errors among them.
    pub total: i64,
    /// Spans in error.
    pub errors: i64,
    /// Sum of durations in milliseconds.
    pub cost_ms: i64,
    /// The longest, in milliseconds.
    pub max_cost_ms: i32,
    /// Sum of the user's numbers.
    pub value: i64,
    /// Normal samples.
    pub samples: Vec<Sample>,
    /// Error samples.
    pub error_samples: Vec<Sample>,
}

/// One running instance of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// The app it was last seen with.
    pub app: String,
    /// The scope of its last configuration call.
    pub config_scope: Option<String>,
    /// How often it logged in.
    pub logins: usize,
    /// Whether its notify socket is open.
    pub long_link: bool,
}

/// A command for an app.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its number.
    pub id: i64,
    /// The app.
    pub app: String,
    /// What to do.
    pub command: String,
    /// With what.
    pub argument: String,
    /// When it is void, in Unix milliseconds.
    pub expire_ms: i64,
    /// Instances that have had it by ping.
    pub pinged: HashSet<String>,
}

/// Everything behind the lock.
#[derive(Debug, Default)]
pub struct State {
    /// The mode that holds now.
    pub mode: Option<Mode>,
    /// Settings of the whole.
    pub settings: Settings,
    /// Apps by name in lower case.
    pub apps: BTreeMap<String, App>,
    /// Instances by `ClientId`.
    pub instances: BTreeMap<String, Instance>,
    /// Commands, oldest first.
    pub commands: Vec<Command>,
    /// Open notify sockets by session.
    pub sockets: HashMap<String, UnboundedSender<String>>,
    /// Tokens given out.
    pub tokens: HashSet<String>,
    /// Tokens made void before their time.
    pub expired: HashSet<String>,
    /// What happened.
    pub journal: Vec<Record>,
    /// Who wants to hear of it.
    pub listeners: Vec<Sender<Record>>,
}

/// The state, its lock, and what goes with them.
#[derive(Debug)]
pub struct Shared {
    /// The state.
    pub state: Mutex<State>,
    /// Woken at each record.
    pub changed: Condvar,
    /// The key of the tokens.
    pub key: TokenKey,
}

impl Shared {
    /// Writes a record and wakes who waits.
    pub fn record(&self, state: &mut State, record: Record) {
        state.listeners.retain(|listener| listener.send(record.clone()).is_ok());
        state.journal.push(record);
        self.changed.notify_all();
    }

    /// A new token.
    pub fn issue(&self, state: &mut State, app: &str, client_id: &str) -> String {
        let now_s = now_ms() / 1000;
        let token = self.key.issue(&Claims {
            app: app.to_owned(),
            client_id: client_id.to_owned(),
            issued_s: now_s,
            expires_s: now_s + state.settings.token_lifetime_s,
        });
        // Two logins within a second give the same token; the second makes it good again.
        state.expired.remove(&token);
        state.tokens.insert(token.clone());
        token
    }

    /// What a token says, or the filter's refusal.
    pub fn authenticate(&self, state: &State, token: Option<String>) -> Result<Claims, Refusal> {
        let refuse = |message: String| Err(Refusal::Filter(401, message));
        let Some(token) = token else { return refuse("认证失败".to_owned()) };
        match self.key.read(&token) {
            Err(TokenFault::Format) => refuse("非法访问[] JWT格式不正确".to_owned()),
            Err(TokenFault::Signature) => refuse("应用鉴权失败".to_owned()),
            Ok(claims) if claims.expires_s * 1000 < now_ms() || state.expired.contains(&token) => {
                refuse(format!("非法访问[{}] 令牌已过期", claims.app))
            }
            Ok(claims) => Ok(claims),
        }
    }

    /// Notes that an instance was seen with an app.
    pub fn seen<'a>(&self, state: &'a mut State, client_id: &str, app: &str) -> &'a mut Instance {
        let old = state.instances.get(client_id).map(|row| row.app.clone()).filter(|old| old != app);
        if let Some(old) = old {
            self.record(state, Record::TakenOver(client_id.to_owned(), old, app.to_owned()));
        }
        let row = state.instances.entry(client_id.to_owned()).or_default();
        app.clone_into(&mut row.app);
        row
    }
}

impl State {
    /// The app of that name, made if there is none.
    pub fn app_or_new(&mut self, name: &str, secret: &str) -> &mut App {
        let enabled = self.settings.auto_register;
        self.apps.entry(name.to_lowercase()).or_insert_with(|| App {
            name: name.to_owned(),
            secret: secret.to_owned(),
            enabled,
            ping_period_s: 60,
            ..App::default()
        })
    }

    /// The app of that name.
    pub fn app(&mut self, name: &str) -> Option<&mut App> {
        self.apps.get_mut(&name.to_lowercase())
    }
}
