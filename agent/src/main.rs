//! The command `stardust-probe`.

fn main() {}
