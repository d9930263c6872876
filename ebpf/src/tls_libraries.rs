//! Which builds of TLS libraries the programs know, and which one the modules of a process call.
//!
//! Invariant: a number stands for the same build as long as the programs are loaded.

use std::sync::atomic::Ordering;

use libbpf_rs::{MapCore, MapFlags};

use crate::abi;
use crate::kernel::{Kernel, LoadError, shared};

impl Kernel {
    /// The number under which the programs know a build; 0: nothing is known of it.
    pub fn know_tls_library(&mut self, library: &abi::TlsLibrary) -> Result<u8, LoadError> {
        if *library == abi::TlsLibrary::default() {
            return Ok(0);
        }
        let known = self.tls_libraries.iter().position(|known| known == library);
        let position = known.unwrap_or(self.tls_libraries.len());
        // The first place stands for none.
        let index = position + 1;
        if known.is_none() {
            let bss = self.skeleton.maps.bss_data.as_deref_mut();
            let place =
                bss.and_then(|bss| bss.tls_libraries.get_mut(index)).ok_or(LoadError::TlsLibraries)?;
            place.bio = library.bio;
            place.agreed = library.agreed;
            place.agreed_within = library.agreed_within;
            place.agreed_if_zero = library.agreed_if_zero;
            place.state = library.state;
            self.tls_libraries.push(*library);
        }
        u8::try_from(index).map_err(|_| LoadError::TlsLibraries)
    }

    /// The module of a process calls this build. Forks inherit it; another program has none until it is told.
    pub fn tell_tls_library(&self, pid: u32, number: u8) -> Result<(), LoadError> {
        let map = &self.skeleton.maps.tls_library_indices;
        map.update(&pid.to_ne_bytes(), &u32::from(number).to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| LoadError::Map { map: "tls_library_indices", source })
    }

    /// Modules whose sites say that they call this build call another one in some processes: from here on what they call
    /// is known only of processes of which it was told. True once.
    pub fn tls_library_differs(&mut self, number: u8) -> bool {
        let bss = self.skeleton.maps.bss_data.as_deref_mut();
        let library = bss.and_then(|bss| bss.tls_libraries.get_mut(usize::from(number)));
        library.is_some_and(|library| shared(&mut library.differs).swap(1, Ordering::Relaxed) == 0)
    }
}
