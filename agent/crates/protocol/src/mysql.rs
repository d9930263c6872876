//! The protocol of MySQL and MariaDB (MySQL 8.4 source documentation, "Client/Server Protocol"; MariaDB
//! knowledge base, "Client/Server Protocol").
//!
//! An exchange is one command and all that answers it, several result sets included. The client may send the
//! next command before the answer to the one before it has come (MariaDB Connector/C does so when it prepares
//! and executes at once): each has its own exchange. Whether result sets have an EOF packet behind their columns
//! is seen by the packet itself; only the answer to a `PREPARE` needs what was agreed upon.

mod answer;
mod greeting;
mod packet;
mod server;

use std::collections::HashMap;
use std::sync::Arc;

use model::Origin;

use crate::Chunk;
use crate::database::{Command, Frame, Lane, LetGo, Missed, Open, Options, Part, Sender, Sink, Step, System};
use crate::sql::{Dialect, Summary, summarize};
use answer::Answering;
use greeting::{Agreement, Login, is_login};
pub(crate) use greeting::{looks_like_greeting, looks_like_login};
use packet::framing;
pub(crate) use packet::looks_like_command;

/// Most prepared statements remembered of one connection.
const MAX_STATEMENTS: usize = 512;

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    /// The client is to answer the greeting.
    Login,
    Authentication,
    Ready,
    Over,
}

/// What is remembered of an exchange.
#[derive(Debug)]
struct Asked {
    answering: Answering,
    /// To be remembered under the number that the server gives it.
    prepares: Option<Arc<Summary>>,
    /// The database that is in use once it has succeeded.
    uses: Option<Arc<str>>,
}

/// A connection.
#[derive(Debug)]
pub struct Parser {
    options: Options,
    phase: Phase,
    client: Lane,
    server: Lane,
    open: Open<Asked>,
    statements: HashMap<u32, (u64, Arc<Summary>)>,
    /// The last statement prepared: number -1 stands for it.
    last_prepared: Option<Arc<Summary>>,
    prepared: u64,
    database: Option<Arc<str>>,
    system: System,
    agreement: Agreement,
    /// A packet of the greatest length is continued in the next one.
    continued: [bool; 2],
    greeted_ns: u64,
}

impl Parser {
    /// `origin`: whether the first chunk of each direction is the connection's first.
    pub fn new(origin: Origin, options: Options) -> Self {
        let start = origin == Origin::Start;
        Self {
            options,
            phase: if start { Phase::Greeting } else { Phase::Ready },
            client: Lane::new(start),
            server: Lane::new(start),
            open: Open::new(),
            statements: HashMap::new(),
            last_prepared: None,
            prepared: 0,
            database: None,
            system: System::Mysql,
            agreement: Agreement::default(),
            continued: [false; 2],
            greeted_ns: 0,
        }
    }

    /// What the greeting that has passed before said.
    pub(crate) fn set_system(&mut self, system: System) {
        self.system = system;
    }

    pub(crate) fn system(&self) -> System {
        self.system
    }

    /// See [`database::Parser::anchor`](crate::database::Parser::anchor).
    pub(crate) fn anchor(&mut self) {
        self.client.anchor();
        self.server.anchor();
    }

    /// Takes the next chunk of one direction and tells what it completes.
    pub fn push(&mut self, sender: Sender, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        match sender {
            Sender::Client => self.push_client(chunk, sink),
            Sender::Server => self.push_server(chunk, sink),
        }
    }

    /// See [`database::Parser::cut`](crate::database::Parser::cut).
    pub(crate) fn cut(&mut self, sink: &mut Sink<'_>) {
        self.open.cut(self.server.reach(), sink);
    }

    /// The framing of the answer that is passing was lost: whether it has ended is not known.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.server.is_lost()
    }

    fn push_client(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let (input, missed) = self.client.open(chunk);
        let Some(mut input) = input else { return };
        if self.phase == Phase::Over {
            return;
        }
        if missed == Missed::Framing {
            self.lose_client(sink);
        }
        if self.client.is_lost() && input.begins && looks_like_command(input.ahead().0, input.left()) {
            self.client.set_upright();
            self.continued[0] = false;
        }
        while self.phase != Phase::Over {
            match self.client.next(&mut input, framing) {
                Step::Frame(frame) => {
                    let continues = std::mem::replace(&mut self.continued[0], packet::is_continued(&frame));
                    if continues {
                        self.open.sent(frame.bytes);
                    } else {
                        self.packet(&frame, sink);
                    }
                    if frame.unseen_end && self.phase == Phase::Ready {
                        self.open.miss((frame.end_ns, self.server.reach().1), sink);
                    }
                }
                Step::Lost => self.lose_client(sink),
                Step::End => return,
            }
        }
    }

    fn lose_client(&mut self, sink: &mut Sink<'_>) {
        if matches!(self.phase, Phase::Greeting | Phase::Login) {
            return self.let_go(LetGo::Strange, sink);
        }
        sink(Part::Lost);
    }

    fn let_go(&mut self, why: LetGo, sink: &mut Sink<'_>) {
        self.phase = Phase::Over;
        self.open.abandon(self.server.reach(), sink);
        sink(Part::LetGo(why));
    }

    /// A packet of the client.
    fn packet(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        match self.phase {
            // The server speaks first; but where this is the inside of TLS, it has done so before.
            Phase::Greeting if !is_login(&frame.payload) => self.let_go(LetGo::Strange, sink),
            Phase::Greeting | Phase::Login => match greeting::login(&frame.payload, frame.payload_bytes) {
                Login::Encryption => self.let_go(LetGo::Encrypted, sink),
                Login::Accepted { database, capabilities } => {
                    self.agreement.settle(capabilities);
                    self.database = database.map(Arc::from);
                    self.phase = Phase::Authentication;
                }
                Login::Strange => self.let_go(LetGo::Strange, sink),
            },
            Phase::Authentication | Phase::Over => {}
            Phase::Ready if packet::sequence(frame) != 0 => self.open.sent(frame.bytes),
            Phase::Ready => self.command(frame, sink),
        }
    }

    fn command(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        let Some((&code, argument)) = frame.payload.split_first() else { return };
        let Some(answering) = Answering::to(code) else {
            match code {
                packet::COM_STMT_CLOSE => {
                    if let Some(id) = packet::u32_at(argument, 0) {
                        self.statements.remove(&id);
                    }
                }
                packet::COM_QUIT | packet::COM_STMT_SEND_LONG_DATA => {}
                packet::COM_BINLOG_DUMP | packet::COM_BINLOG_DUMP_GTID | packet::COM_TABLE_DUMP => {
                    self.let_go(LetGo::Unsupported, sink);
                }
                _ => self.let_go(LetGo::Strange, sink),
            }
            return;
        };
        if self.server.is_lost() {
            if self.open.len() > 0 {
                self.open.presume(self.server.reach(), sink);
            }
            self.server.set_upright();
            self.continued[1] = false;
        }
        let mut asked = Asked { answering, prepares: None, uses: None };
        let statement = match code {
            packet::COM_QUERY | packet::COM_STMT_PREPARE => {
                let text = self.agreement.query_text(argument);
                let found = Arc::new(summarize(text, Dialect::Mysql, self.options.statements));
                if code == packet::COM_STMT_PREPARE {
                    asked.prepares = Some(Arc::clone(&found));
                    self.last_prepared = Some(Arc::clone(&found));
                } else if found.operation == Some("USE") {
                    asked.uses = database_of_use(text);
                }
                Some(found)
            }
            packet::COM_STMT_EXECUTE | packet::COM_STMT_FETCH | packet::COM_STMT_BULK_EXECUTE => {
                match packet::u32_at(argument, 0) {
                    Some(u32::MAX) => self.last_prepared.clone(),
                    Some(id) => self.statements.get(&id).map(|(_, found)| Arc::clone(found)),
                    None => None,
                }
            }
            packet::COM_INIT_DB => {
                asked.uses = name(argument);
                None
            }
            packet::COM_CHANGE_USER => {
                asked.uses = greeting::database_of_change(argument).map(Arc::from);
                self.statements.clear();
                None
            }
            _ => None,
        };
        if !self.open.begin(asked, frame.start_ns, frame.position) {
            return self.let_go(LetGo::Overrun, sink);
        }
        self.open.sent(frame.bytes);
        self.tell(code, statement.as_deref(), frame.end_ns, sink);
    }

    fn tell(&mut self, code: u8, of: Option<&Summary>, end_ns: u64, sink: &mut Sink<'_>) {
        let verb = packet::verb(code);
        let collection = of.and_then(|of| of.collection.clone());
        let (operation, summary) = match verb {
            // What a statement says of itself.
            None => (of.and_then(|of| of.operation), of.map(|of| of.summary.clone())),
            Some(verb) => {
                let table = collection.as_deref().map(|table| format!("{verb} {table}"));
                (Some(verb), Some(table.unwrap_or_else(|| verb.to_owned())))
            }
        };
        let command = Command {
            system: self.system,
            operation: operation.map(Into::into),
            collection,
            summary: summary.filter(|text| !text.is_empty()),
            text: of.and_then(|of| of.text.clone()),
            namespace: self.database.clone(),
        };
        self.open.tell(command, end_ns, sink);
    }
}

/// The database in `USE name`.
fn database_of_use(text: &[u8]) -> Option<Arc<str>> {
    let text = text.trim_ascii();
    let rest = text.get(3..).filter(|_| text[..3].eq_ignore_ascii_case(b"use"))?;
    let rest = rest.trim_ascii();
    name(rest.strip_suffix(b";").unwrap_or(rest).trim_ascii_end())
}

/// A name as `db.namespace` has it.
fn name(bytes: &[u8]) -> Option<Arc<str>> {
    let bytes = bytes.strip_prefix(b"`").and_then(|bytes| bytes.strip_suffix(b"`")).unwrap_or(bytes);
    let fits = !bytes.is_empty() && bytes.len() <= 128 && !bytes.contains(&b'`');
    fits.then(|| String::from_utf8_lossy(bytes).into())
}
