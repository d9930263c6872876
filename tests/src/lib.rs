//! End to end tests: real servers, real clients, stand-in back ends.
