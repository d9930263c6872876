//! Builds, tests, measures and shows the probe.

fn main() {}
