//! What clients did, in order, for tests to read and for the terminal to show.

use std::fmt;

use super::secret::Proof;
use super::wire::AppInfo;

/// A login that was answered with code 0.
#[derive(Debug, Clone)]
pub struct Login {
    /// The app.
    pub app: String,
    /// The instance.
    pub client_id: String,
    /// What its secret was found to be.
    pub proof: Proof,
    /// The secret as it was sent.
    pub sent_secret: Option<String>,
    /// The version it told.
    pub version: Option<String>,
    /// Whether a token was given: without one the app waits for approval.
    pub token_given: bool,
}

/// Why the server left a name out, while answering code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It is empty.
    NoName,
    /// It matches one of the app's excludes.
    Excluded,
    /// It began before what the server keeps.
    TooOld,
    /// It begins more than a day from now.
    TooFarAhead,
    /// It has more than 200 characters.
    NameTooLong,
    /// An administrator has switched the name off.
    Disabled,
    /// A null element before it, or in it, broke the batch.
    BatchBroken,
}

/// A report that was answered with parameters.
#[derive(Debug, Clone)]
pub struct Report {
    /// The app.
    pub app: String,
    /// The instance.
    pub client_id: String,
    /// The app the token was made for, if there was one.
    pub token_app: Option<String>,
    /// The instance the token was made for, if there was one.
    pub token_client_id: Option<String>,
    /// The version it told.
    pub version: Option<String>,
    /// Whether it came by `Trace/ReportRaw`.
    pub raw: bool,
    /// Whether its body was a gzip stream.
    pub gzip: bool,
    /// The names taken: name, total, errors.
    pub taken: Vec<(String, i32, i32)>,
    /// The names left out.
    pub skipped: Vec<(String, Skip)>,
    /// The process's figures, if they came with it.
    pub info: Option<AppInfo>,
}

/// A ping that was answered with code 0.
#[derive(Debug, Clone)]
pub struct Ping {
    /// The app.
    pub app: String,
    /// The instance.
    pub client_id: String,
    /// The process's figures.
    pub info: AppInfo,
    /// Whether a new token was given.
    pub token_given: bool,
}

/// A reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The app.
    pub app: String,
    /// The instance.
    pub client_id: String,
    /// The command.
    pub id: i64,
    /// 0 ready, 1 processing, 2 done, 3 cancelled, 4 error.
    pub status: i32,
    /// What it gave.
    pub data: Option<String>,
}

/// A call as it came, whatever the answer.
#[derive(Debug, Clone)]
pub struct RawCall {
    /// The path, in lower case.
    pub path: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Record {
    /// A call came in.
    Call(RawCall),
    /// An app logged in.
    Login(Login),
    /// An app reported.
    Report(Box<Report>),
    /// An app pinged.
    Ping(Box<Ping>),
    /// A command was answered.
    Reply(Reply),
    /// An app logged out: app, instance, reason.
    Logout(String, String, String),
    /// Events were posted: app, how many.
    Events(String, usize),
    /// A notify socket opened: its session, `app@client`.
    SocketOpened(String),
    /// A notify socket closed: its session.
    SocketClosed(String),
    /// A text came on a notify socket: session, text.
    SocketText(String, String),
    /// A call was refused: path, code, message.
    Refused(String, i32, String),
    /// An instance now belongs to another app: `ClientId`, old app, new app.
    TakenOver(String, String, String),
}

/// One line for the terminal.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => write!(f, "call     {} {} bytes", call.path, call.body.len()),
            Self::Login(login) => {
                write!(f, "login    {} {} {:?}", login.app, login.client_id, login.proof)?;
                f.write_str(if login.token_given { "" } else { " (waits for approval)" })
            }
            Self::Report(report) => {
                let total: i64 = report.taken.iter().map(|taken| i64::from(taken.1)).sum();
                let (names, skipped) = (report.taken.len(), report.skipped.len());
                write!(
                    f,
                    "report   {} {} {names} names, {total} spans, {skipped} names left out",
                    report.app, report.client_id
                )
            }
            Self::Ping(ping) => {
                let mib = ping.info.working_set_bytes / 1_048_576;
                write!(f, "ping     {} {} cpu {:.3} {mib} MiB", ping.app, ping.client_id, ping.info.cpu_usage)
            }
            Self::Reply(reply) => write!(f, "reply    {} to {}: {}", reply.app, reply.id, reply.status),
            Self::Logout(app, client, reason) => write!(f, "logout   {app} {client} {reason}"),
            Self::Events(app, count) => write!(f, "events   {app} {count}"),
            Self::SocketOpened(session) => write!(f, "socket   {session} opened"),
            Self::SocketClosed(session) => write!(f, "socket   {session} closed"),
            Self::SocketText(session, text) => write!(f, "socket   {session} says {text:?}"),
            Self::Refused(path, code, message) => write!(f, "refused  {path} {code} {message}"),
            Self::TakenOver(client, old, new) => write!(f, "takeover {client}: {old} -> {new}"),
        }
    }
}
