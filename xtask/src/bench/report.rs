//! The figures as Markdown, and against the limits.

use std::fmt::Write;

use super::Measured;

/// What the probe may cost.
const WATCHED_CALL_NS_MAX: f64 = 1000.0;
const PROBE_CPU_NS_MAX: f64 = 10_000.0;
const RESIDENT_BYTES_MAX: f64 = 40e6;
const IDLE_CPU_MAX: f64 = 0.001;

/// A table to paste into `docs/performance.md`.
pub fn table(all: &[Measured]) -> String {
    let mut text = String::from(
        "\n| server | pairs | bare req/s | probed req/s | throughput lost, side by side, median (p25..p75) | in turn | server CPU µs per \
         request, bare → probed | added, median (p25..p75) | worker busy, bare / probed | kernel ns per socket call, watched / not | socket \
         calls per request | TLS probe hits per request, ns each | Python probe hits per request, ns each | probe CPU µs per request | probe RSS now / highest MB | probe CPU, idle | asked 20 times a second |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for measured in all {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {} | {} | {:.1} → {:.1} | {} | {:.1} / {:.1} % | {:.0} / {:.0} | {:.1} | {:.1}, {:.0} | {:.1}, {:.0} | {:.2} | {:.1} / {:.1} | {:.3} % | {} |",
            measured.server,
            measured.pairs,
            measured.bare_rate.median,
            measured.probed_rate.median,
            shares(&measured.loss),
            shares(&measured.loss_in_turn),
            measured.bare_cpu_ns.median / 1e3,
            measured.probed_cpu_ns.median / 1e3,
            shares(&measured.added_cpu),
            measured.busy[0] * 100.0,
            measured.busy[1] * 100.0,
            measured.kernel.watched_ns,
            measured.kernel.unwatched_ns,
            measured.kernel.calls_per_request,
            measured.tls.runs_per_request(),
            measured.tls.run_ns(),
            measured.python.runs_per_request(),
            measured.python.run_ns(),
            measured.probe_cpu_ns.median / 1e3,
            measured.resident_bytes as f64 / 1e6,
            measured.highest_bytes as f64 / 1e6,
            measured.idle_cpu * 100.0,
            measured.quiet_cpu.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        );
    }
    text
}

fn shares(spread: &super::Spread) -> String {
    format!("{:.2} % ({:.2}..{:.2})", spread.median * 100.0, spread.p25 * 100.0, spread.p75 * 100.0)
}

/// Prints a line for each limit, and gives how many are broken.
pub fn verdicts(all: &[Measured]) -> usize {
    let mut broken = 0;
    println!();
    // Where no throughput is promised nothing is.
    for measured in all.iter().filter(|measured| measured.loss_max.is_finite()) {
        for (what, value, limit, unit) in limits(measured) {
            // A figure that is not a number is no pass.
            let passed = value <= limit;
            broken += usize::from(!passed);
            let word = if passed { "PASS" } else { "FAIL" };
            println!("{word}  {}: {what} {value:.2} {unit} (at most {limit} {unit})", measured.server);
        }
    }
    broken
}

fn limits(measured: &Measured) -> [(&'static str, f64, f64, &'static str); 5] {
    [
        (
            "throughput lost side by side, median",
            measured.loss.median * 100.0,
            measured.loss_max * 100.0,
            "%",
        ),
        ("kernel time per watched socket call", measured.kernel.watched_ns, WATCHED_CALL_NS_MAX, "ns"),
        ("probe CPU per request, median", measured.probe_cpu_ns.median / 1e3, PROBE_CPU_NS_MAX / 1e3, "µs"),
        ("highest memory", measured.highest_bytes as f64 / 1e6, RESIDENT_BYTES_MAX / 1e6, "MB"),
        ("idle CPU", measured.idle_cpu * 100.0, IDLE_CPU_MAX * 100.0, "%"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{Spread, kernel};
    use super::*;

    fn measured(loss: f64, watched_ns: f64) -> Measured {
        let flat = |figure| Spread::of([figure]);
        Measured {
            server: "a server",
            loss_max: 0.02,
            pairs: 3,
            bare_rate: flat(2000.0),
            probed_rate: flat(1990.0),
            loss: flat(loss),
            loss_in_turn: flat(0.007),
            bare_cpu_ns: flat(500_000.0),
            probed_cpu_ns: flat(503_000.0),
            added_cpu: flat(0.006),
            busy: [0.995, 0.99],
            kernel: kernel::Cost { watched_ns, unwatched_ns: 40.0, calls_per_request: 3.0 },
            tls: kernel::Account::default().since(&kernel::Account::default(), 100),
            python: kernel::Account::default().since(&kernel::Account::default(), 100),
            probe_cpu_ns: flat(6000.0),
            resident_bytes: 20_000_000,
            highest_bytes: 25_000_000,
            idle_cpu: 0.0005,
            quiet_cpu: Some(0.0034),
        }
    }

    #[test]
    fn every_broken_limit_counts() {
        let cases = [(0.005, 800.0, 0), (0.021, 800.0, 1), (0.021, 1001.0, 2), (f64::NAN, 800.0, 1)];
        for (loss, watched_ns, broken) in cases {
            assert_eq!(verdicts(&[measured(loss, watched_ns)]), broken, "{loss} {watched_ns}");
        }
    }

    #[test]
    fn what_has_no_limit_breaks_none() {
        assert_eq!(verdicts(&[Measured { loss_max: f64::INFINITY, ..measured(0.5, 9000.0) }]), 0);
    }

    #[test]
    fn a_row_holds_what_was_measured() {
        let row = table(&[measured(0.005, 800.0)]).lines().last().unwrap().to_owned();
        assert_eq!(
            row,
            "| a server | 3 | 2000 | 1990 | 0.50 % (0.50..0.50) | 0.70 % (0.70..0.70) | 500.0 → 503.0 | 0.60 % (0.60..0.60) | 99.5 / 99.0 % | 800 / 40 \
             | 3.0 | 0.0, 0 | 0.0, 0 | 6.00 | 20.0 / 25.0 | 0.050 % | 0.34 % |"
        );
    }
}
