//! The probe as a library: all IO and wiring.
