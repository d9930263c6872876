//! The stand-in Stardust server, asked by hand with the protocol's own examples.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stardust {
    mod away;
    mod caller;
    mod config;
    mod notify;
    mod session;
    mod trace;
}
