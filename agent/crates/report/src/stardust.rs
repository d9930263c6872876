//! Spans to Stardust.
