//! Whose spans are whose, and what the books say.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::test_span::{process, span};
use super::*;

fn ledger(skip_not_found: bool) -> (Ledger, UnboundedReceiver<Newcomer>) {
    let (sender, receiver) = unbounded_channel();
    (Ledger::new(sender, 100, skip_not_found), receiver)
}

fn of(process: &Arc<Process>) -> Span {
    Span { process: Arc::clone(process), ..span(SpanKind::Server, "/a") }
}

fn totals(builders: &[Builder]) -> Vec<(&str, i32)> {
    builders.iter().map(|builder| (&*builder.name, builder.total)).collect()
}

#[test]
fn every_process_has_its_own_figures() {
    let (ledger, mut newcomers) = ledger(false);
    let (first, second) = (process(1, "shop"), process(2, "shop"));
    for process in [&first, &second, &first] {
        ledger.record(&of(process));
    }
    let numbers: Vec<(u64, u32)> =
        std::iter::from_fn(|| newcomers.try_recv().ok()).map(|new| (new.number, new.process.pid)).collect();
    assert_eq!(numbers, [(0, 1), (1, 2)]);
    assert_eq!(totals(&ledger.take(0)), [("/a", 2)]);
    assert_eq!(totals(&ledger.take(0)), []);
    assert_eq!(totals(&ledger.remove(1)), [("/a", 1)]);
    assert!(ledger.process(1).is_none() && ledger.take(1).is_empty() && ledger.take(99).is_empty());
    assert_eq!(ledger.books().seen, 3);
}

#[test]
fn a_pid_used_again_is_another_process() {
    let (ledger, mut newcomers) = ledger(false);
    let old = process(1, "shop");
    ledger.record(&of(&old));
    let again = Arc::new(Process { start_unix_ms: old.start_unix_ms + 1, ..(*old).clone() });
    ledger.record(&of(&again));
    let first = newcomers.try_recv().expect("the first");
    assert!(newcomers.try_recv().is_err() && !first.gone.is_cancelled());
    let other = Arc::new(Process { start_unix_ms: old.start_unix_ms + 60_000, ..(*old).clone() });
    ledger.record(&of(&other));
    assert!(first.gone.is_cancelled());
    let second = newcomers.try_recv().expect("the second");
    assert_eq!(totals(&ledger.remove(first.number)), [("/a", 2)]);
    ledger.record(&of(&other));
    assert_eq!(totals(&ledger.take(second.number)), [("/a", 2)]);
    ledger.update(&process(1, "another app"));
    assert!(second.gone.is_cancelled());
}

#[test]
fn news_of_a_process_replace_what_was_known() {
    let (ledger, mut newcomers) = ledger(false);
    let old = process(1, "shop");
    ledger.record(&of(&old));
    let named = Arc::new(Process { name: "gunicorn".to_owned(), ..(*old).clone() });
    ledger.update(&named);
    assert_eq!(ledger.process(0).expect("known").name, "gunicorn");
    ledger.update(&process(7, "unknown"));
    ledger.exited(7);
    ledger.exited(1);
    assert!(newcomers.try_recv().expect("the first").gone.is_cancelled());
    ledger.record(&of(&named));
    assert_eq!(totals(&ledger.remove(0)), [("/a", 2)]);
}

#[test]
fn limits_hold_for_an_app() {
    let (ledger, _newcomers) = ledger(false);
    let limits = Limits { max_samples: 7, ..Limits::default() };
    ledger.record(&of(&process(1, "shop")));
    ledger.set_limits("shop", limits);
    ledger.record(&of(&process(2, "shop")));
    ledger.record(&of(&process(3, "other")));
    let state = ledger.state.lock();
    let samples: Vec<i32> = (0..3).map(|number| state.seats[&number].limits.max_samples).collect();
    assert_eq!(samples, [7, 7, 1]);
}

#[test]
fn books_balance_in_the_end() {
    let (ledger, _newcomers) = ledger(true);
    let shop = process(1, "shop");
    let missing = Span { status: Some(404), ..of(&shop) };
    let endless = Span { duration_ns: 3_700_000_000_000, ..of(&shop) };
    for span in [&of(&shop), &of(&shop), &missing, &endless] {
        ledger.record(span);
    }
    ledger.accepted(1);
    ledger.close();
    ledger.record(&of(&shop));
    let books = ledger.books();
    assert_eq!((books.seen, books.reported, books.in_flight()), (5, 1, 0));
    let dropped: Vec<(DropReason, u64)> = books.dropped.into_iter().collect();
    assert_eq!(dropped, [(DropReason::Disabled, 1), (DropReason::Rejected, 1), (DropReason::Expired, 2)]);
}

#[test]
fn without_the_knob_a_404_counts() {
    let (ledger, _newcomers) = ledger(false);
    ledger.record(&Span { status: Some(404), ..of(&process(1, "shop")) });
    assert_eq!(totals(&ledger.take(0)), [("/a", 1)]);
}
