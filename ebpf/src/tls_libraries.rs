//! Which builds of TLS libraries the programs know.
//!
//! Invariant: a number stands for the same build as long as the programs are loaded.

use crate::abi;
use crate::kernel::{Kernel, LoadError};

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
            self.tls_libraries.push(*library);
        }
        u8::try_from(index).map_err(|_| LoadError::TlsLibraries)
    }
}
