//! The stand-in Stardust server, asked by hand with the protocol's own examples.

mod stardust {
    mod away;
    mod caller;
    mod config;
    mod notify;
    mod session;
    mod trace;
}
