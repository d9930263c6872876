//! What the commands of one exchange do together. Invariant: names and attributes are those of OpenTelemetry's
//! semantic conventions for database client spans (version 1.30), in which a batch has two operations or more.

use std::borrow::Cow;
use std::sync::Arc;

use model::Span;
use protocol::database::{Command, Kind, System};

const MAX_TEXT_BYTES: usize = 2048;

/// The commands of an exchange.
#[derive(Debug)]
pub(super) struct Batch {
    kind: Kind,
    system: System,
    namespace: Option<Arc<str>>,
    /// Operations that count: a transaction's own beginning and end do not.
    size: u32,
    /// Redis: it is run as one.
    multi: bool,
    /// What all of them have in common.
    operation: Option<Cow<'static, str>>,
    collection: Option<String>,
    summary: Option<String>,
    text: Option<String>,
}

impl Batch {
    pub(super) fn new(kind: Kind, command: Command) -> Self {
        let Command { system, operation, collection, summary, text, namespace } = command;
        let size = u32::from(!is_frame(kind, operation.as_deref()));
        let multi = kind == Kind::Redis && operation.as_deref() == Some("MULTI");
        Self { kind, system, namespace, size, multi, operation, collection, summary, text }
    }

    /// Another command belongs to it.
    pub(super) fn add(&mut self, command: &Command) {
        self.multi |= self.kind == Kind::Redis && command.operation.as_deref() == Some("MULTI");
        if is_frame(self.kind, command.operation.as_deref()) {
            return;
        }
        self.size = self.size.saturating_add(1);
        if self.size == 1 {
            // Only the beginning of a transaction stood before it.
            self.operation.clone_from(&command.operation);
            self.text.clone_from(&command.text);
            return;
        }
        let Command { operation, collection, summary, text, .. } = command;
        keep_common(&mut self.operation, operation.as_ref());
        keep_common(&mut self.collection, collection.as_ref());
        keep_common(&mut self.summary, summary.as_ref());
        if let (Some(all), Some(text)) = (&mut self.text, text)
            && all != text
            && !all.ends_with(text.as_str())
            && all.len() + text.len() < MAX_TEXT_BYTES
        {
            all.push_str("; ");
            all.push_str(text);
        }
    }

    /// The word for several commands, if they are several.
    fn prefix(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Redis if self.multi && self.size > 0 => Some("MULTI"),
            Kind::Redis if self.size > 1 => Some("PIPELINE"),
            Kind::Postgresql | Kind::Mysql | Kind::Memcached if self.size > 1 => Some("BATCH"),
            _ => None,
        }
    }

    fn prefixed<'a>(&self, text: Option<&'a str>) -> Option<Cow<'a, str>> {
        match (self.prefix(), text) {
            (None, text) => text.map(Cow::Borrowed),
            (Some(prefix), None) => Some(prefix.into()),
            (Some(prefix), Some(text)) => Some(format!("{prefix} {text}").into()),
        }
    }

    /// The span's name: the summary, else the operation, else the product.
    pub(super) fn name(&self) -> Cow<'_, str> {
        let said = match self.kind {
            Kind::Postgresql | Kind::Mysql => self.summary.as_deref().or(self.operation.as_deref()),
            Kind::Redis | Kind::Memcached => self.operation.as_deref(),
        };
        self.prefixed(said).unwrap_or(self.system.as_str().into())
    }

    /// Names a span and says what it did.
    pub(super) fn describe(&self, span: &mut Span) {
        span.name = self.name().into();
        span.set("db.system.name", self.system.as_str());
        if let Some(namespace) = &self.namespace {
            span.set("db.namespace", Arc::clone(namespace));
        }
        if let Some(operation) = self.prefixed(self.operation.as_deref()) {
            span.set("db.operation.name", &*operation);
        }
        if let Some(collection) = &self.collection {
            span.set("db.collection.name", collection.as_str());
        }
        if matches!(self.kind, Kind::Postgresql | Kind::Mysql)
            && let Some(summary) = self.prefixed(self.summary.as_deref())
        {
            span.set("db.query.summary", &*summary);
        }
        if let Some(text) = &self.text {
            span.set("db.query.text", text.as_str());
        }
        if self.size > 1 {
            span.set("db.operation.batch.size", self.size);
        }
    }
}

/// The commands that only say where a transaction begins and ends.
fn is_frame(kind: Kind, operation: Option<&str>) -> bool {
    kind == Kind::Redis && matches!(operation, Some("MULTI" | "EXEC" | "DISCARD"))
}

fn keep_common<T: PartialEq>(common: &mut Option<T>, other: Option<&T>) {
    if common.as_ref() != other {
        *common = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(operation: &'static str, table: Option<&str>) -> Command {
        Command {
            system: System::Redis,
            operation: Some(operation.into()),
            collection: table.map(str::to_owned),
            summary: table.map(|table| format!("{operation} {table}")),
            text: None,
            namespace: None,
        }
    }

    #[test]
    fn batches_are_named_by_what_they_share() {
        for (kind, operations, name, size) in [
            (Kind::Redis, &["GET"][..], "GET", 1),
            (Kind::Redis, &["MULTI"], "MULTI", 0),
            (Kind::Redis, &["EXEC"], "EXEC", 0),
            (Kind::Redis, &["GET", "GET"], "PIPELINE GET", 2),
            (Kind::Redis, &["GET", "SET"], "PIPELINE", 2),
            (Kind::Redis, &["MULTI", "SET", "SET", "EXEC"], "MULTI SET", 2),
            (Kind::Redis, &["MULTI", "SET", "EXEC"], "MULTI SET", 1),
            (Kind::Redis, &["MULTI", "SET", "GET", "EXEC"], "MULTI", 2),
            (Kind::Memcached, &["set", "set"], "BATCH set", 2),
        ] {
            let mut batch = Batch::new(kind, command(operations[0], None));
            for operation in &operations[1..] {
                batch.add(&command(operation, None));
            }
            assert_eq!((&*batch.name(), batch.size), (name, size), "{operations:?}");
        }
        let mut batch = Batch::new(Kind::Postgresql, command("INSERT", Some("t")));
        assert_eq!(batch.name(), "INSERT t");
        batch.add(&command("INSERT", Some("t")));
        assert_eq!(batch.name(), "BATCH INSERT t");
        batch.add(&command("INSERT", Some("u")));
        assert_eq!(batch.name(), "BATCH INSERT");
        batch.add(&command("DELETE", Some("u")));
        assert_eq!(batch.name(), "BATCH");
    }
}
