//! What the agent asks of the programs for one connection, or one object of a TLS library.
//!
//! Invariant: a wish is in its table before the round that has it looked for there. Each is heard with the next call, once.

use std::sync::atomic::Ordering;

use libbpf_rs::{MapCore, MapFlags};

use crate::abi;
use crate::kernel::{Kernel, LoadError, shared};

/// A place at which a frame of HTTP/2 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBegin {
    /// The connection, or with [`abi::TLS_OBJECT`] the object of a TLS library.
    pub on: u64,
    /// `enum direction`.
    pub direction: u8,
    /// Bytes of the direction before it.
    pub position: u64,
}

impl Kernel {
    /// Records nothing more of these connections.
    pub fn ignore(&mut self, connections: impl IntoIterator<Item = u64>) -> Result<(), LoadError> {
        self.wish(connections, abi::WISH_IGNORE)
    }

    /// Copies the calls on these connections whole from now on, as far as [`Options::whole_bytes`] goes.
    pub fn copy_whole(&mut self, connections: impl IntoIterator<Item = u64>) -> Result<(), LoadError> {
        self.wish(connections, abi::WISH_WHOLE)
    }

    /// Records no more bytes of these connections, only how they end.
    pub fn ignore_data(&mut self, connections: impl IntoIterator<Item = u64>) -> Result<(), LoadError> {
        self.wish(connections, abi::WISH_IGNORE_DATA)
    }

    /// Tells calls of these objects of TLS libraries whole from now on.
    pub fn copy_whole_tls(&mut self, sessions: impl IntoIterator<Item = u64>) -> Result<(), LoadError> {
        self.wish(sessions.into_iter().map(|session| session | abi::TLS_OBJECT), abi::WISH_WHOLE)
    }

    /// Tells nothing more of these objects of TLS libraries.
    pub fn ignore_tls(&mut self, sessions: impl IntoIterator<Item = u64>) -> Result<(), LoadError> {
        self.wish(sessions.into_iter().map(|session| session | abi::TLS_OBJECT), abi::WISH_IGNORE)
    }

    /// Tells where frames begin, so that they can be followed from there on.
    pub fn tell_frames(&mut self, frames: impl IntoIterator<Item = FrameBegin>) -> Result<(), LoadError> {
        let mut any = false;
        for FrameBegin { on, direction, position } in frames {
            let map = &self.skeleton.maps.told_frames;
            map.update(&stream_key(on, direction), &position.to_ne_bytes(), MapFlags::ANY)
                .map_err(|source| LoadError::Map { map: "told_frames", source })?;
            any = true;
        }
        if any {
            self.begin_wish_round();
        }
        Ok(())
    }

    fn wish(&mut self, connections: impl IntoIterator<Item = u64>, wish: u8) -> Result<(), LoadError> {
        let mut any = false;
        for connection in connections {
            let map = &self.skeleton.maps.wishes;
            map.update(&connection.to_ne_bytes(), &[wish], MapFlags::ANY)
                .map_err(|source| LoadError::Map { map: "wishes", source })?;
            any = true;
        }
        if any {
            self.begin_wish_round();
        }
        Ok(())
    }

    fn begin_wish_round(&mut self) {
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            shared(&mut bss.at_hand.wish_round).fetch_add(1, Ordering::Release);
        }
    }
}

/// `struct stream_key` in `lib/told_frames.h`, of all streams.
fn stream_key(on: u64, direction: u8) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&on.to_ne_bytes());
    key[8..12].copy_from_slice(&u32::from(direction).to_ne_bytes());
    key
}
