//! What an exchange costs. Run with `cargo test --release -p trace -- --ignored --nocapture speed`.

use std::fs;

use trace::Settings;

use crate::conversation::Step::{Reads, Writes};
use crate::conversation::{World, socket};

#[test]
#[ignore = "a measurement, not a check"]
fn nanoseconds_per_exchange() {
    const ROUNDS: u32 = 200_000;
    let request = "GET /api/v1/users/4711/orders?page=2&token=x HTTP/1.1\r\nHost: shop.example\r\n\
                   User-Agent: python-requests/2.32\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n\
                   Connection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
                    Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"ok\": true}\n";
    let mut world = World::new(&Settings::default());
    let sockets: Vec<_> = (0..64).map(|id| socket(id).peer("127.0.0.1:5000")).collect();
    let begun_ns = processor_ns();
    for round in 0..ROUNDS {
        world.play(&sockets[round as usize % 64], &[Reads(request), Writes(response)]);
        if round % 1024 == 0 {
            world.spans.clear();
        }
    }
    let each_ns = (processor_ns() - begun_ns) / u64::from(ROUNDS);
    assert_eq!(world.tracer.counts().spans, u64::from(ROUNDS));
    eprintln!("{each_ns} ns per exchange");
}

/// What this thread has used of a processor, so that other work on the machine does not count
/// (`Documentation/scheduler/sched-stats.rst`).
fn processor_ns() -> u64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    statistics.split_whitespace().next().unwrap().parse().unwrap()
}
