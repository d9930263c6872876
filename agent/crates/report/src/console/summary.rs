//! What happened by route: counts, errors and quantiles.
//!
//! Invariants: every span is counted, whether it was printed or not; the number of routes is bounded.

use std::fmt::Write;
use std::sync::Arc;

use model::{Books, End, Load, Process, Span, SpanKind};
use rustc_hash::FxHashMap;

use super::histogram::Histogram;
use super::loads::Loads;
use super::text::{Align, columns, duration, push_cell};

/// Routes counted on their own; the rest are counted together.
const MAX_ROUTES: usize = 1000;
/// Routes shown, those with the most requests first.
const MAX_ROWS: usize = 100;
const MAX_APP_COLUMNS: usize = 24;
const MAX_NAME_COLUMNS: usize = 64;
/// The name has at least so many columns before a further column is shown.
const MIN_NAME_COLUMNS: usize = 16;
const COUNT_COLUMNS: usize = 8;
const FIGURE_COLUMNS: usize = 7;
const KIND_COLUMNS: usize = 6;
/// Between words; figures are one apart.
const GAP: &str = "  ";
const OTHERS: &str = "(other names)";

/// All routes so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// By app, so that looking one up needs no new key.
    apps: FxHashMap<String, App>,
    others: Route,
    routes: usize,
    loads: Loads,
}

#[derive(Debug, Default)]
struct App {
    server: FxHashMap<Arc<str>, Route>,
    client: FxHashMap<Arc<str>, Route>,
}

#[derive(Debug, Default)]
struct Route {
    count: u64,
    errors: u64,
    durations: Histogram,
}

struct Row<'a> {
    app: &'a str,
    kind: &'static str,
    name: &'a str,
    route: &'a Route,
}

impl App {
    fn names(&mut self, kind: SpanKind) -> &mut FxHashMap<Arc<str>, Route> {
        match kind {
            SpanKind::Server => &mut self.server,
            SpanKind::Client => &mut self.client,
        }
    }
}

impl Route {
    fn count(&mut self, span: &Span) {
        self.count += 1;
        self.errors += u64::from(span.fault.is_some());
        // Without a beginning or an end there is no duration.
        if !matches!(span.end, End::ProbeJoinedLate | End::ProbeLost) {
            self.durations.add(span.duration_ns / 1000);
        }
    }
}

impl Summary {
    pub(super) fn load(&mut self, process: &Process, load: &Load) {
        self.loads.add(process, load);
    }

    pub(super) fn count(&mut self, span: &Span) {
        let app = self.apps.get_mut(span.process.app_id.as_str());
        match app.and_then(|app| app.names(span.kind).get_mut(&span.name)) {
            Some(route) => route.count(span),
            None => self.new_route(span).count(span),
        }
    }

    /// The route of a span that is the first of its name.
    fn new_route(&mut self, span: &Span) -> &mut Route {
        if self.routes >= MAX_ROUTES {
            return &mut self.others;
        }
        self.routes += 1;
        let app = self.apps.entry(span.process.app_id.clone()).or_default();
        app.names(span.kind).entry(Arc::clone(&span.name)).or_default()
    }

    /// The table of routes, for a terminal so many columns wide, and the books.
    pub(super) fn text(&self, books: &Books, terminal_columns: u16) -> String {
        let mut text = String::from("\n");
        let mut rows: Vec<Row<'_>> = self.rows().collect();
        rows.sort_by(|a, b| {
            b.route
                .count
                .cmp(&a.route.count)
                .then_with(|| (a.app, a.kind, a.name).cmp(&(b.app, b.kind, b.name)))
        });
        let widest = |cell: fn(&Row<'_>) -> usize| rows.iter().take(MAX_ROWS).map(cell).max().unwrap_or(0);
        let layout = Layout::fit(
            usize::from(terminal_columns),
            widest(|row| columns(row.app)).clamp(3, MAX_APP_COLUMNS),
            widest(|row| columns(row.name)).clamp(4, MAX_NAME_COLUMNS),
        );
        if !rows.is_empty() {
            layout.push_row(&mut text, ["APP", "KIND", "NAME"], ["COUNT", "ERRORS", "P50", "P95", "P99"]);
        }
        for row in rows.iter().take(MAX_ROWS) {
            let route = row.route;
            let quantile = |percent| route.durations.percentile(percent).map_or_else(|| "-".into(), duration);
            let figures =
                [route.count.to_string(), route.errors.to_string(), quantile(50), quantile(95), quantile(99)];
            layout.push_row(&mut text, [row.app, row.kind, row.name], figures.each_ref().map(String::as_str));
        }
        if rows.len() > MAX_ROWS {
            // Writing to a string does not fail, here and below.
            let _ = writeln!(text, "and {} more", rows.len() - MAX_ROWS);
        }
        self.loads.push_to(&mut text, usize::from(terminal_columns));
        push_books(&mut text, books);
        text
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let known = self.apps.iter().flat_map(|(app, names)| {
            let kinds = [("server", &names.server), ("client", &names.client)];
            kinds.into_iter().flat_map(move |(kind, names)| {
                names.iter().map(move |(name, route)| Row { app, kind, name, route })
            })
        });
        let others =
            (self.others.count > 0).then_some(Row { app: "", kind: "", name: OTHERS, route: &self.others });
        known.chain(others)
    }
}

/// How wide each column is; 0: not shown.
struct Layout {
    words: [usize; 3],
    figures: [usize; 5],
}

impl Layout {
    /// The widest table that fits. Kind, name, count and errors are always there; then the app, the 95th percentile,
    /// the median and the 99th percentile come in, as long as a name stays readable.
    fn fit(terminal_columns: usize, app: usize, name: usize) -> Self {
        let needed = KIND_COLUMNS + GAP.len() + GAP.len() + COUNT_COLUMNS + 1 + FIGURE_COLUMNS;
        let mut left = terminal_columns.saturating_sub(needed);
        let mut takes = |columns: usize| {
            let fits = left >= MIN_NAME_COLUMNS.min(name) + columns;
            left -= if fits { columns } else { 0 };
            fits
        };
        let app = if takes(app + GAP.len()) { app } else { 0 };
        let mut figure = || if takes(FIGURE_COLUMNS + 1) { FIGURE_COLUMNS } else { 0 };
        let (p95, p50, p99) = (figure(), figure(), figure());
        Self {
            words: [app, KIND_COLUMNS, name.min(left.max(8))],
            figures: [COUNT_COLUMNS, FIGURE_COLUMNS, p50, p95, p99],
        }
    }

    fn push_row(&self, text: &mut String, words: [&str; 3], figures: [&str; 5]) {
        for (word, width) in words.into_iter().zip(self.words).filter(|(_, width)| *width > 0) {
            push_cell(text, word, width, Align::Left);
            text.push_str(GAP);
        }
        let mut gap = "";
        for (figure, width) in figures.into_iter().zip(self.figures).filter(|(_, width)| *width > 0) {
            text.push_str(gap);
            push_cell(text, figure, width, Align::Right);
            gap = " ";
        }
        text.push('\n');
    }
}

fn push_books(text: &mut String, books: &Books) {
    let dropped: u64 = books.dropped.values().sum();
    let _ = write!(
        text,
        "{} spans seen: {} reported, {} sampled out, {dropped} dropped",
        books.seen, books.reported, books.sampled_out
    );
    for (index, (reason, spans)) in books.dropped.iter().enumerate() {
        let _ = write!(text, "{}{} {spans}", if index == 0 { " (" } else { ", " }, reason.as_str());
    }
    text.push_str(if books.dropped.is_empty() { "\n" } else { ")\n" });
}

#[cfg(test)]
mod tests {
    use super::super::example::{client, server};
    use super::*;
    use model::DropReason;

    #[test]
    fn the_summary_is_exactly_this_text() {
        let mut summary = Summary::default();
        for duration_us in [1, 2, 3, 4, 1000] {
            let mut span = server();
            span.duration_ns = duration_us * 1000;
            summary.count(&span);
        }
        summary.count(&client());
        let mut late = client();
        late.end = End::ProbeJoinedLate;
        late.fault = None;
        late.name = "late".into();
        summary.count(&late);
        let mut books = Books { seen: 7, reported: 4, sampled_out: 1, ..Books::default() };
        books.drop_spans(DropReason::QueueFull, 1);
        books.drop_spans(DropReason::OutputClosed, 1);
        let expected = "
APP   KIND    NAME                COUNT  ERRORS     P50     P95     P99
shop  server  GET /users/{id}         5       0     3µs   1.0ms   1.0ms
shop  client  late                    1       0       -       -       -
shop  client  unknown                 1       1   504µs   504µs   504µs
7 spans seen: 4 reported, 1 sampled out, 2 dropped (queue_full 1, output_closed 1)
";
        assert_eq!(summary.text(&books, 140), expected);
        assert_eq!(
            Summary::default().text(&Books::default(), 140),
            "\n0 spans seen: 0 reported, 0 sampled out, 0 dropped\n"
        );
    }

    #[test]
    fn rows_fit_every_width() {
        let mut summary = Summary::default();
        summary.count(&server());
        let mut long = client();
        long.name = "GET /a/very/long/name/that/does/not/fit/anywhere".into();
        summary.count(&long);
        for terminal_columns in 34..140 {
            let text = summary.text(&Books::default(), terminal_columns);
            for line in text.lines().skip(1).take(3) {
                assert!(columns(line) <= usize::from(terminal_columns), "{terminal_columns}: {line}");
            }
        }
        let narrow = "
APP   KIND    NAME                   COUNT  ERRORS
shop  client  GET /a/very/long/…         1       1
shop  server  GET /users/{id}            1       0
";
        let text = summary.text(&Books::default(), 50);
        assert!(text.starts_with(narrow), "{text}");
    }

    #[test]
    fn routes_are_bounded_and_none_is_lost() {
        let mut summary = Summary::default();
        let mut span = server();
        for index in 0..2 * MAX_ROUTES {
            span.name = format!("GET /{index}").into();
            summary.count(&span);
        }
        assert_eq!(summary.others.count, MAX_ROUTES as u64);
        assert_eq!(summary.rows().map(|row| row.route.count).sum::<u64>(), 2 * MAX_ROUTES as u64);
        let text = summary.text(&Books::default(), 140);
        assert!(text.contains(OTHERS) && text.contains("\nand 901 more\n"), "{text}");
    }
}
