//! The kernel programs and their binary contract.
