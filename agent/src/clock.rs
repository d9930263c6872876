//! The two clocks: the kernel's monotonic one, which every event carries, and the wall's.

use std::io;

use model::WallClock;
use nix::time::{ClockId, clock_getres, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, as the kernel programs take them.
pub fn monotonic_ns() -> io::Result<u64> {
    Ok(nanoseconds(ClockId::CLOCK_MONOTONIC)?.cast_unsigned())
}

/// What the thread has run, in nanoseconds; 0 where that cannot be read.
pub fn thread_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, i64::cast_unsigned)
}

/// How long a tick of the kernel lasts, in microseconds: the resolution of the clocks that are set at ticks
/// (`hrtimer_resolution` and `LOW_RES_NSEC` in `kernel/time/posix-timers.c`). 0: not known.
pub fn tick_us() -> u32 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE);
    tick.ok().and_then(|tick| u32::try_from(tick.tv_nsec() / 1000).ok()).unwrap_or(0)
}

/// The wall clock's present offset. The monotonic clock is read on both sides of it, and the narrowest of a few
/// readings is taken, so that a pause in between does not count.
pub fn wall_clock() -> io::Result<WallClock> {
    let mut best: Option<(i64, i64)> = None;
    for _ in 0..5 {
        let before = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
        let wall = nanoseconds(ClockId::CLOCK_REALTIME)?;
        let after = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
        let width = after - before;
        if best.is_none_or(|(narrowest, _)| width < narrowest) {
            best = Some((width, wall - (before + width / 2)));
        }
    }
    Ok(WallClock::new(best.map_or(0, |(_, offset)| offset)))
}

fn nanoseconds(clock: ClockId) -> io::Result<i64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_tick_lasts_one_to_ten_milliseconds() {
        assert!((1_000..=10_000).contains(&tick_us()), "{}", tick_us());
    }

    #[test]
    fn the_offset_turns_monotonic_into_wall_time() {
        let clock = wall_clock().unwrap();
        let ours = clock.unix_ns(monotonic_ns().unwrap());
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(system.abs_diff(ours) < 1_000_000_000, "{ours} is not {system}");
    }
}
